// One row of figures: name, value, how it changed; what it is on hover and focus.

function element(cls, parent, text) {
  const node = document.createElement(cls === "heading" || cls.startsWith("items") || cls.startsWith("tile") ? "div" : "span");
  node.className = cls;
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}

// Tiles by name, drawn once; figures are put into them as they change.
function buildRow(root, heading, about, entries) {
  root.replaceChildren();
  const head = element("heading", root);
  const title = document.createElement("b");
  title.textContent = heading;
  head.appendChild(title);
  const note = element("about", head, about);
  element("pulse", head, "updating…");
  const items = element("items", root), tiles = {};
  let stack = null;  // lesser figures lie in lines, one below the other
  for (const { key, name, tip, small } of entries) {
    if (small && !stack) stack = element("items stack", items);
    const tile = element(small ? "tile small" : "tile", small ? stack : items);
    tile.dataset.key = key;
    tile.dataset.card = name;
    tile.tabIndex = 0;
    element("name", tile, name);
    tiles[key] = { tile, value: element("value", tile), note: element("note", tile), tip: element("tip", tile, tip) };
  }
  return { note, tiles };
}

function put({ tile, value, note, tip }, text, words, tone = "", plain = false) {
  value.textContent = text;
  value.classList.toggle("words", plain);
  note.textContent = words;
  note.className = `note ${tone}`;
  const name = tile.querySelector(".name").textContent;
  tile.setAttribute("aria-label", `${name}: ${text}. ${words ? words + ". " : ""}${tip.textContent}`);
}
