// The page of `serve --inspect`: it asks for what is new, and shows the newest answer.

const EVERY = 300; // milliseconds
const byId = new Map();
let change = 0;

async function ask() {
  const query = new URLSearchParams({ since: change });
  const token = new URLSearchParams(location.search).get("token");
  if (token) query.set("token", token);
  const response = await fetch(`/_normalizer/records?${query}`, { cache: "no-store" });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

// Add what is new to the answers, and show it where the shown one is among them.
function take(news) {
  const newest = answers[answers.length - 1];
  const follows = !answer || answer === newest;
  const touched = new Set();
  for (const about of news.answers) {
    if (!byId.has(about.id)) {
      const name = `#${about.id} ${about.path} ${new Date(about.began * 1000).toLocaleTimeString()}`;
      const made = new Answer({ name, records: [], rules: {}, request: "" });
      byId.set(about.id, made);
      answers.push(made);
    }
    byId.get(about.id).view.leftOut = about.left_out;
  }
  const alive = new Set(news.answers.map((about) => about.id));
  for (const [id, made] of byId) {
    if (alive.has(id)) continue;
    byId.delete(id);
    answers.splice(answers.indexOf(made), 1);
  }
  for (const [id, record] of news.records) {
    const made = byId.get(id);
    if (!made) continue;
    made.add([record]);
    touched.add(made);
  }
  for (const made of touched) Object.assign(made.view.rules, news.rules);
  const last = answers[answers.length - 1];
  const other = follows && last !== answer ? last : null;
  if (other) answer = other;
  if (news.answers.length !== $("answers").options.length || other) offer();
  if (other) show(other);
  else if (touched.has(answer)) refresh();
}

function refresh() {
  const box = $("list");
  const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
  showVerdict();
  showCodes();
  search();
  drawTimeline($("timeline"), $("scale"), answer);
  if (atEnd) box.scrollTop = box.scrollHeight;
}

async function follow() {
  try {
    const news = await ask();
    change = news.change;
    take(news);
    if (!answers.length) $("summary").textContent = "No answer has passed yet. Ask for one.";
  } catch (error) {
    $("summary").textContent = `The proxy does not answer: ${error.message}`;
  }
  setTimeout(follow, EVERY);
}

if (data.live) {
  $("sides").hidden = $("program").hidden = $("times").hidden = true;
  follow();
}
