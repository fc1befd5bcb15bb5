// Drawing of the part of the graph that is seen: boxes and links outside are not in the page.

const SVG = "http://www.w3.org/2000/svg";
const SMALL = 0.45;  // below this zoom nothing can be read, and no text is drawn

function make(tag, attributes, parent, text) {
  const node = document.createElementNS(SVG, tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}

// Texts are cut to a width: at their end, or in the middle, since ends of names tell layers apart.
const widths = new Map();
function textWidth(text, weight) {
  const id = `${weight}${text}`;
  if (!widths.has(id)) {
    if (widths.size > 20000) widths.clear();
    const pen = (textWidth.pen = textWidth.pen || document.createElement("canvas").getContext("2d"));
    pen.font = `${weight} 11.5px "Source Sans", sans-serif`;
    widths.set(id, pen.measureText(text).width);
  }
  return widths.get(id);
}
function fitted(text, width, weight = 400) {
  if (textWidth(text, weight) <= width) return text;
  for (let kept = text.length - 1; kept > 3; kept--) {
    const tail = Math.ceil((kept * 2) / 3), cut = `${text.slice(0, kept - tail)}…${text.slice(-tail)}`;
    if (textWidth(cut, weight) <= width) return cut;
  }
  return text.slice(0, 3);
}

function entryOf(S, key) {
  return key >= 0 ? S.data.layers[key] : S.data.groups[-2 - key];
}

function shownPart(S) {
  const { x, y, k } = S.view, edge = 60;
  return [x - edge, y - edge, x + S.board.clientWidth / k + edge, y + S.height / k + edge];
}

function meets(a, b) {
  return a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];
}

// Bring the page to what is to be seen now: boxes that stay are left alone.
function paint(S) {
  const { x, y, k } = S.view, part = shownPart(S), wanted = new Set();
  S.world.setAttribute("transform", `scale(${k}) translate(${-x},${-y})`);
  S.svg.classList.toggle("small", k < SMALL);
  for (const box of S.plan.boxes.values()) {
    if (meets([box.x, box.y, box.x + box.w, box.y + box.h], part) || box.key === S.at) wanted.add(box.key);
  }
  for (const [key, node] of S.shown) {
    if (!wanted.has(key)) { node.remove(); S.shown.delete(key); }
  }
  for (const box of S.plan.boxes.values()) {
    if (!wanted.has(box.key) || S.shown.has(box.key)) continue;
    S.shown.set(box.key, box.inner ? frame(S, box) : boxOf(S, box));
  }
  const seen = S.plan.links.filter((link) => meets(link.area, part));
  S.lines.setAttribute("d", seen.map((link) => link.d).join(""));
  S.tips.setAttribute("d", seen.map((link) => link.tip).join(""));
  light(S);
  drawMap(S);
}

// The links of the layer under the pointer, or with the focus.
function light(S) {
  const key = S.over ?? (S.focused ? S.at : undefined);
  const own = key === undefined ? [] : S.plan.links.filter((link) => link.from === key || link.to === key);
  S.lit.setAttribute("d", own.map((link) => link.d).join(""));
  S.litTips.setAttribute("d", own.map((link) => link.tip).join(""));
}

function words(S, key) {
  const entry = entryOf(S, key);
  return [entry.name, ...entry.tip, ...(entry.flag ? [`⚑ ${entry.flag}`] : [])];
}

// What all boxes have: a place, a name for screen readers, keys and the pointer.
function holder(S, box, parent, attributes) {
  const node = make("g", { tabindex: box.key === S.at ? 0 : -1, transform: `translate(${box.x},${box.y})`, "aria-label": words(S, box.key).join(", "), ...attributes }, parent);
  node.style.setProperty("--hue", entryOf(S, box.key).colour);
  node.addEventListener("click", () => { if (!S.moved) S.act(box.key); });
  node.addEventListener("focus", () => {
    S.at = box.key;
    S.focused = true;
    if (node.matches(":focus-visible")) hint(S, box.key);
    light(S);
  });
  node.addEventListener("blur", () => { S.focused = false; hint(S); light(S); });
  node.addEventListener("pointerenter", () => {
    S.over = box.key;
    clearTimeout(S.hinting);
    S.hinting = setTimeout(() => S.over === box.key && hint(S, box.key), S.tip.hidden ? 280 : 40);
    light(S);
  });
  node.addEventListener("pointerleave", () => {
    S.over = undefined;
    clearTimeout(S.hinting);
    hint(S);
    light(S);
  });
  return node;
}

