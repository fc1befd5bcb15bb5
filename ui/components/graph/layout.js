// Where layers and groups go. Nothing here touches the page: places follow from the data, the open groups and a width.
//
// Each open group is arranged by itself and is then one large box of the group around it, so that frames never cross.
// Within a group, ranks run from left to right, and are folded into rows, each read from left to right.

const NODE = [138, 42], GAP_X = 30, GAP_Y = 12, ROW_GAP = 32, PAD = 14, HEAD = 27, MARGIN = 22, TALL = 12;

// The groups as a tree. A key is the place of a layer, or -2 - the place of a group; -1 is the model.
function treeOf(data) {
  const children = new Map([[-1, []]]), first = data.groups.map(() => Infinity);
  data.groups.forEach((_, at) => children.set(-2 - at, []));
  const parent = (key) => (key >= 0 ? groupKey(data.in[key]) : groupKey(data.groups[-2 - key].parent));
  const chain = (key) => {
    const found = [key];
    while (found[0] !== -1) found.unshift(parent(found[0]));
    return found;  // the model first
  };
  const chains = data.layers.map((_, at) => chain(at));
  chains.forEach((keys, at) => {
    for (const key of keys) if (key < -1) first[-2 - key] = Math.min(first[-2 - key], at);
    children.get(keys[keys.length - 2]).push(at);
  });
  data.groups.forEach((_, at) => children.get(parent(-2 - at)).push(-2 - at));
  const order = (key) => (key >= 0 ? key : first[-2 - key]);
  for (const list of children.values()) list.sort((a, b) => order(a) - order(b));
  return { children, chains, links: data.links, pairs: siblings(data.links, chains) };
}

function groupKey(at) {
  return at < 0 ? -1 : -2 - at;
}

// For each group, which of its children reads which.
function siblings(links, chains) {
  const found = new Map(), seen = new Set();
  for (const [a, b] of links) {
    const at = fork(chains[a], chains[b]), group = chains[a][at - 1];
    const pair = [chains[a][at], chains[b][at]], id = pair.join();
    if (seen.has(id)) continue;
    seen.add(id);
    if (!found.has(group)) found.set(group, []);
    found.get(group).push(pair);
  }
  return found;
}

// Where two ways from the model down part.
function fork(a, b) {
  let at = 0;
  while (a[at] === b[at] && at < a.length) at++;
  return at;
}

// Boxes with absolute places, and links between those that are shown.
function arrange(tree, open, width) {
  const boxes = new Map();
  const whole = level(tree, -1, open, width - 2 * MARGIN);
  const put = (inside, x, y) => {
    for (const box of inside.boxes) {
      const own = box.inner;
      Object.assign(box, { x: box.x + x, y: box.y + y, rowTop: box.rowTop + y, rowBottom: box.rowBottom + y, left: box.left + x, right: box.right + x });
      boxes.set(box.key, box);
      if (own) put(own, box.x + PAD, box.y + HEAD);
    }
  };
  put(whole, MARGIN, MARGIN);
  return { boxes, links: shownLinks(tree, boxes), width: whole.w + 2 * MARGIN, height: whole.h + 2 * MARGIN };
}

// The boxes of one group, with places from its own corner.
function level(tree, group, open, width) {
  const keys = tree.children.get(group), at = new Map(keys.map((key, i) => [key, i]));
  const before = keys.map(() => []), after = keys.map(() => []);
  for (const [a, b] of tree.pairs.get(group) || []) {
    const i = at.get(a), j = at.get(b);
    if (i >= j) continue;  // groups by name may read each other: a link that leads back ranks nothing
    before[j].push(i);
    after[i].push(j);
  }
  const rank = keys.map(() => 0);
  keys.forEach((_, j) => { for (const i of before[j]) rank[j] = Math.max(rank[j], rank[i] + 1); });
  keys.forEach((_, i) => {  // what reads nothing stands beside its first reader
    if (!before[i].length && after[i].length) rank[i] = Math.max(0, Math.min(...after[i].map((j) => rank[j])) - 1);
  });
  const boxes = keys.map((key) => {
    if (!open.has(key)) return { key, w: NODE[0], h: NODE[1] };
    const inner = level(tree, key, open, Math.min(width - 2 * PAD, roomy(tree, key, open)));
    return { key, inner, w: Math.max(inner.w + 2 * PAD, NODE[0] + 40), h: inner.h + HEAD + PAD };
  });
  return { boxes, ...rows(columns(rank, before).map((column) => column.map((i) => boxes[i])), width) };
}

