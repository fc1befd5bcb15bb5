// The model as a graph of layers: groups to fold, a search, jumps, a map, and every box within reach of the keys.
//
// Folding and moving about are the browser's alone; the server hears only of a layer that is to be opened. What is
// open, and where the view is, outlives a new drawing, a visit to another page and a reload.

const BOARD = 480, NEAR = 2.5, READABLE = 0.86, LEAST = 0.78;

const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));

function store(S, values) {
  const id = `quantscope graph ${S.data.project}`;
  try {
    if (values === undefined) return JSON.parse(sessionStorage.getItem(id) || "{}");
    sessionStorage.setItem(id, JSON.stringify(values));
  } catch { /* no room, or forbidden: then it is forgotten with the page */ }
  return {};
}

function save(S) {
  clearTimeout(S.saving);
  S.saving = setTimeout(() => store(S, { open: [...S.open].map((key) => entryOf(S, key).path), view: S.view, query: S.query, at: entryOf(S, S.at)?.name }), 150);
}

// --- the view ---

function keepInside(S) {
  const { width, height } = S.plan, w = S.board.clientWidth / S.view.k, h = S.height / S.view.k;
  S.view.x = width <= w ? (width - w) / 2 : clamp(S.view.x, 0, width - w);
  S.view.y = height <= h ? Math.min(0, (height - h) / 2) : clamp(S.view.y, 0, height - h);
}

function move(S, dx, dy) {
  S.view.x += dx / S.view.k;
  S.view.y += dy / S.view.k;
  draw(S);
}

function draw(S) {
  keepInside(S);
  save(S);
  if (S.frameAsked) return;
  S.frameAsked = requestAnimationFrame(() => { S.frameAsked = 0; if (S.plan) paint(S); });
}

function drawNow(S) {
  keepInside(S);
  save(S);
  paint(S);
}

// Around a point of the board.
function zoom(S, factor, px = S.board.clientWidth / 2, py = S.height / 2) {
  const before = S.view.k, k = clamp(before * factor, Math.min(fitting(S), 0.1), NEAR);
  S.view.x += px / before - px / k;
  S.view.y += py / before - py / k;
  S.view.k = k;
  draw(S);
}

// The zoom at which all of the graph is seen.
function fitting(S) {
  return Math.min(S.board.clientWidth / S.plan.width, BOARD / S.plan.height, 1.15);
}

function fit(S) {
  S.view = { x: 0, y: 0, k: fitting(S) };
  draw(S);
}

// At first: all of it where that can be read, else its beginning.
function first(S) {
  const k = fitting(S);
  S.view = { x: 0, y: 0, k: k >= LEAST ? k : Math.max(LEAST, Math.min(READABLE, S.board.clientWidth / S.plan.width)) };
}

function reveal(S, key) {
  const box = S.plan.boxes.get(key), { k } = S.view;
  S.view.k = clamp(k, 0.8, NEAR);
  S.view.x = box.x + box.w / 2 - S.board.clientWidth / 2 / S.view.k;
  S.view.y = box.y + (box.inner ? 40 : box.h / 2) - S.height / 2 / S.view.k;
  focus(S, key);
}

function focus(S, key) {
  S.shown.get(S.at)?.setAttribute("tabindex", -1);
  S.at = key;
  const box = S.plan.boxes.get(key), { x, y, k } = S.view, w = S.board.clientWidth / k, h = S.height / k;
  const low = box.inner ? HEAD : box.h;
  if (box.x < x || box.x + box.w > x + w) S.view.x = box.x + Math.min(box.w, w) / 2 - w / 2;
  if (box.y < y || box.y + low > y + h) S.view.y = box.y + low / 2 - h / 2;
  drawNow(S);
  const node = S.shown.get(key);
  node.setAttribute("tabindex", 0);
  node.focus({ preventScroll: true });
}

// --- folding ---

function plan(S) {
  S.width = S.board.clientWidth;
  // A graph too large to be read at once is made wider, so that it can be seen at once.
  const board = Math.max(680, S.width / READABLE), whole = roomy(S.tree, -1, S.open) / 1.3;
  S.plan = arrange(S.tree, S.open, whole > 2.2 * board ? whole : board);
  for (const node of S.shown.values()) node.remove();
  S.shown.clear();
  if (!S.plan.boxes.has(S.at)) S.at = S.tree.chains[S.at >= 0 ? S.at : 0].find((key) => S.plan.boxes.has(key) && !S.open.has(key)) ?? [...S.plan.boxes.keys()][0];
  look(S);
  tell(S);
}

