// The two lists of events, of which only the rows in sight are in the page.

class List {
  constructor(box, choose) {
    this.box = box;
    this.holder = box.querySelector("#rows");
    this.canvas = box.querySelector("#lines");
    this.choose = choose;
    this.shown = []; // rows, by their number in the answer
    this.chosen = -1; // number of a row in the answer
    this.drawn = "";
    box.addEventListener("scroll", () => this.draw());
    box.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.choose(Number(row.dataset.row));
    });
    new ResizeObserver(() => this.draw(true)).observe(box);
  }

  get height() {
    return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  }

  show(answer, keeps) {
    this.answer = answer;
    this.shown = [];
    answer.rows.forEach((row, number) => {
      if (keeps(answer, row)) this.shown.push(number);
    });
    this.draw(true);
  }

  draw(anew = false) {
    if (!this.answer) return;
    const height = this.height;
    // first of all, because a shorter list is scrolled up by it, unless the lines hold it down
    if (anew) this.canvas.style.top = "0";
    this.holder.style.height = this.shown.length * height + "px";
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - 8);
    const last = Math.min(
      this.shown.length,
      Math.ceil((this.box.scrollTop + this.box.clientHeight) / height) + 8,
    );
    const drawn = `${first} ${last} ${height}`;
    if (anew || drawn !== this.drawn) {
      this.drawn = drawn;
      const rows = [];
      for (let place = first; place < last; place++) rows.push(this.row(place, height));
      this.holder.replaceChildren(...rows);
    }
    this.drawLines(height);
  }

  row(place, height) {
    const number = this.shown[place];
    const { came, left } = this.answer.rows[number];
    const cell = element("span", { className: "came" });
    if (came) {
      const [word, sentence] = this.answer.fate(came);
      cell.append(element("span", { className: "number" }, "#" + came.n), lineOf(came));
      if (sentence) cell.append(element("span", { className: "fate " + word }, sentence));
      const codes = [...new Set(came.found.map((found) => found.code))];
      if (codes.length) cell.append(element("span", { className: "code" }, few(codes)));
    }
    const to = element("span", { className: "left" });
    if (left) {
      to.append(element("span", { className: "number" }, "#" + left.n), lineOf(left));
      const isNew = !left.from.length && left.kind === "data";
      if (isNew) to.append(element("span", { className: "fate added" }, "new"));
    }
    const made = element(
      "div",
      { className: "row", role: "option", id: "row" + number, title: titleOf(came, left) },
      cell,
      element("span", { className: "gutter" }),
      to,
    );
    made.dataset.row = number;
    made.style.top = place * height + "px";
    made.setAttribute("aria-selected", String(number === this.chosen));
    if (number === this.chosen) made.classList.add("chosen");
    return made;
  }

  // From each event that came to those that left with parts of it.
  drawLines(height) {
    const gutter = this.holder.querySelector(".gutter");
    if (!gutter || !gutter.offsetWidth) return;
    const scale = window.devicePixelRatio || 1;
    const { clientHeight, scrollTop } = this.box;
    const style = this.canvas.style;
    style.top = scrollTop + "px";
    style.left = gutter.offsetLeft + "px";
    style.width = gutter.offsetWidth + "px";
    style.height = clientHeight + "px";
    this.canvas.width = gutter.offsetWidth * scale;
    this.canvas.height = clientHeight * scale;
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    const shades = colours();
    const places = new Map(this.shown.map((number, place) => [number, place]));
    const middle = (place) => place * height + height / 2 - scrollTop;
    const seen = new Set();
    const first = Math.max(0, Math.floor(scrollTop / height) - 200);
    const last = Math.min(this.shown.length, first + Math.ceil(clientHeight / height) + 400);
    for (let place = first; place < last; place++) {
      const row = this.answer.rows[this.shown[place]];
      const links = [
        ...(row.came ? this.answer.goesTo.get(row.came.n) || [] : []).map((l) => [row.came, l]),
        ...(row.left ? row.left.from : []).map((n) => [this.answer.came.get(n), row.left]),
      ];
      for (const [from, to] of links) {
        const key = from && `${from.n} ${to.n}`;
        if (!from || seen.has(key) || !places.has(from.row) || !places.has(to.row)) continue;
        seen.add(key);
        const same = from.data === to.data && from.row === to.row;
        pen.strokeStyle = shades[same ? "--same" : to.after > from.n ? "--held" : "--changed"];
        pen.lineWidth = same ? 1 : 1.6;
        const [y1, y2] = [middle(places.get(from.row)), middle(places.get(to.row))];
        const wide = gutter.offsetWidth;
        pen.beginPath();
        pen.moveTo(4, y1);
        pen.bezierCurveTo(wide / 2, y1, wide / 2, y2, wide - 4, y2);
        pen.stroke();
      }
    }
  }

  // Choose the row that is `steps` further on, of those that are shown.
  step(steps) {
    if (!this.shown.length) return;
    let place = this.shown.indexOf(this.chosen) + steps;
    if (this.chosen < 0) place = steps > 0 ? 0 : this.shown.length - 1;
    place = Math.max(0, Math.min(this.shown.length - 1, place));
    this.choose(this.shown[place]);
  }

  reveal(number) {
    this.chosen = number;
    this.box.setAttribute("aria-activedescendant", "row" + number);
    const place = this.shown.indexOf(number);
    const height = this.height;
    if (place >= 0) {
      const top = place * height;
      if (top < this.box.scrollTop) this.box.scrollTop = top;
      const bottom = top + height - this.box.clientHeight;
      if (bottom > this.box.scrollTop) this.box.scrollTop = bottom;
    }
    this.draw(true);
  }
}

function lineOf(record) {
  return element("span", { className: "line" }, record.line);
}

function few(codes) {
  return codes.length > 3 ? `${codes.slice(0, 3).join(" ")} +${codes.length - 3}` : codes.join(" ");
}

function titleOf(came, left) {
  return [came && came.line, left && left.line].filter(Boolean).join("  →  ");
}
