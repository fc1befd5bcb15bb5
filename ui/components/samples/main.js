// A gallery of samples. Each card holds parts of six kinds: pictures, bars, tokens, text, lines, numbers.

const SVG = "http://www.w3.org/2000/svg";
const NAMED = 6; // boxes of a picture that carry words; all have them as a title

function element(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
}

function shape(tag, attributes, parent) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (parent) parent.appendChild(node);
  return node;
}

function caption(figure, part) {
  if (!part.caption && !part.note) return;
  const words = element("figcaption", "caption", part.caption);
  if (part.note) words.append(element("span", "note", part.note));
  figure.appendChild(words);
}

function boxes(frame, part) {
  if (!part.boxes.length) return;
  const over = shape("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" }, frame);
  part.boxes.forEach((box, place) => {
    const rect = shape("rect", { x: box.x, y: box.y, width: box.width, height: box.height, class: `box ${box.tone}` }, over);
    shape("title", {}, rect).textContent = box.words;
    if (place >= NAMED) return;
    const words = element("span", `boxwords ${box.tone}`, box.words);
    words.style.left = `${100 * Math.min(Math.max(box.x, 0), 0.8)}%`;
    words.style.top = `${100 * Math.min(Math.max(box.y, 0), 0.93)}%`;
    frame.appendChild(words);
  });
}

function picture(part) {
  const figure = element("figure", "picture");
  const frame = element("div", "frame");
  frame.style.aspectRatio = `${part.width} / ${part.height}`;
  if (part.width > 3 * part.height) figure.classList.add("wide");
  const image = element("img", part.square ? "square" : "");
  image.src = part.src;
  const found = part.boxes.map((box) => box.words).join(", ");
  image.alt = found ? `${part.alt}: ${found}` : part.alt;
  frame.appendChild(image);
  boxes(frame, part);
  figure.appendChild(frame);
  caption(figure, part);
  if (part.legend.length) {
    const legend = element("div", "swatches");
    for (const entry of part.legend) {
      const item = element("span", "swatch", entry.words);
      item.style.setProperty("--colour", entry.colour);
      legend.appendChild(item);
    }
    figure.appendChild(legend);
  }
  return figure;
}

function bars(part, models) {
  const figure = element("figure", "bars");
  const table = element("div", "barrows");
  for (const row of part.rows) {
    const name = element("span", row.label ? "barname label" : "barname", row.name);
    name.title = row.label ? `${row.name}: the label` : row.name;
    const stack = element("span", "stack");
    const values = element("span", "barvalues");
    row.shares.forEach((share, at) => {
      const bar = element("span", "bar");
      bar.style.width = `${Math.max(100 * share, share > 0 ? 0.8 : 0)}%`;
      bar.style.background = models[at]?.colour;
      stack.appendChild(bar);
      const value = element("span", "", row.words[at]);
      value.title = `${row.name}: ${row.words[at]} by ${part.models[at]}`;
      values.appendChild(value);
    });
    table.append(name, stack, values);
  }
  figure.appendChild(table);
  caption(figure, part);
  return figure;
}

function tokens(part) {
  const figure = element("figure", "tokens");
  const line = element("p", "tokenline");
  line.tabIndex = 0;
  line.setAttribute("role", "group");
  line.setAttribute("aria-label", part.caption);
  for (const token of part.tokens) {
    const word = element("span", `token ${token.tone}`, token.word);
    word.title = token.title;
    line.append(word, " ");
  }
  figure.appendChild(line);
  caption(figure, part);
  return figure;
}

function text(part) {
  const figure = element("figure", "text");
  const block = element("pre", "block", part.text);
  block.tabIndex = 0;
  block.setAttribute("role", "group");
  block.setAttribute("aria-label", part.caption);
  figure.appendChild(block);
  caption(figure, part);
  return figure;
}