// A width at which what is in a group is about twice as wide as high.
function roomy(tree, key, open) {
  return Math.max(3 * (NODE[0] + GAP_X), Math.sqrt(2.4 * area(tree, key, open)));
}

function area(tree, key, open) {
  if (key >= 0 || (key < -1 && !open.has(key))) return (NODE[0] + GAP_X) * (NODE[1] + (GAP_Y + ROW_GAP) / 2);
  return 1.25 * tree.children.get(key).reduce((sum, one) => sum + area(tree, one, open), 0);
}

// Those of a rank in the order of what they read; a rank of many takes several columns.
function columns(rank, before) {
  const by = new Map(), lane = rank.map(() => 0), found = [];
  rank.forEach((r, i) => (by.has(r) ? by.get(r).push(i) : by.set(r, [i])));
  for (const r of [...by.keys()].sort((a, b) => a - b)) {
    const inside = by.get(r), wanted = new Map(inside.map((i) => [i, mean(before[i].map((j) => lane[j]))]));
    inside.sort((a, b) => wanted.get(a) - wanted.get(b) || a - b);
    inside.forEach((i, place) => { lane[i] = place - (inside.length - 1) / 2; });
    const parts = Math.ceil(inside.length / TALL), each = Math.ceil(inside.length / parts);
    for (let from = 0; from < inside.length; from += each) found.push(inside.slice(from, from + each));
  }
  return found;
}

function mean(values) {
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : 0;
}

// Columns side by side, in rows of about equal length.
function rows(all, width) {
  const wide = (column) => Math.max(...column.map((box) => box.w));
  const total = all.reduce((sum, column) => sum + wide(column) + GAP_X, 0);
  const length = total / Math.max(1, Math.ceil((total - GAP_X) / width));
  let x = 0, y = 0, row = 0, w = 0, start = 0;
  const end = (stop) => {
    const inside = all.slice(start, stop), tall = inside.map((c) => c.reduce((sum, box) => sum + box.h + GAP_Y, -GAP_Y));
    const height = Math.max(...tall);
    inside.forEach((column, c) => {
      let top = y + Math.min(60, (height - tall[c]) / 2);  // beside a tall frame near its top, where it begins
      for (const box of column) {
        Object.assign(box, { y: top, row, column: start + c, rowTop: y, rowBottom: y + height, first: c === 0, last: c === inside.length - 1 });
        top += box.h + GAP_Y;
      }
    });
    w = Math.max(w, x - GAP_X);
    y += height + ROW_GAP;
    start = stop;
    row++;
    x = 0;
  };
  all.forEach((column, c) => {
    const own = wide(column);
    if (c > start && (x + own > width + 1 || x + own / 2 > length + 1)) end(c);
    for (const box of column) Object.assign(box, { x, left: x, right: x + own });
    x += own + GAP_X;
  });
  if (all.length) end(all.length);
  return { w, h: Math.max(0, y - ROW_GAP) };
}

