// What the records of a trace mean: which event went where, and what became of each.

// One answer. Records may be added while it runs.
class Answer {
  constructor(view) {
    this.view = view;
    this.came = new Map(); // by n
    this.left = new Map();
    this.rows = []; // each has the event that came, one that left behind it, or both
    this.goesTo = new Map(); // n of an event that came: those that left, with parts of it
    this.report = null;
    this.head = null;
    this.add(view.records || []);
  }

  add(records) {
    for (const record of records) {
      if (record.type === "came") this.addCame(record);
      else if (record.type === "left") this.addLeft(record);
      else if (record.type === "end") this.report = record.report;
      else this.head = record;
    }
  }

  addCame(record) {
    this.came.set(record.n, record);
    record.row = this.rows.length;
    this.rows.push({ came: record, left: null });
  }

  addLeft(record) {
    this.left.set(record.n, record);
    for (const n of record.from) {
      if (!this.goesTo.has(n)) this.goesTo.set(n, []);
      this.goesTo.get(n).push(record);
    }
    const last = this.rows[this.rows.length - 1];
    if (last && !last.left) {
      last.left = record;
      record.row = this.rows.length - 1;
    } else {
      record.row = this.rows.length;
      this.rows.push({ came: null, left: record });
    }
  }

  // A word for what became of an event that came, and a sentence.
  fate(came) {
    const left = this.goesTo.get(came.n) || [];
    if (came.kind === "body") return ["changed", "became " + count(left.length, "event")];
    if (came.kind === "behind") return ["dropped", "dropped"];
    if (came.kind !== "data") return ["kept", ""];
    if (!left.length) {
      const instead = this.behind(came).filter((one) => one.kind === "data" && !one.from.length);
      if (instead.length) return ["changed", "written anew"];
      return this.report ? ["dropped", "dropped"] : ["held", "held"];
    }
    const [first] = left;
    const held = first.after > came.n ? "held until #" + first.after : "";
    if (left.length > 1) return ["split", "split in " + left.length];
    if (first.kind === "body") return ["kept", ""];
    const others = first.from.filter((n) => n !== came.n);
    if (others.length && first.from[first.from.length - 1] !== came.n) {
      return ["joined", "joins #" + others[others.length - 1]];
    }
    if (first.data !== came.data) return [held ? "held" : "changed", held || "changed"];
    return held ? ["held", held] : ["kept", ""];
  }

  behind(came) {
    const found = [];
    for (let row = came.row; row < this.rows.length; row++) {
      if (row > came.row && this.rows[row].came) break;
      if (this.rows[row].left) found.push(this.rows[row].left);
    }
    return found;
  }

  // How often each code was found.
  codes() {
    const times = new Map();
    for (const came of this.came.values()) {
      for (const { code } of came.found) times.set(code, (times.get(code) || 0) + 1);
    }
    return [...times].sort();
  }

  isChanged(row) {
    if (row.came && (row.came.found.length || this.fate(row.came)[0] !== "kept")) return true;
    return Boolean(row.left && row.left.kind === "data" && row.left.from.length !== 1);
  }
}

function count(number, word) {
  return number + " " + word + (number === 1 ? "" : "s");
}

// Rows that a filter keeps: `code:S504`, `text:Paris`, `changed`, or a word; `-` turns one round.
function filterOf(words) {
  const tests = words
    .trim()
    .split(/\s+/)
    .filter(Boolean)
    .map((word) => {
      const not = word.length > 1 && word.startsWith("-");
      const test = testOf(not ? word.slice(1) : word);
      return (answer, row) => test(answer, row) !== not;
    });
  return (answer, row) => tests.every((test) => test(answer, row));
}

function testOf(word) {
  const [, key, value] = /^(code|text|kind):(.*)$/.exec(word) || [];
  const wanted = (value || word).toLowerCase();
  const both = (row) => [row.came, row.left].filter(Boolean);
  if (key === "code") {
    const fits = (found) => found.code.toLowerCase().startsWith(wanted);
    return (_, row) => Boolean(row.came && row.came.found.some(fits));
  }
  if (key === "kind") return (_, row) => both(row).some((one) => one.kind === wanted);
  if (word === "changed") return (answer, row) => answer.isChanged(row);
  const field = key === "text" ? "data" : "line";
  return (_, row) => both(row).some((one) => one[field].toLowerCase().includes(wanted));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// The members of a JSON value by their path, each with its value as text.
function members(value, path = "", found = new Map()) {
  if (value !== null && typeof value === "object") {
    found.set(path, Array.isArray(value) ? "[]" : "{}");
    for (const [key, inner] of Object.entries(value)) {
      members(inner, path + "/" + key, found);
    }
  } else {
    found.set(path, JSON.stringify(value));
  }
  return found;
}

// How a member compares with the other sides: "" where one of them has it as it is.
function comparer(others, missing) {
  const sides = others.filter((one) => one !== undefined).map((one) => members(one));
  return (path, text) => {
    if (!sides.length || sides.some((side) => side.get(path) === text)) return "";
    return sides.some((side) => side.has(path)) ? "changed" : missing;
  };
}
