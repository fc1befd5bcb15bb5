// Cards with one figure each: name, value, how it changed, and the formula on hover or focus.

const TIP = 330;  // px that a tip needs to the right; where there is less room, it ends where its card ends

function main(component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector("#cards");
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
}
