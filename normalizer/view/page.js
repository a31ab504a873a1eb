// The page: the verdict, the filter, the keyboard, and what is chosen.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const answers = data.answers.map((view) => new Answer(view));
let answer = answers[0];
const list = new List($("list"), choose);

function start() {
  offer();
  show(answers[0]);
}

// The answers to choose from.
function offer() {
  $("answers").hidden = answers.length < 2;
  $("answers").replaceChildren(
    ...answers.map((one, number) => element("option", { value: number }, one.view.name)),
  );
  $("answers").value = String(answers.indexOf(answer));
}

function show(chosen) {
  answer = chosen;
  if (!answer) return;
  const { view } = answer;
  $("about").textContent = [view.name, view.server, view.date].filter(Boolean).join(" · ");
  close();
  showVerdict();
  showCodes();
  search();
  drawTimeline($("timeline"), $("scale"), answer);
}

function showVerdict() {
  const { raw, ours, program } = answer.view;
  $("sides").hidden = $("program").hidden = !raw;
  $("summary").textContent = raw ? summary(raw, ours) : progress();
  if (!raw) return;
  side($("raw"), raw, ours, "gone");
  side($("ours"), ours, raw, "new");
  $("program").querySelector("pre").textContent = program;
}

function progress() {
  const [came, left] = [answer.came.size, answer.left.size];
  const state = answer.report ? `ended: ${answer.report.end}` : "running";
  const { leftOut } = answer.view;
  const more = leftOut ? ` It is long: ${count(leftOut, "record")} are not shown.` : "";
  return `${count(came, "event")} came, ${left} left, ${state}.${more}`;
}

function summary(raw, ours) {
  const faults = answer.codes().length;
  const found = faults ? `${count(faults, "kind")} of fault found.` : "Nothing was wrong.";
  if (!raw.complaint) return `${found} A plain program gets the answer either way.`;
  if (raw.complaint === ours.complaint) return `${found} A plain program gets: ${raw.complaint}.`;
  const end = ours.complaint
    ? `Through us it is told what happened: ${ours.complaint}.`
    : "Through us it gets the whole answer.";
  return `${found} A plain program ends up with: ${raw.complaint}. ${end}`;
}

function side(box, got, other, mark) {
  box.className = got.complaint ? "wrong" : "right";
  const end = got.finish ? `ends with ${got.finish}` : "has no end";
  const outcome = got.complaint ? `✗ ${got.complaint}` : `✓ ${end}`;
  const text = element("pre");
  if (got.reasoning) text.append("(reasoning) ", ...differing(got.reasoning, other.reasoning, mark), "\n");
  text.append(...differing(got.text, other.text, mark));
  got.calls.forEach(([name, args], number) => {
    const theirs = other.calls[number] || ["", ""];
    if (text.textContent) text.append("\n");
    text.append(...differing(`${name}(${args})`, `${theirs[0]}(${theirs[1]})`, mark));
  });
  if (!text.textContent.trim()) text.append(element("span", { className: "kept" }, "(nothing)"));
  box.replaceChildren(
    box.querySelector("h2"),
    element("p", { className: "outcome" }, outcome),
    text,
  );
}

// A text whose middle is marked where it differs from the other one.
function differing(text, other, mark) {
  const shorter = Math.min(text.length, other.length);
  let [start, end] = [0, 0];
  while (start < shorter && text[start] === other[start]) start++;
  while (end < shorter - start && text.at(-1 - end) === other.at(-1 - end)) end++;
  if (!other || start + end >= text.length) return [text];
  const middle = element("mark", { className: mark }, text.slice(start, text.length - end));
  return [text.slice(0, start), middle, text.slice(text.length - end)];
}

function showCodes() {
  const { rules } = answer.view;
  $("codes").replaceChildren(
    ...answer.codes().map(([code, times]) => {
      const name = rules[code] ? rules[code].name : "";
      const button = element("button", { type: "button" }, element("b", {}, code), ` ${name} ${times}×`);
      button.addEventListener("click", () => {
        $("filter").value = $("filter").value === `code:${code}` ? "" : `code:${code}`;
        search();
      });
      return button;
    }),
  );
}

function search() {
  list.show(answer, filterOf($("filter").value));
  const all = answer.rows.length;
  const shown = list.shown.length;
  $("count").textContent = shown === all ? count(all, "row") : `${shown} of ${count(all, "row")}`;
}

function choose(number) {
  const row = answer.rows[number];
  showDetail($("detail"), answer, row, close);
  $("events").classList.add("open");
  list.reveal(number);
  drawTimeline($("timeline"), $("scale"), answer, row.came || row.left);
}

function close() {
  $("detail").hidden = true;
  $("events").classList.remove("open");
  list.chosen = -1;
  list.draw(true);
}

// ------------------------------------------------------------------ as an issue

function issue() {
  const { view, head } = answer;
  const fence = (text) => {
    const longest = Math.max(2, ...(text.match(/`+/g) || []).map((run) => run.length));
    return "`".repeat(longest + 1);
  };
  const block = (text) => [fence(text), text, fence(text), ""].join("\n");
  const found = [...answer.came.values()].filter((one) => one.found.length);
  const said = [
    `**Server**: ${view.server || "(which one, and its version?)"}`,
    `**stream-normalizer**: ${head ? head.normalizer : ""}`,
    "",
    ...answer.codes().map(([code, times]) => {
      const rule = view.rules[code] || {};
      return `- \`${code}\` ${rule.name || ""}, ${times}×: ${rule.fault || ""}`;
    }),
    "",
  ];
  if (view.raw) said.push(`A plain program ends up with: ${view.raw.complaint || "the answer"}.`, "");
  if (view.request) said.push("Request:", "", block(view.request));
  said.push("Events:", "");
  for (const one of found.slice(0, 20)) {
    said.push(`#${one.n}: ${[...new Set(one.found.map((each) => each.code))].join(" ")}`, "");
    said.push(block((one.masked || one.raw).trim()));
  }
  if (found.length > 20) said.push(`… and ${found.length - 20} more.`);
  return said.join("\n");
}

async function copyIssue() {
  const text = issue();
  const box = $("copy");
  try {
    await navigator.clipboard.writeText(text);
    box.querySelector("p").textContent = "Copied. Look whether it has anything that is private.";
  } catch {
    box.querySelector("p").textContent = "Copy this, and look whether it has anything private.";
  }
  box.querySelector("textarea").value = text;
  box.showModal();
}

// ------------------------------------------------------------------ keys and mouse

document.addEventListener("keydown", (event) => {
  const typing = event.target === $("filter") || event.target.tagName === "TEXTAREA";
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else close();
    return;
  }
  if (typing) {
    if (event.key === "Enter") $("list").focus();
    return;
  }
  const steps = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15 }[event.key];
  const inList = event.key.length === 1 || document.activeElement === $("list");
  if (steps && inList) {
    list.step(steps);
    event.preventDefault();
  } else if (event.key === "/") {
    $("filter").focus();
    $("filter").select();
    event.preventDefault();
  }
});
$("filter").addEventListener("input", search);
$("answers").addEventListener("change", (event) => show(answers[event.target.value]));
$("issue").addEventListener("click", copyIssue);
window.addEventListener("resize", () => drawTimeline($("timeline"), $("scale"), answer));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  known = null;
  list.draw(true);
  drawTimeline($("timeline"), $("scale"), answer);
});

if (!data.live) start();
