// The steps of a history: a table whose first column draws the tree; rows and ticks are reached by keys.

const SVG = "http://www.w3.org/2000/svg", HEIGHT = 45, LANE = 16, LEFT = 12;

function element(tag, className, parent, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}

function shape(tag, attributes, parent) {
  const node = document.createElementNS(SVG, tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  parent.appendChild(node);
  return node;
}

// What of the tree crosses one row: lines of steps that lie above it with parents that lie below, its own, its dot.
function lanes(rows, parents, at, width, cell) {
  const svg = shape("svg", { width, height: HEIGHT, "aria-hidden": "true" }, cell);
  const x = (lane) => LEFT + lane * LANE, middle = HEIGHT / 2, own = rows[at];
  rows.forEach((row, i) => {
    const below = parents[i];
    if (below < 0 || at < i || at > below) return;
    const from = x(row.lane), to = x(rows[below].lane);
    let path;
    if (at === i) path = `M${from},${middle}V${HEIGHT}`;
    else if (at < below) path = `M${from},0V${HEIGHT}`;
    else path = from === to ? `M${from},0V${middle}` : `M${from},0C${from},${middle} ${to},2 ${to},${middle}`;
    shape("path", { d: path, class: "track" }, svg);
  });
  shape("circle", { cx: x(own.lane), cy: middle, r: 5, class: own.shown ? "dot shown" : "dot" }, svg);
}

function spoken(row, heads) {
  const figures = row.cells.map((cell, i) => `${heads[i]} ${cell.text}${cell.change ? `, ${cell.change}` : ""}`);
  const marks = [row.shown && "shown", row.pinned && "baseline", row.hidden && "deleted"].filter(Boolean);
  const from = row.parent ? `made from step ${row.parent}` : "";
  return [`Step ${row.number}: ${row.name || row.label}`, ...marks, from, ...figures].filter(Boolean).join(", ");
}

function draw(S) {
  const { rows, heads, chosen } = S.data;
  const places = new Map(rows.map((row, i) => [row.number, i]));
  const parents = rows.map((row) => places.get(row.parent) ?? -1);  // where the step stands that it was made from
  const scrolled = S.board ? S.board.scrollTop : 0;
  const width = LEFT * 2 + LANE * Math.max(0, ...rows.map((row) => row.lane));
  const board = element("div", "board"), table = element("table", "", board);
  table.setAttribute("aria-label", "Steps, the newest first");
  const top = element("tr", "", element("thead", "", table));
  top.style.cursor = "default";
  element("th", "", top).setAttribute("aria-label", "Chosen");
  element("th", "", top).setAttribute("aria-label", "Tree");
  element("th", "what", top, "Step");
  for (const head of heads) element("th", "", top, head);
  const body = element("tbody", "", table);
  S.lines = rows.map((row, i) => {
    const line = element("tr", [row.number === chosen && "chosen", row.hidden && "hidden"].filter(Boolean).join(" "), body);
    line.dataset.step = row.number;
    line.tabIndex = row.number === (S.focus ?? chosen) ? 0 : -1;
    line.setAttribute("aria-label", spoken(row, heads));
    if (row.number === chosen) line.setAttribute("aria-current", "true");
    const box = element("input", "", element("td", "tick", line));
    Object.assign(box, { type: "checkbox", checked: row.ticked, onclick: (event) => event.stopPropagation() });
    box.setAttribute("aria-label", `Choose step ${row.number}`);
    box.onchange = () => S.tick(rows.filter((other, j) => S.lines[j].querySelector("input").checked).map((other) => other.number));
    lanes(rows, parents, i, width, element("td", "lanes", line));
    const what = element("td", "what", line);
    const label = element("span", "label", what);
    element("span", row.name ? "named" : "", label, row.name || row.label);
    if (row.shown) element("span", "badge", label, "shown");
    if (row.pinned) element("span", "badge quiet", label, "baseline");
    element("span", "sub", what, [`step ${row.number}`, row.time, row.name && row.label].filter(Boolean).join(" · "));
    what.title = [row.name, row.label].filter(Boolean).join("\n");
    for (const cell of row.cells) {
      const place = element("td", "", line);
      element("span", cell.text === "–" ? "figure missing" : "figure", place, cell.text);
      if (cell.change) element("span", `change ${cell.tone}`, place, cell.change);
    }
    line.onclick = () => S.choose(row.number);
    line.onkeydown = (event) => {
      if (event.target !== line) return;
      if (event.key === "Enter") { event.preventDefault(); S.choose(row.number); }
      if (event.key === " ") { event.preventDefault(); box.click(); }
      const to = { ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: rows.length - 1 }[event.key];
      if (to === undefined || !S.lines[to]) return;
      event.preventDefault();
      line.tabIndex = -1;
      S.lines[to].tabIndex = 0;
      S.lines[to].focus();
    };
    line.onfocus = () => { S.focus = row.number; };
    return line;
  });
  const focused = S.board && S.board.contains(S.root.getRootNode().activeElement) ? S.focus : undefined;
  S.root.replaceChildren(board);
  S.board = board;
  board.scrollTop = scrolled;
  if (focused !== undefined) board.querySelector(`tr[data-step="${focused}"]`)?.focus({ preventScroll: true });
}

function main(component) {
  const { data, parentElement, setTriggerValue } = component;
  const S = parentElement.steps || (parentElement.steps = { root: parentElement.querySelector("#steps") });
  S.data = data;
  S.choose = (number) => setTriggerValue("choose", { number });
  S.tick = (numbers) => setTriggerValue("tick", { numbers });
  const text = JSON.stringify(data);
  if (S.text !== text) { S.text = text; draw(S); }
}
