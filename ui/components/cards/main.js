// Cards with one figure each: name, value, how it changed, and the formula on hover or focus.
//
// Cards that depend on the recipe carry its token. A clip line that is moved says so at once (`EDITED`): from then
// on their figures are shown as outdated, until figures with another token arrive.

const EDITED = "quantscope-edited", SETTLED = "quantscope-settled";
const TIP = 330;  // px that a tip needs to the right; where there is less room, it ends where its card ends

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector("#cards");
  if (root.dataset.token !== data.token) root.classList.remove("outdated");
  root.dataset.token = data.token;
  if (!parentElement.outdate) {
    parentElement.outdate = () => root.dataset.token && root.classList.add("outdated");
    parentElement.settle = (event) => root.dataset.token && root.classList.toggle("outdated", event.detail !== root.dataset.token);
    window.addEventListener(EDITED, parentElement.outdate);
    window.addEventListener(SETTLED, parentElement.settle);
  }
  root.style.gridTemplateColumns = data.columns ? `repeat(${data.columns}, minmax(0, 1fr))` : `repeat(auto-fit, minmax(${data.least}px, 1fr))`;
  root.replaceChildren(...data.items.map((item) => {
    const card = document.createElement("div");
    card.className = `card${data.lines ? " lined" : ""}${data.flat ? " flat" : ""}${item.waiting ? " waiting" : ""}`;
    card.dataset.card = item.name;
    const add = (cls, text, parent = card) => {
      const node = document.createElement("span");
      node.className = cls;
      node.textContent = text;
      parent.appendChild(node);
      return node;
    };
    const head = add("head", "");
    add("name", item.name, head);
    if (item.change) add(`tone ${item.tone || "plain"}`, item.change, head);
    add("value", item.value);
    const note = add("note", "");
    note.append(item.note || (item.over || data.lines ? "\u00a0" : ""));
    const spoken = [item.note || "", item.over || "", ...(item.moved || [])].filter(Boolean);
    if (item.over || data.lines) add(item.doubt ? "over doubt" : "over", item.over || "\u00a0");
    for (let line = 0; line < Math.max(data.lines || 0, (item.moved || []).length); line++) {
      add("moved", (item.moved || [])[line] || "\u00a0");
    }
    if (item.tip) {
      card.dataset.tip = "1";
      card.tabIndex = 0;
      card.setAttribute("aria-label", `${item.name}: ${item.value}. ${item.change || ""} ${spoken.join(", ")}. ${item.tip}`);
      add("tip", item.tip);
      const turn = () => card.classList.toggle("end", card.getBoundingClientRect().left + TIP > document.documentElement.clientWidth);
      card.addEventListener("pointerenter", turn);
      card.addEventListener("focus", turn);
    }
    return card;
  }));
  return () => {
    window.removeEventListener(EDITED, parentElement.outdate);
    window.removeEventListener(SETTLED, parentElement.settle);
    parentElement.outdate = undefined;
  };
}
