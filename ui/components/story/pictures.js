// Pictures of a slide, each made of plain data: SVG for charts, elements for lists. Nothing is loaded from anywhere.

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 1000; // units of a chart's width

function svg(name, attributes = {}, text = undefined) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function element(name, cls = "", text = undefined) {
  const node = document.createElement(name);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
}

// A chart as high as its place allows: `room` is the place's height over its width.
function chart(height) {
  return svg("svg", { viewBox: `0 0 ${WIDE} ${height}`, class: "chart", "aria-hidden": "true" });
}

function tone(base, value) {
  return value ? `${base} ${value}` : base;
}

// Text whose box must not leave the chart: begins, ends or is centred at x, whichever fits.
function place(x, text, size) {
  const half = (text.length * size * 0.56) / 2;
  if (x - half < 4) return { x: 4, "text-anchor": "start" };
  if (x + half > WIDE - 4) return { x: WIDE - 4, "text-anchor": "end" };
  return { x, "text-anchor": "middle" };
}

function figures(data) {
  const root = element("div", "figures");
  for (const item of data.items) {
    const card = element("div", tone("figure", item.tone));
    card.append(element("div", "label", item.name), element("div", "big", item.value));
    if (item.note) card.append(element("div", "note", item.note));
    root.append(card);
  }
  return root;
}

function bits(data) {
  const root = chart(250), cell = 20, gap = 3.5, from = WIDE - 32 * (cell + gap);
  const row = (y, count, cls, number, label) => {
    root.append(svg("text", { x: from, y: y - 14, class: "t-label" }, label));
    root.append(svg("text", { x: from - 28, y: y + 31, class: "t-number", "text-anchor": "end" }, number));
    for (let i = 0; i < count; i += 1) {
      root.append(svg("rect", { x: from + i * (cell + gap), y, width: cell, height: 42, rx: 4, class: cls }));
    }
  };
  row(48, data.before_bits, "cell", data.before.slice(0, 11), `a number in the original: ${data.before_bits} bits`);
  row(172, data.after_bits, "cell good", data.after, `the whole number that stands for it: ${data.after_bits} bits`);
  return root;
}

function bars(root, heights, base, tall, cls) {
  const width = WIDE / heights.length;
  heights.forEach((height, place) => {
    if (height) root.append(svg("rect", { x: place * width + 0.5, y: base - tall * height, width: Math.max(1.5, width - 1.5), height: tall * height, class: cls }));
  });
}

function axis(root, ticks, base, label) {
  root.append(svg("line", { x1: 0, x2: WIDE, y1: base, y2: base, class: "axis" }));
  let last = -Infinity;
  for (const tick of ticks) {
    const x = tick.at * WIDE;
    root.append(svg("line", { x1: x, x2: x, y1: base, y2: base + 7, class: "axis" }));
    if (x - last > tick.label.length * 12 + 12) {
      root.append(svg("text", { ...place(x, tick.label, 20), y: base + 30, class: "t-tick" }, tick.label));
      last = x;
    }
  }
  if (label) root.append(svg("text", { x: WIDE, y: base + 58, class: "t-tick", "text-anchor": "end" }, `${label} →`));
}

function histogram(data, room) {
  const marks = data.brackets, row = 66, below = marks.length ? 46 + marks.length * row : 68, top = data.callout ? 48 : 12;
  const tall = Math.max(90, Math.min(420, room * WIDE - below - top)), base = top + tall;
  const root = chart(base + below);
  bars(root, data.heights, base, tall, "bar");
  const kept = marks.length ? marks[marks.length - 1] : undefined;
  for (const [from, to] of kept ? [[0, kept.low], [kept.high, 1]] : []) {
    if (to - from > 0.012) root.append(svg("rect", { x: from * WIDE, y: top - 8, width: (to - from) * WIDE, height: tall + 8, class: "lost" }));
  }
  axis(root, data.ticks, base, marks.length ? "" : data.label);
  if (data.callout) {
    const x = data.callout.at * WIDE, right = x > WIDE / 2;
    root.append(svg("text", { x: right ? WIDE - 4 : 4, y: 24, class: "t-call", "text-anchor": right ? "end" : "start" }, data.callout.label));
    root.append(svg("path", { d: `M ${right ? WIDE - 7 : 7} 34 V ${base - 26}`, class: "pointer" }));
  }
  marks.forEach((mark, at) => bracket(root, mark, base + 68 + at * row));
  return root;
}

