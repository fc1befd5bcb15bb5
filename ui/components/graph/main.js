// The model as a graph of layers: scrolls and zooms like a page, every layer a link that keys can reach.

const SVG = "http://www.w3.org/2000/svg";

function make(tag, attributes, parent, text) {
  const node = document.createElementNS(SVG, tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}

// From the right of a to the left of b: straight on, in an arch over what lies between, or down to the next row.
function link(a, b, w, h, step) {
  const x0 = a.x + w, y0 = a.y + h / 2, x1 = b.x - 5, y1 = b.y + h / 2;
  if (b.row !== a.row) {
    const below = a.bottom + 11, out = x0 + 10, back = x1 - 10, r = 6;
    return `M${x0},${y0}H${out - r}q${r},0 ${r},${r}V${below - r}q0,${r} ${-r},${r}H${back + r}q${-r},0 ${-r},${r}V${y1 - r}q0,${r} ${r},${r}H${x1}`;
  }
  if (x1 - x0 > step) {
    const top = Math.min(a.y, b.y) - Math.min(26, 8 + (x1 - x0) / 40);
    return `M${x0 - 14},${a.y}C${x0 + 4},${top} ${x1 - 34},${top} ${x1 + 9},${b.y - 4}`;
  }
  const bend = (x1 - x0) / 2;
  return `M${x0},${y0}C${x0 + bend},${y0} ${x1 - bend},${y1} ${x1},${y1}`;
}

function draw(S) {
  const { nodes, links, width, height, node: [w, h], step } = S.data;
  S.board.replaceChildren();
  const svg = (S.svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Graph of layers" }, S.board));
  const marker = make("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, make("defs", {}, svg));
  make("path", { d: "M0,1L7,4L0,7z", class: "tip" }, marker);
  for (const [a, b] of links) make("path", { d: link(nodes[a], nodes[b], w, h, step), class: "link", "marker-end": "url(#arrow)" }, svg);
  S.nodes = nodes.map((entry, i) => {
    const g = make("g", { class: "node", role: "link", tabindex: i === S.at ? 0 : -1, transform: `translate(${entry.x},${entry.y})`, "aria-label": entry.tip.replace(/\n/g, ", "), "data-layer": entry.name }, svg);
    g.style.setProperty("--hue", entry.colour);
    make("title", {}, g, entry.tip);
    make("rect", { width: w, height: h, rx: 6, class: "box" }, g);
    make("path", { d: `M6,0H5a5,5 0 0 0 -5,5V${h - 5}a5,5 0 0 0 5,5h1z`, class: "bar" }, g);
    make("text", { x: 13, y: h / 2 - 4, class: "op" }, g, entry.op);
    make("text", { x: 13, y: h / 2 + 11, class: "figure" }, g, entry.figure);
    if (entry.flag) make("path", { d: `M${w - 15},0H${w - 6}a6,6 0 0 1 6,6V15z`, class: "flag" }, g);
    g.onclick = () => { if (!S.moved) S.open(i); };
    g.onfocus = () => { S.at = i; };
    g.onkeydown = (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); S.open(i); }
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: nodes.length - 1 }[event.key];
      if (to === undefined || !S.nodes[to]) return;
      event.preventDefault();
      S.nodes[i].setAttribute("tabindex", -1);
      S.nodes[to].setAttribute("tabindex", 0);
      S.nodes[to].focus();
    };
    return g;
  });
  scale(S);
}

function scale(S) {
  const fit = Math.min(1.15, Math.max(0.62, (S.board.clientWidth - 4) / S.data.width));
  S.shown = fit * S.zoom;
  S.svg.setAttribute("width", S.data.width * S.shown);
  S.svg.setAttribute("height", S.data.height * S.shown);
}

function zoom(S, factor) {
  const middle = [S.board.scrollLeft + S.board.clientWidth / 2, S.board.scrollTop + S.board.clientHeight / 2];
  const before = S.shown;
  S.zoom = factor === 0 ? 1 : Math.min(4, Math.max(0.25, S.zoom * factor));
  scale(S);
  S.board.scrollTo((middle[0] * S.shown) / before - S.board.clientWidth / 2, (middle[1] * S.shown) / before - S.board.clientHeight / 2);
}

function pan(S) {
  let from = null;
  S.board.onpointerdown = (event) => { if (!event.button && event.pointerType === "mouse") from = [event.clientX, event.clientY, S.board.scrollLeft, S.board.scrollTop]; S.moved = false; };
  S.board.onpointermove = (event) => {
    if (!from || !event.buttons) { from = null; return; }
    const dx = event.clientX - from[0], dy = event.clientY - from[1];
    if (Math.abs(dx) + Math.abs(dy) > 4) S.moved = true;
    S.board.scrollTo(from[2] - dx, from[3] - dy);
  };
  S.board.onpointerup = () => { from = null; };
  S.board.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(S, event.deltaY > 0 ? 0.85 : 1.18);
  }, { passive: false });
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector("#graph");
  const S = parentElement.graph || (parentElement.graph = { zoom: 1, at: 0, moved: false });
  S.data = data;
  S.open = (i) => setTriggerValue("open", { name: data.nodes[i].name });
  if (!S.board) {
    const bar = document.createElement("div");
    bar.className = "tools";
    for (const [text, hint, factor] of [["−", "Zoom out", 0.8], ["Fit", "Fit the width", 0], ["+", "Zoom in", 1.25]]) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: text, title: hint, onclick: () => zoom(S, factor) });
      button.setAttribute("aria-label", hint);
      bar.appendChild(button);
    }
    S.board = document.createElement("div");
    S.board.className = "board";
    root.replaceChildren(bar, S.board);
    pan(S);
    S.observer = new ResizeObserver(() => S.svg && scale(S));
    S.observer.observe(S.board);
  }
  const text = JSON.stringify(data);
  if (S.text !== text) { S.text = text; draw(S); }
  return () => { S.observer.disconnect(); parentElement.graph = undefined; };
}