function setHeight(S) {
  S.height = clamp(S.plan.height * Math.min(S.view.k, S.board.clientWidth / S.plan.width), 120, BOARD);
  S.board.style.height = `${S.height}px`;
}

// Fold or unfold a group; it stays where it is on the screen.
function toggle(S, key) {
  const before = S.plan.boxes.get(key), at = [before.x - S.view.x, before.y - S.view.y];
  if (!S.open.delete(key)) S.open.add(key);
  S.at = key;
  plan(S);
  setHeight(S);
  const box = S.plan.boxes.get(key);
  S.view.x = box.x - at[0];
  S.view.y = box.y - at[1];
  focus(S, key);
}

function foldAll(S, open) {
  S.open = new Set(open ? S.data.groups.map((_, at) => -2 - at) : []);
  plan(S);
  first(S);
  setHeight(S);
  drawNow(S);
}

function go(S, layer) {
  const closed = S.tree.chains[layer].filter((key) => key < -1 && !S.open.has(key));
  if (closed.length) {
    for (const key of closed) S.open.add(key);
    plan(S);
    setHeight(S);
  }
  reveal(S, layer);
  const node = S.shown.get(layer);
  node.classList.remove("hit");
  node.getBoundingClientRect();  // so that the same layer flashes again
  node.classList.add("hit");
}

// --- search and jumps ---

// Which boxes hold what is looked for: layers, and the closed groups around them.
function look(S) {
  const words = S.query.trim().toLowerCase();
  S.hits = words ? S.data.layers.flatMap((layer, at) => (`${layer.name} ${layer.op}`.toLowerCase().includes(words) ? [at] : [])) : [];
  S.found = new Set(S.hits.flatMap((at) => S.tree.chains[at].filter((key) => key >= 0 || !S.open.has(key))));
}

function search(S, query) {
  S.query = query;
  S.hit = -1;
  look(S);
  for (const [key, node] of S.shown) node.classList.toggle("found", S.found.has(key));
  tell(S);
  draw(S);
}

function nextHit(S, step) {
  if (!S.hits.length) return;
  S.hit = (S.hit + step + S.hits.length) % S.hits.length;
  go(S, S.hits[S.hit]);
  tell(S);
}

function jump(S, kind, places) {
  if (!places.length) return;
  S.jumped = S.jumped && S.jumped.kind === kind ? { kind, at: (S.jumped.at + 1) % places.length } : { kind, at: 0 };
  go(S, places[S.jumped.at]);
  tell(S);
}

function tell(S) {
  const { layers, groups, worst } = S.data, flagged = layers.filter((layer) => layer.flag).length;
  const at = (kind) => (S.jumped && S.jumped.kind === kind ? S.jumped.at + 1 : 0);
  S.parts.worst.hidden = !worst.length;
  S.parts.worst.textContent = at("worst") ? `Next worst · ${at("worst")}` : "Go to the worst";
  S.parts.flagged.hidden = !flagged;
  S.parts.flagged.textContent = `⚑ ${at("flagged") ? `${at("flagged")} of ` : ""}${flagged.toLocaleString("en")} flagged`;
  S.parts.fold.hidden = S.parts.unfold.hidden = !groups.length;
  S.parts.count.textContent = !S.query.trim() ? "" : !S.hits.length ? "no layer" : S.hit < 0 ? `${S.hits.length.toLocaleString("en")} found` : `${S.hit + 1} of ${S.hits.length.toLocaleString("en")}`;
}

// --- keys and pointer ---

function keys(S, event) {
  const box = S.plan.boxes.get(S.at);
  const key = event.key, ctrl = event.ctrlKey || event.metaKey || event.altKey;
  if (ctrl || !box) return;
  event.stopPropagation();  // Streamlit has letters of its own
  const order = [...S.plan.boxes.values()].filter((one) => !one.inner || one.key === S.at).sort((a, b) => a.rowTop - b.rowTop || a.x - b.x || a.y - b.y);
  const place = S.plan.boxes.size ? [...S.plan.boxes.keys()] : [], at = place.indexOf(S.at);
  const done = {
    Enter: () => S.act(S.at),
    " ": () => S.act(S.at),
    ArrowRight: () => place[at + 1] !== undefined && focus(S, place[at + 1]),
    ArrowLeft: () => at > 0 && focus(S, place[at - 1]),
    ArrowDown: () => beside(S, order, box, 1),
    ArrowUp: () => beside(S, order, box, -1),
    Home: () => focus(S, place[0]),
    End: () => focus(S, place[place.length - 1]),
    "+": () => zoom(S, 1.25),
    "=": () => zoom(S, 1.25),
    "-": () => zoom(S, 0.8),
    0: () => fit(S),
    Escape: () => { activate(S, false); S.shown.get(S.at)?.blur(); },
  }[key];
  if (!done) return;
  event.preventDefault();
  done();
}