function lines(part, models) {
  const figure = element("figure", "lines");
  const frame = element("div", "plot");
  const span = part.high - part.low || 1;
  const drawing = shape("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img", "aria-label": part.alt }, frame);
  part.lines.forEach((line, at) => {
    const step = line.points.length > 1 ? 1000 / (line.points.length - 1) : 0;
    let path = "", pen = "M";
    line.points.forEach((value, place) => {
      if (value === null) { pen = "M"; return; }
      path += `${pen}${(place * step).toFixed(1)} ${(97 - (94 * (value - part.low)) / span).toFixed(2)}`;
      pen = "L";
    });
    const one = shape("path", { d: path, class: at ? "line" : "line first", stroke: part.lines.length > 1 ? models[at]?.colour : "currentColor" }, drawing);
    shape("title", {}, one).textContent = line.name;
  });
  frame.append(element("span", "end high", part.ends[1]), element("span", "end low", part.ends[0]));
  figure.appendChild(frame);
  caption(figure, part);
  return figure;
}

function numbers(part) {
  const figure = element("figure", "numbers");
  const table = element("table");
  if (part.models.length) {
    const head = table.createTHead().insertRow();
    for (const name of ["", ...part.models]) {
      const cell = element("th", "", name);
      cell.scope = "col";
      head.appendChild(cell);
    }
  }
  const body = table.createTBody();
  for (const row of part.rows) {
    const line = body.insertRow();
    row.forEach((value, at) => line.appendChild(element(at ? "td" : "th", "", value)));
  }
  figure.appendChild(table);
  caption(figure, part);
  return figure;
}

const DRAWN = { picture, bars, tokens, text, lines, numbers };

function card(entry, models) {
  const node = element("article", "card");
  node.dataset.row = entry.row;
  const head = element("header");
  head.appendChild(element("h4", "", entry.title));
  const larger = element("button", "larger", "⤢");
  larger.type = "button";
  larger.setAttribute("aria-label", `Enlarge ${entry.title}`);
  larger.setAttribute("aria-pressed", "false");
  larger.title = "Enlarge";
  larger.onclick = () => enlarge(node, !node.classList.contains("large"));
  head.appendChild(larger);
  node.appendChild(head);
  if (entry.badges.length) {
    const badges = element("div", "badges");
    for (const badge of entry.badges) badges.appendChild(element("span", `badge ${badge.tone}`, badge.words));
    node.appendChild(badges);
  }
  const parts = element("div", "parts");
  const pictures = entry.parts.filter((part) => part.kind === "picture").length;
  parts.classList.toggle("few", pictures === 1);
  for (const part of entry.parts) parts.appendChild(DRAWN[part.kind](part, models));
  node.append(parts, element("p", "foot", entry.note));
  return node;
}

function enlarge(node, on) {
  node.classList.toggle("large", on);
  node.querySelector(".larger").setAttribute("aria-pressed", String(on));
}

// What was enlarged, and where the focus is, outlive a new drawing of the same samples.
function replace(root, ...drawn) {
  const large = [...root.querySelectorAll(".card.large")].map((node) => node.dataset.row);
  const focus = root.getRootNode().activeElement?.closest(".larger")?.closest(".card").dataset.row;
  root.replaceChildren(...drawn);
  for (const node of root.querySelectorAll(".card")) {
    if (large.includes(node.dataset.row)) enlarge(node, true);
    if (focus === node.dataset.row) node.querySelector(".larger").focus({ preventScroll: true });
  }
}

function main(component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector("#samples");
  root.classList.toggle("waiting", data.waiting);
  const legend = element("div", "legend");
  const coloured = data.cards.some((entry) => entry.parts.some((part) => part.kind === "bars" || (part.lines || []).length > 1));
  for (const model of coloured ? data.models : []) {
    const item = element("span", "model", model.name);
    item.style.setProperty("--colour", model.colour);
    legend.appendChild(item);
  }
  const grid = element("div", "grid");
  grid.style.gridTemplateColumns = `repeat(auto-fill, minmax(min(100%, ${data.least}px), 1fr))`;
  grid.append(...data.cards.map((entry) => card(entry, data.models)));
  replace(root, legend, grid);
}