function boxOf(S, box) {
  const [w, h] = NODE, entry = entryOf(S, box.key), layer = box.key >= 0;
  const found = S.found.has(box.key) ? " found" : "";
  const node = holder(S, box, S.nodes, layer
    ? { class: `node${found}`, role: "link", "data-layer": entry.name, "data-known": entry.colour === S.data.scale.unknown ? "" : "1" }
    : { class: `node group${found}`, role: "button", "aria-expanded": "false", "data-group": entry.path });
  if (!layer) make("rect", { x: 5, y: 5, width: w, height: h, rx: 7, class: "behind" }, node);
  make("rect", { width: w, height: h, rx: 6, class: "box" }, node);
  make("path", { d: `M6,0H5a5,5 0 0 0 -5,5V${h - 5}a5,5 0 0 0 5,5h1z`, class: "bar" }, node);
  const figure = textWidth(entry.figure, 600), second = layer ? entry.op : `${entry.count.toLocaleString("en")} layers`;
  if (!layer) make("path", { d: "M13,8.5l5,4.5l-5,4.5z", class: "fold" }, node);
  make("text", { x: layer ? 13 : 23, y: 17, class: "label" }, node, fitted(entry.label, w - (layer ? 28 : 38), 600));
  make("text", { x: 13, y: 33, class: "second" }, node, fitted(second, w - 30 - figure));
  make("text", { x: w - 8, y: 33, class: "figure", "text-anchor": "end" }, node, entry.figure);
  if (layer ? entry.flag : entry.flagged) make("path", { d: `M${w - 15},0H${w - 6}a6,6 0 0 1 6,6V15z`, class: "flag" }, node);
  return node;
}

function frame(S, box) {
  const entry = entryOf(S, box.key);
  const node = holder(S, box, S.frames, { class: "frame", role: "button", "aria-expanded": "true", "data-group": entry.path });
  make("rect", { width: box.w, height: box.h, rx: 9, class: "around" }, node);
  make("rect", { width: box.w, height: HEAD, rx: 9, class: "head" }, node);
  const said = `${entry.count.toLocaleString("en")} layers · ${entry.figure === "–" ? "not measured" : `worst ${entry.figure}`}`;
  const room = box.w - 24 - textWidth(said, 400) - 14;
  make("path", { d: "M12,11.5l9,0l-4.5,5z", class: "fold" }, node);
  make("text", { x: 26, y: 18, class: "label" }, node, fitted(entry.label, Math.max(room - 14, 60), 600));
  if (room > 60) make("text", { x: box.w - 12, y: 18, class: "second", "text-anchor": "end" }, node, said);
  return node;
}

// The whole name and all figures of a box, beside it.
function hint(S, key) {
  const box = key === undefined ? undefined : S.plan.boxes.get(key);
  S.tip.hidden = !box || S.moving;
  if (S.tip.hidden) return;
  const lines = words(S, key), action = key >= 0 ? "Click or Enter: open in the Inspector" : box.inner ? "Click or Enter: fold" : "Click or Enter: unfold";
  S.tip.replaceChildren(...[...lines, action].map((text, at) => {
    const line = document.createElement("div");
    line.className = at === 0 ? "whole" : at === lines.length ? "action" : text.startsWith("⚑") ? "flagged" : "";
    line.textContent = text;
    return line;
  }));
  const { x, y, k } = S.view, left = (box.x - x) * k, top = (box.y - y) * k, height = (box.inner ? HEAD : box.h) * k;
  const w = S.tip.offsetWidth, h = S.tip.offsetHeight;
  const below = top + height + 6, fits = below + h < S.height + 40 || top - h - 6 < 0;
  S.tip.style.left = `${S.board.offsetLeft + Math.max(4, Math.min(left, S.board.clientWidth - w - 4))}px`;
  S.tip.style.top = `${S.board.offsetTop + (fits ? below : top - h - 6)}px`;
}

// All of the graph in a corner, with a frame around what is seen.
function drawMap(S) {
  const { width, height, boxes } = S.plan, { x, y, k } = S.view, w = S.board.clientWidth / k, h = S.height / k;
  S.map.hidden = width <= w + 2 && height <= h + 2;
  if (S.map.hidden) return;
  const scale = Math.min(168 / width, 112 / height), dense = window.devicePixelRatio || 1;
  const size = [Math.ceil(width * scale), Math.ceil(height * scale)];
  S.map.scale = scale;
  Object.assign(S.map, { width: size[0] * dense, height: size[1] * dense });
  Object.assign(S.map.style, { width: `${size[0]}px`, height: `${size[1]}px` });
  const pen = S.map.getContext("2d"), style = getComputedStyle(S.map);
  pen.scale(dense * scale, dense * scale);
  for (const box of boxes.values()) {
    pen.fillStyle = box.inner ? style.getPropertyValue("--edge") : entryOf(S, box.key).colour;
    pen.globalAlpha = box.inner ? 0.35 : S.found.size && !S.found.has(box.key) ? 0.25 : 0.9;
    pen.fillRect(box.x, box.y, box.w, box.h);
  }
  pen.globalAlpha = 1;
  pen.lineWidth = 1.5 / scale;
  pen.strokeStyle = style.getPropertyValue("--st-primary-color");
  pen.strokeRect(Math.max(x, 0) + pen.lineWidth / 2, Math.max(y, 0) + pen.lineWidth / 2, Math.min(w, width) - pen.lineWidth, Math.min(h, height) - pen.lineWidth);
}