// The nearest box below or above.
function beside(S, order, box, way) {
  const middle = box.x + box.w / 2;
  const near = order
    .filter((one) => one !== box && (way > 0 ? one.y >= box.y + (box.inner ? HEAD : box.h) : one.y + one.h <= box.y))
    .map((one) => ({ key: one.key, far: Math.abs(one.y - box.y) + Math.abs(one.x + one.w / 2 - middle) / 2 }))
    .sort((a, b) => a.far - b.far)[0];
  if (near) focus(S, near.key);
}

// The wheel is the page's until the board was clicked or has the focus.
function activate(S, active) {
  S.active = active;
  S.board.classList.toggle("active", active);
  S.parts.hint.textContent = active ? "Wheel moves, Ctrl + wheel zooms · Esc gives the wheel back to the page" : "Drag to move · click to use the wheel here";
}

function pointer(S) {
  let from = null;
  S.board.addEventListener("pointerdown", (event) => {
    S.moved = false;
    if (event.button || event.target === S.map) return;
    from = [event.clientX, event.clientY];
    activate(S, true);
  });
  S.board.addEventListener("pointermove", (event) => {
    if (!from) return;
    if (!event.buttons) { from = null; S.moving = false; return; }
    const dx = event.clientX - from[0], dy = event.clientY - from[1];
    if (!S.moved && Math.abs(dx) + Math.abs(dy) < 5) return;
    S.moved = S.moving = S.tip.hidden = true;
    if (!S.board.hasPointerCapture(event.pointerId)) S.board.setPointerCapture(event.pointerId);
    from = [event.clientX, event.clientY];
    move(S, -dx, -dy);
  });
  const end = () => { from = null; S.moving = false; };
  S.board.addEventListener("pointerup", end);
  S.board.addEventListener("pointercancel", end);
  S.board.addEventListener("wheel", (event) => {
    const zooms = event.ctrlKey || event.metaKey;
    if (!S.active && !zooms) return;
    event.preventDefault();
    const corner = S.board.getBoundingClientRect();
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? S.height : 1;
    if (zooms) zoom(S, Math.exp(-clamp(event.deltaY * unit, -60, 60) / 240), event.clientX - corner.left, event.clientY - corner.top);
    else move(S, (event.shiftKey ? event.deltaY : event.deltaX) * unit, (event.shiftKey ? 0 : event.deltaY) * unit);
  }, { passive: false });
  const aim = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const corner = S.map.getBoundingClientRect();
    S.view.x = (event.clientX - corner.left) / S.map.scale - S.board.clientWidth / 2 / S.view.k;
    S.view.y = (event.clientY - corner.top) / S.map.scale - S.height / 2 / S.view.k;
    draw(S);
    event.preventDefault();
  };
  S.map.addEventListener("pointerdown", (event) => { S.map.setPointerCapture(event.pointerId); aim(event); });
  S.map.addEventListener("pointermove", aim);
  S.outside = (event) => { if (S.active && !event.composedPath().includes(S.board)) activate(S, false); };
  document.addEventListener("pointerdown", S.outside, true);
}

// --- the element ---