// A range below the axis: one block a step where they are wide enough to be seen; an arrow where it goes on.
function bracket(root, mark, y) {
  const low = mark.low * WIDE, high = Math.max(mark.high * WIDE, low + 3), steps = mark.steps * WIDE, tall = 26;
  const words = mark.note ? `${mark.name}: ${mark.note}` : mark.name;
  const room = WIDE - words.length * 11.5;  // the words begin where the range does, unless they would not fit
  root.append(svg("text", { x: Math.max(0, Math.min(low, room)), y, class: "t-label" }, words));
  root.append(svg("rect", { x: low, y: y + 10, width: high - low, height: tall, class: tone("bracket", mark.tone) }));
  for (let x = low + mark.offset * WIDE; steps >= 2.5 && x < high - 0.5; x += steps) {
    if (x > low + 0.5) root.append(svg("line", { x1: x, x2: x, y1: y + 10, y2: y + 10 + tall, class: steps < 8 ? "comb fine" : "comb" }));
  }
  const arrow = (x, way) => root.append(svg("path", { d: `M ${x} ${y + 8} l ${way * 15} ${tall / 2 + 2} l ${-way * 15} ${tall / 2 + 2} z`, class: tone("bracket", mark.tone) }));
  if (mark.onward) arrow(high - 1, 1);
  if (mark.backward) arrow(low + 1, -1);
}

function staircase(data, room) {
  const tall = Math.max(150, Math.min(430, room * WIDE - 44)), base = tall + 8, root = chart(base + 40);
  const half = data.levels.length > 1 ? (data.levels[1] - data.levels[0]) / 2 : 0.5;
  bars(root, data.heights, base, tall * 0.8, "bar faint");
  axis(root, data.ticks, base, "");
  const y = (at) => base - at * tall;
  let path = "";
  for (const level of data.levels) {
    path += `${path ? "L" : "M"} ${Math.max(0, level - half) * WIDE} ${y(level)} L ${Math.min(1, level + half) * WIDE} ${y(level)} `;
  }
  root.append(svg("line", { x1: 0, y1: y(0), x2: WIDE, y2: y(1), class: "straight" }));
  root.append(svg("path", { d: path, class: "stairs" }));
  const [from, to] = data.example, x = from * WIDE;
  root.append(svg("path", { d: `M ${x} ${base} V ${y(to)} `, class: "pointer" }), svg("circle", { cx: x, cy: y(to), r: 8, class: "dot" }));
  root.append(svg("text", { x: x + 18, y: y(to) + 36, class: "t-call" }, data.example_words));
  root.append(svg("text", { x: 6, y: 30, class: "t-label stair" }, "solid: what is stored"));
  root.append(svg("text", { x: 6, y: 58, class: "t-label dashed" }, "dashed: the original value"));
  return root;
}

function pairs(data) {
  const root = element("div", "groups");
  for (const group of data.groups) {
    const box = element("div", "group"), head = element("div", "head");
    head.append(element("span", "label", group.name));
    if (group.change) head.append(element("span", tone("chip", group.tone), group.change));
    box.append(head);
    for (const bar of group.bars) {
      const line = element("div", "pair"), track = element("span", "track"), fill = element("span", tone("fill", bar.tone));
      fill.style.width = `${Math.max(0.5, 100 * bar.length)}%`;
      track.append(fill);
      line.append(element("span", "who", bar.name), track, element("span", "amount", bar.value));
      box.append(line);
    }
    root.append(box);
  }
  return root;
}

