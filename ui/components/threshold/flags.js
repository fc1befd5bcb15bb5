// Flags above the histogram: which methods would cut there. Methods that agree share a flag, and all flags of an end
// take two rows at most; a flag lists what it stands for, and each method can be chosen from it, by keys too.

const SHIFTS = [14, 28, 44, 62, 82, 104];  // that a flag may lie beside its line
const QUIET = 700;  // ms after a choice
const LETTER = 6.7, PAD = 15, APART = 5;  // pixels

const endsOf = (S) => (S.data.mode === "asymmetric" ? ["low", "high"] : ["high"]);

function labelOf(group) {
  const names = group.marks.map((mark) => mark.label);
  return names.length < 3 ? names.join(" · ") : `${names[0]} · ${names[1]} · +${names.length - 2}`;
}

// Marks in the part that is shown, by end and place; the one in use first in its group.
function groupsOf(S) {
  const groups = [];
  for (const end of endsOf(S)) {
    const placed = S.data.marks
      .map((mark) => ({ mark, x: S.X(mark[end]) }))
      .filter(({ x }) => x >= LEFT - 1 && x <= S.width - RIGHT + 1)
      .sort((a, b) => a.x - b.x);
    let group = null;
    for (const { mark, x } of placed) {
      if (group && x - group.to < 1.5) { group.marks.push(mark); group.to = x; }
      else groups.push((group = { end, marks: [mark], x, to: x }));
    }
  }
  for (const group of groups) group.marks.sort((a, b) => b.used - a.used);
  return groups;
}

// A place for every flag in two rows; null where there is no room.
function rowsOf(S, groups) {
  const rows = Array.from({ length: ROWS }, () => []), placed = [];
  const used = (group) => group.marks.some((mark) => mark.used), outwards = (a, b) => (a.x - b.x) * (a.end === "high" ? -1 : 1);
  for (const group of [...groups].sort((a, b) => used(b) - used(a) || outwards(a, b))) {  // those at the ends have the least room
    const width = Math.ceil(labelOf(group).length * LETTER + PAD);
    const starts = [group.x, group.to - width, ...SHIFTS.map((by) => group.x + by), ...SHIFTS.map((by) => group.to - width - by)].map((start) => clamp(start, LEFT - 12, S.width - width));
    let found = null;
    for (const [row, taken] of rows.entries()) {
      const start = starts.find((at) => taken.every(([from, to]) => at > to + APART || at + width < from - APART));
      if (start !== undefined) { found = { group, row, start, width }; taken.push([start, start + width]); break; }
    }
    if (!found) return null;
    placed.push(found);
  }
  return placed;
}

function layFlags(S) {
  let groups = groupsOf(S), placed = rowsOf(S, groups);
  while (!placed && groups.length > 1) {  // the two nearest ones become one
    groups.sort((a, b) => a.x - b.x);
    let at = 0;
    groups.forEach((group, i) => { if (i && group.x - groups[i - 1].to < groups[at + 1].x - groups[at].to) at = i - 1; });
    const [a, b] = groups.splice(at, 2);
    const marks = [...a.marks, ...b.marks.filter((mark) => !a.marks.includes(mark))].sort((p, q) => q.used - p.used);
    groups.splice(at, 0, { end: a.end, marks, x: a.x, to: b.to });
    placed = rowsOf(S, groups);
  }
  return placed || [];
}

function drawMarkLines(S, chart) {
  const inside = (x) => x >= LEFT - 1 && x <= S.width - RIGHT + 1, lines = svg("g", {}, chart);
  for (const mark of S.data.marks) {
    const group = svg("g", { class: `mark ${mark.id}${mark.used ? " used" : ""}`, "data-method": mark.id }, lines);
    for (const x of [S.X(mark.low), S.X(mark.high)]) {
      if (inside(x) && !(S.data.mode === "nonneg" && x === S.X(mark.low))) svg("line", { x1: x, x2: x, y1: S.top - 2, y2: S.base }, group);
    }
  }
}

function placeFlags(S) {
  const placed = layFlags(S), drawn = JSON.stringify([S.data.readonly, placed.map(({ group, row, start }) => [group.marks, row, start])]);
  if (S.flags.drawn === drawn) return;
  S.flags.drawn = drawn;
  S.flags.replaceChildren();
  for (const { group, row, start, width } of placed) {
    const { marks } = group, used = marks.some((mark) => mark.used), several = marks.length > 1;
    const flag = html("div", { class: `flag${used ? " used" : ""}`, "data-methods": marks.map((mark) => mark.id).join(" ") }, S.flags);
    flag.style.left = `${start}px`;
    flag.style.top = `${HEAD + row * ROW}px`;
    flag.style.width = `${width}px`;
    const words = several ? `${marks.length} methods: ${marks.map((mark) => mark.label).join(", ")}` : `Use ${marks[0].label}: ${marks[0].text}`;
    const button = html("button", { type: "button", class: `mark ${marks[0].id}`, "aria-label": words }, flag, labelOf(group));
    if (several) button.setAttribute("aria-haspopup", "true");
    menu(S, flag, button, marks, start > S.width - 330);
  }
}

// What a flag stands for; shown while the pointer or the focus is on it.
function menu(S, flag, button, marks, flip) {
  const list = html("div", { class: `menu${flip ? " flip" : ""}`, role: "group", "aria-label": "Methods" }, flag);
  const choose = (mark) => {
    flag.classList.remove("open");
    S.flags.classList.add("quiet");  // another flag may come to lie below the pointer: it lists nothing yet
    setTimeout(() => S.flags.classList.remove("quiet"), QUIET);
    if (!S.data.readonly && !mark.used) S.use(mark.id);
  };
  for (const mark of marks) {
    const entry = html("button", { type: "button", class: `mark ${mark.id}${mark.used ? " used" : ""}`, "data-method": mark.id, tabindex: marks.length > 1 ? "0" : "-1" }, list);
    html("b", {}, entry, mark.label);
    html("span", {}, entry, mark.text);
    if (mark.used) html("i", {}, entry, "in use");
    if (S.data.readonly) entry.disabled = true;
    entry.onclick = () => choose(mark);
  }
  const show = () => flag.classList.add("open");
  const hide = () => flag.classList.remove("open");
  flag.onpointerleave = hide;
  flag.addEventListener("focusin", (event) => { if (event.target.matches(":focus-visible")) show(); });
  flag.addEventListener("focusout", (event) => { if (!flag.contains(event.relatedTarget)) hide(); });
  button.onclick = () => { if (marks.length === 1) choose(marks[0]); else show(); };
  flag.onkeydown = (event) => {
    const entries = [button, ...list.querySelectorAll("button")], at = entries.indexOf(flag.getRootNode().activeElement);
    if (event.key === "Escape") { button.focus(); hide(); }
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      show();
      entries[clamp(at + (event.key === "ArrowDown" ? 1 : -1), 0, entries.length - 1)].focus();
    }
  };
}