function element(tag, attributes, parent, text) {
  const node = document.createElement(tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}

function build(S, root) {
  root.replaceChildren();
  const bar = element("div", { class: "tools" }, root), legend = element("div", { class: "legend" }, root);
  const button = (text, hint, act) => {
    const made = element("button", { type: "button", title: hint, "aria-label": hint }, bar, text);
    made.addEventListener("click", act);
    return made;
  };
  const find = element("input", { type: "search", placeholder: "Find a layer", "aria-label": "Find a layer by name or operator", spellcheck: "false" }, bar);
  const count = element("span", { class: "count", "aria-live": "polite" }, bar);
  find.addEventListener("input", () => search(S, find.value));
  find.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
    if (event.key === "Enter") { nextHit(S, event.shiftKey ? -1 : 1); find.focus({ preventScroll: true }); }
    if (event.key === "Escape") { find.value = ""; search(S, ""); }
  });
  const worst = button("", "Go to the worst layer, then to the next one", () => jump(S, "worst", S.data.worst));
  const flagged = button("", "Show the flagged layers, one after the other", () => jump(S, "flagged", S.data.layers.flatMap((layer, at) => (layer.flag ? [at] : []))));
  element("span", { class: "space" }, bar);
  const fold = button("Fold all", "Fold all groups", () => foldAll(S, false)), unfold = button("Unfold all", "Unfold all groups", () => foldAll(S, true));
  button("−", "Zoom out", () => zoom(S, 0.8));
  button("Fit", "Show all of the graph", () => fit(S));
  button("+", "Zoom in", () => zoom(S, 1.25));
  S.board = element("div", { class: "board" }, root);
  S.svg = make("svg", { role: "group", "aria-label": "Graph of layers" }, S.board);
  S.world = make("g", {}, S.svg);
  S.frames = make("g", {}, S.world);
  S.lines = make("path", { class: "link" }, S.world);
  S.tips = make("path", { class: "tipped" }, S.world);
  S.lit = make("path", { class: "link lit" }, S.world);
  S.litTips = make("path", { class: "tipped lit" }, S.world);
  S.nodes = make("g", {}, S.world);
  S.map = element("canvas", { class: "map", title: "All of the graph; drag the frame to move", "aria-hidden": "true" }, S.board);
  S.tip = element("div", { class: "hint", role: "tooltip", hidden: "" }, root);  // may reach beyond a low board
  root.appendChild(legend);
  const { colours, low, high, unknown } = S.data.scale;
  element("span", {}, legend, "Cumulative SQNR");
  element("span", {}, legend, `≤ ${low} dB`);
  element("span", { class: "ramp", style: `background: linear-gradient(90deg, ${colours.join(", ")})` }, legend);
  element("span", {}, legend, `≥ ${high} dB`);
  element("span", { class: "swatch", style: `--hue: ${unknown}` }, legend, "float, or not measured");
  S.parts = { worst, flagged, fold, unfold, count, find, hint: element("span", { class: "wheel" }, legend) };
  S.board.addEventListener("keydown", (event) => keys(S, event));
  S.board.addEventListener("focusin", () => activate(S, true));
  pointer(S);
  activate(S, false);
  S.observer = new ResizeObserver(() => {
    if (!S.plan || !S.board.clientWidth || Math.abs(S.board.clientWidth - S.width) < 2) return;
    const anew = S.width === 0;
    plan(S);
    if (anew) first(S);
    setHeight(S);
    draw(S);
  });
  S.observer.observe(S.board);
}

// New data: places only where layers, groups or links are others.
function take(S, data) {
  S.data = data;
  const structure = JSON.stringify([data.project, data.layers.map((layer) => layer.name), data.groups.map((group) => group.path), data.links]);
  const active = S.focused, known = structure === S.structure;
  if (!known) {
    const kept = store(S), paths = new Set(kept.open || []);
    S.structure = structure;
    S.tree = treeOf(data);
    S.open = new Set(kept.open ? data.groups.flatMap((group, at) => (paths.has(group.path) ? [-2 - at] : [])) : data.open.map((at) => -2 - at));
    S.at = Math.max(0, data.layers.findIndex((layer) => layer.name === kept.at));
    S.parts.find.value = S.query = kept.query || "";
    S.hit = -1;
    S.jumped = null;
    S.view = kept.view;
  }
  plan(S);
  if (!S.view) first(S);
  if (!known) setHeight(S);
  drawNow(S);
  if (active) focus(S, S.at);
}

function main(component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector("#graph");
  const S = parentElement.graph || (parentElement.graph = { shown: new Map(), found: new Set(), hits: [], query: "", moved: false });
  S.act = (key) => (key >= 0 ? setTriggerValue("open", { name: S.data.layers[key].name }) : toggle(S, key));
  const text = JSON.stringify(data);
  if (S.text !== text) {
    S.text = text;
    S.data = data;
    if (!S.board) build(S, root);
    take(S, data);
  }
  return () => {
    S.observer.disconnect();
    document.removeEventListener("pointerdown", S.outside, true);
    cancelAnimationFrame(S.frameAsked);
    parentElement.graph = undefined;
  };
}
