// When events came, when they left, and what was held in between.

// The colours of the style sheet, as a canvas needs them: it does not know `light-dark()`.
let known = null; // until the scheme changes

function colours() {
  if (known) return known;
  const probe = element("span", { hidden: true });
  document.body.append(probe);
  const found = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const names = ["--same", "--changed", "--held", "--new", "--text"];
  const all = Object.fromEntries(names.map((name) => [name, found(name)]));
  probe.remove();
  known = all;
  return all;
}

function drawTimeline(canvas, caption, answer, chosen) {
  const came = [...answer.came.values()].filter((one) => one.kind !== "end");
  const left = [...answer.left.values()];
  const last = Math.max(...came.map((one) => one.at), ...left.map((one) => one.at), 0);
  canvas.parentElement.hidden = answer.view.timed === false || !came.length || last === 0;
  if (canvas.parentElement.hidden) return;
  const scale = window.devicePixelRatio || 1;
  const wide = canvas.clientWidth;
  const high = 64;
  canvas.width = wide * scale;
  canvas.height = high * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const shades = colours();
  const x = (seconds) => 6 + (seconds / last) * (wide - 12);
  const tick = (seconds, y, name, thick = 1) => {
    pen.fillStyle = shades[name];
    pen.fillRect(x(seconds) - thick / 2, y, thick, 18);
  };
  pen.fillStyle = shades["--held"];
  for (const one of left) {
    for (const n of one.from) {
      const from = answer.came.get(n);
      if (!from || from.n === one.after) continue;
      pen.globalAlpha = 0.5;
      pen.fillRect(x(from.at), 29, Math.max(2, x(one.at) - x(from.at)), 6);
      pen.globalAlpha = 1;
    }
  }
  came.forEach((one) => tick(one.at, 6, one.found.length ? "--changed" : "--same"));
  left.forEach((one) => tick(one.at, 40, one.from.length ? "--same" : "--new"));
  if (chosen) tick(chosen.at, chosen.type === "came" ? 4 : 38, "--text", 3);
  caption.textContent = words(came, left, last);
}

function words(came, left, last) {
  const said = ["first event after " + milliseconds(came[0].at)];
  let [gap, where] = [0, 0];
  came.slice(1).forEach((one, number) => {
    const wait = one.at - came[number].at;
    if (wait > gap) [gap, where] = [wait, one.n];
  });
  if (where) said.push(`longest gap ${milliseconds(gap)}, before #${where}`);
  const times = new Map(came.map((one) => [one.n, one.at]));
  let held = 0;
  for (const one of left) {
    for (const n of one.from) held = Math.max(held, one.at - (times.get(n) ?? one.at));
  }
  if (held > 0.0005) said.push("held for at most " + milliseconds(held));
  said.push("all of it in " + milliseconds(last));
  return "Above, what came; below, what left: " + said.join(", ") + ".";
}
