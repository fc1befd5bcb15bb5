// Figures of the whole network. They carry the recipe's token: a clip line that moves says so at once (`EDITED`), and
// from then on they are shown as outdated, until figures with another token arrive.

const EDITED = "quantscope-edited", SETTLED = "quantscope-settled";

function main(component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector("#network");
  root.className = `figures network${data.items.some((item) => item.waiting) ? " busy" : ""}${root.classList.contains("outdated") && root.dataset.token === data.token ? " outdated" : ""}`;
  root.dataset.token = data.token;
  if (!parentElement.outdate) {
    parentElement.outdate = () => root.dataset.token && root.classList.add("outdated");
    parentElement.settle = (event) => root.dataset.token && root.classList.toggle("outdated", event.detail !== root.dataset.token);
    window.addEventListener(EDITED, parentElement.outdate);
    window.addEventListener(SETTLED, parentElement.settle);
  }
  const layout = JSON.stringify([data.heading, data.items.map((item) => [item.key, item.name, item.tip])]);
  if (parentElement.layout !== layout) {
    parentElement.layout = layout;
    parentElement.row = buildRow(root, data.heading, "", data.items);
  }
  const { note } = parentElement.row;
  note.textContent = data.about ? `· ${data.about}` : "";
  note.classList.toggle("amber", Boolean(data.doubt));
  note.title = data.doubt;
  for (const item of data.items) {
    const entry = parentElement.row.tiles[item.key];
    entry.tile.classList.toggle("waiting", item.waiting);
    put(entry, item.value, item.note, item.tone);
  }
  return () => {
    window.removeEventListener(EDITED, parentElement.outdate);
    window.removeEventListener(SETTLED, parentElement.settle);
    parentElement.outdate = parentElement.layout = undefined;
  };
}