function hundreds(data) {
  const root = element("div", "hundreds");
  for (const item of data.items) {
    const box = element("div", tone("hundred", item.tone));
    const dots = svg("svg", { viewBox: "0 0 100 100", class: "dots", "aria-hidden": "true" });
    for (let i = 0; i < 100; i += 1) {
      const right = i < item.right;
      const cx = (i % 10) * 10 + 5, cy = Math.floor(i / 10) * 10 + 5;
      dots.append(svg("circle", { cx, cy, r: right ? 3.9 : 3.3, class: right ? "hit" : "miss" }));
    }
    box.append(element("div", "label", item.name), dots, element("div", "big", item.value));
    if (item.note) box.append(element("div", "note", item.note));
    root.append(box);
  }
  return root;
}

// What goes in and what each network makes of it, side by side.
function shots(items) {
  const root = element("div", "shots");
  for (const item of items) {
    const box = element("div", "shot"), frame = element("div", item.square ? "frame square" : "frame"), image = element("img");
    image.src = item.src;
    image.alt = item.caption;
    frame.append(image);
    for (const drawn of item.boxes) {
      const mark = element("div", tone("box", drawn.tone));
      Object.assign(mark.style, { left: `${100 * drawn.x}%`, top: `${100 * drawn.y}%`, width: `${100 * drawn.width}%`, height: `${100 * drawn.height}%` });
      frame.append(mark);
    }
    box.append(frame, element("div", "note", item.caption));
    root.append(box);
  }
  return root;
}

function gallery(data) {
  const root = element("div", data.items.some((item) => item.shots.length) ? "gallery rows" : "gallery");
  root.style.setProperty("--count", Math.max(1, data.items.length));
  for (const item of data.items) {
    const card = element("figure", "example");
    if (item.shots.length) {
      card.append(shots(item.shots));
    } else if (item.image) {
      const image = element("img");
      image.src = item.image;
      image.alt = item.name;
      card.append(image);
    } else if (item.line.length) {
      const box = svg("svg", { viewBox: "0 0 100 60", class: "signal", preserveAspectRatio: "none", "aria-hidden": "true" });
      const step = 100 / Math.max(1, item.line.length - 1);
      box.append(svg("polyline", { points: item.line.map((value, at) => `${at * step},${57 - 54 * value}`).join(" ") }));
      card.append(box);
    } else card.append(element("div", item.text ? "words text" : "words", item.text || item.words));
    const caption = element("figcaption");
    caption.append(element("div", "note", item.shots.length || item.image || item.line.length || item.text ? item.name : ""));
    for (const said of item.said) {
      const line = element("div", "said");
      line.append(element("span", "who", said.who), element("span", tone("answer", said.tone), said.answer));
      caption.append(line);
    }
    card.append(caption);
    root.append(card);
  }
  return root;
}

function journey(data) {
  const root = element("div", "journey"), list = element("ol", `deeds ${data.deeds.length > 4 ? "many" : data.deeds.length < 4 ? "few" : ""}`);
  for (const deed of data.deeds) {
    const item = element("li");
    item.append(element("strong", "", deed.name), element("span", "", deed.words));
    list.append(item);
  }
  root.append(list);
  if (data.figures.length) {
    const side = figures({ items: data.figures });
    side.classList.add("side");
    root.append(side);
  }
  return root;
}

function checklist(data) {
  const root = element("ul", data.items.length < 4 ? "checks few" : "checks");
  for (const item of data.items) {
    const line = element("li", item.done ? "done" : "open"), words = element("div");
    const mark = svg("svg", { viewBox: "0 0 24 24", class: "mark", role: "img", "aria-label": item.done ? "done" : "open" });
    mark.append(svg("circle", { cx: 12, cy: 12, r: 10 }));
    mark.append(svg("path", { d: item.done ? "M 7 12.5 L 10.5 16 L 17 8.5" : "M 12 6.5 V 13 M 12 16.4 V 16.6" }));
    words.append(element("strong", "", item.name), element("span", "", item.words));
    line.append(mark, words);
    root.append(line);
  }
  return root;
}

function words(data) {
  const root = element("dl", data.items.length > 12 ? "glossary many" : "glossary");
  for (const item of data.items) {
    const entry = element("div");
    entry.append(element("dt", "", item.word), element("dd", "", item.meaning));
    root.append(entry);
  }
  return root;
}

const PICTURES = { figures, bits, histogram, staircase, bars: pairs, hundreds, gallery, journey, checklist, words };