function shownLinks(tree, boxes) {
  const found = new Map();
  const shown = (chain) => {
    let at = chain.length - 1;
    while (!boxes.has(chain[at])) at--;
    return at;
  };
  for (const [a, b] of tree.links) {
    const up = tree.chains[a], down = tree.chains[b], last = shown(up), end = shown(down);
    const from = up[last], to = down[end], id = `${from} ${to}`, at = fork(up, down);
    if (from === to || found.has(id)) continue;
    const free = {  // nothing of its own group stands in the way
      out: up.slice(at + 1, last + 1).every((key) => boxes.get(key).last),
      into: down.slice(at + 1, end + 1).every((key) => boxes.get(key).first),
    };
    found.set(id, { from, to, ...link(boxes.get(from), boxes.get(to), boxes.get(up[at]), boxes.get(down[at]), free) });
  }
  return [...found.values()];
}

// From the right of a to the left of b. `outer` and `target` are the boxes, side by side, that hold the two; `free` says
// whether the way out of the one and into the other is clear.
function link(a, b, outer, target, free) {
  const x0 = a.x + a.w, y0 = a.y + a.h / 2, x1 = b.x - 6, y1 = b.y + b.h / 2;
  const tip = `M${x1 - 1},${y1 - 3.5}L${x1 + 5},${y1}L${x1 - 1},${y1 + 3.5}z`;
  const nested = a !== outer || b !== target;
  if (target.row > outer.row || (nested && target.row === outer.row && target.column > outer.column)) {
    const points = [[x0, y0]], out = Math.max(x0, outer.right) + 10, back = Math.min(x1, target.left) - 9;
    if (!free.out) points.push([x0 + 8, y0], [x0 + 8, a.rowBottom + 8]);  // below what stands beside it
    const way = () => points[points.length - 1][1];
    if (target.row > outer.row) {
      const below = outer.rowBottom + ROW_GAP / 2;
      points.push([out, way()], [out, below], [back, below]);
    } else {
      points.push([back, way()]);
    }
    if (!free.into) points.push([back, b.rowTop - 4], [x1 - 10, b.rowTop - 4], [x1 - 10, y1]);
    else points.push([back, y1]);
    points.push([x1, y1]);
    return { d: rounded(points), tip, area: around(points, 8) };
  }
  if (target.row === outer.row && target.column > outer.column + 1) {
    const peak = Math.min(a.y, b.y) - Math.min(13, 6 + (x1 - x0) / 90), top = (start) => start + (peak - start) / 0.75;
    const d = `M${x0 - 14},${a.y}C${x0 + 4},${top(a.y)} ${x1 - 34},${top(b.y)} ${x1 + 14},${b.y - 4}`;
    const down = `M${x1 + 9},${b.y - 6}L${x1 + 16},${b.y}L${x1 + 16},${b.y - 8}z`;
    return { d, tip: down, area: [x0 - 14, peak - 14, x1 + 20, Math.max(a.y, b.y)] };
  }
  const bend = Math.max(12, Math.abs(x1 - x0) / 2);
  const d = `M${x0},${y0}C${x0 + bend},${y0} ${x1 - bend},${y1} ${x1},${y1}`;
  return { d, tip, area: around([[x0 - bend, y0], [x1 + bend, y1]], 0) };
}

// A way along the points with round corners.
function rounded(points) {
  const at = points.filter(([x, y], i) => !i || x !== points[i - 1][0] || y !== points[i - 1][1]);
  let d = `M${at[0]}`;
  for (let i = 1; i < at.length - 1; i++) {
    const [x, y] = at[i], [px, py] = at[i - 1], [nx, ny] = at[i + 1];
    const into = Math.hypot(x - px, y - py), from = Math.hypot(nx - x, ny - y), r = Math.min(6, into / 2, from / 2);
    d += `L${x - ((x - px) / into) * r},${y - ((y - py) / into) * r}Q${x},${y} ${x + ((nx - x) / from) * r},${y + ((ny - y) / from) * r}`;
  }
  return `${d}L${at[at.length - 1]}`;
}

function around(points, edge) {
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  return [Math.min(...xs) - edge, Math.min(...ys) - edge, Math.max(...xs) + edge, Math.max(...ys) + edge];
}
