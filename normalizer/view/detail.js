// One event on opening: what was found in it, its JSON, and the JSON of what it became.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function showDetail(panel, answer, row, close) {
  const button = element("button", { type: "button", className: "close" }, "Close");
  button.addEventListener("click", close);
  panel.replaceChildren(button);
  const came = row.came || answer.came.get(row.left.after);
  const left = row.came ? leftOf(answer, row) : [row.left];
  const sources = row.came ? [row.came] : row.left.from.map((n) => answer.came.get(n));
  if (row.came) {
    const [word, sentence] = answer.fate(came);
    const when = answer.view.timed === false ? "" : " · " + milliseconds(came.at);
    panel.append(
      element("h3", {}, `#${came.n} came${when}`),
      element("p", { className: word }, sentence || "leaves as it came"),
      ...findingsOf(answer, came),
    );
  }
  for (const source of sources.filter(Boolean)) {
    if (!row.came) panel.append(element("h3", {}, `#${source.n} came`));
    panel.append(jsonOf(source, answer.goesTo.get(source.n) || left, "gone"));
  }
  for (const one of left) {
    const made = one.from.length ? `made of ${one.from.map((n) => "#" + n).join(", ")}` : "new";
    panel.append(
      element("h3", {}, `#${one.n} left after #${one.after}, ${made}`),
      jsonOf(one, one.from.map((n) => answer.came.get(n)).filter(Boolean), "new"),
    );
  }
  panel.hidden = false;
  panel.scrollTop = 0;
}

function leftOf(answer, row) {
  const to = answer.goesTo.get(row.came.n) || [];
  const added = answer.behind(row.came).filter((one) => !to.includes(one) && !one.from.length);
  return [...to, ...added];
}

function milliseconds(seconds) {
  return seconds < 10 ? Math.round(seconds * 1000) + " ms" : seconds.toFixed(1) + " s";
}

// Each code that was found in an event, with the places where it was, and its rule on opening.
function findingsOf(answer, came) {
  const places = new Map();
  for (const { code, place } of came.found) {
    if (!places.has(code)) places.set(code, []);
    if (place) places.get(code).push((came.data || came.raw).slice(place[0], place[1]));
  }
  return [...places].map(([code, where]) => findingOf(answer, code, where));
}

function findingOf(answer, code, where) {
  const rule = answer.view.rules[code] || { name: "" };
  const said = element("dl");
  const say = (term, text) => text && said.append(element("dt", {}, term), element("dd", {}, text));
  say("where", [...new Set(where)].join("   "));
  say("what is wrong", rule.fault);
  say("what we do", rule.repair);
  say("who breaks", rule.breaks);
  say("who sends it", rule.seen);
  const times = where.length > 1 ? ` ${where.length}×` : "";
  const head = element("summary", {}, element("b", {}, code), ` ${rule.name}${times}`);
  return element("details", {}, head, said);
}

function jsonOf(record, others, missing) {
  const value = parsed(record.data);
  const box = element("pre");
  if (value === undefined || value === null || typeof value !== "object") {
    box.textContent = record.raw && record.kind !== "data" ? record.raw : record.data || record.raw;
    return box;
  }
  const compare = comparer(others.map((one) => parsed(one.data)), missing);
  if (record.event) box.append(`event: ${record.event}\n`);
  write(box, value, "", "", compare);
  return box;
}

// JSON, indented; members that differ from the other side are marked.
function write(box, value, path, indent, compare) {
  if (value === null || typeof value !== "object" || !Object.keys(value).length) {
    box.append(JSON.stringify(value));
    return;
  }
  const list = Array.isArray(value);
  box.append(list ? "[\n" : "{\n");
  const entries = Object.entries(value);
  entries.forEach(([key, inner], number) => {
    const here = path + "/" + key;
    const leaf = inner === null || typeof inner !== "object";
    const mark = compare(here, leaf ? JSON.stringify(inner) : Array.isArray(inner) ? "[]" : "{}");
    const holder = mark ? element("mark", { className: mark }) : box;
    box.append(indent + "  ");
    holder.append(list ? "" : JSON.stringify(key) + ": ");
    if (leaf) holder.append(JSON.stringify(inner));
    if (mark) box.append(holder);
    if (!leaf) write(box, inner, here, indent + "  ", compare);
    box.append(number < entries.length - 1 ? ",\n" : "\n");
  });
  box.append(indent + (list ? "]" : "}"));
}
