// Drawing of the threshold chart: histogram and curves on one x axis, each with its own resolution for the part of
// the axis that is shown. Redrawn only when data, size, zoom or the chosen curve change; a drag moves lines and
// texts, nothing else.

const LEFT = 58, RIGHT = 16, HEAD = 4, GAP = 30, FOOT = 24, ROW = 21, ROWS = 2;
const LEAST = 300, MOST = 680;  // height of the plot
const BAR = 3;  // width of a bar that stands alone, at least

const METRICS = {
  sqnr: { label: "SQNR", unit: "dB", show: (v) => decibel(v) },
  cosine: { label: "Cosine", unit: "", show: cosine },
  mse: { label: "MSE", unit: "value²", show: (v) => number(v) },
  kl: { label: "KL", unit: "nats", show: (v) => number(v) + " nats" },
};

// Heights follow the window: line, histogram and curves share its screen.
function measure(S) {
  const scroller = document.querySelector("[data-testid=stMain]");
  const above = S.plot.getBoundingClientRect().top + (scroller ? scroller.scrollTop : 0);
  const height = clamp(Math.floor(window.innerHeight - above - 10), LEAST, MOST);
  S.width = Math.max(420, S.root.clientWidth || 800);
  S.top = HEAD + ROWS * ROW + 3;
  const free = height - S.top - GAP - FOOT;
  S.hist = Math.round(free * 0.6);
  S.curve = free - S.hist;
  S.base = S.top + S.hist;
  S.curveTop = S.base + GAP;
  S.bottom = S.curveTop + S.curve;
  S.height = S.bottom + FOOT;
}

function drawChart(S) {
  measure(S);
  const inner = S.width - LEFT - RIGHT;
  S.X = (v) => LEFT + ((v - S.view[0]) / (S.view[1] - S.view[0])) * inner;
  S.V = (px) => S.view[0] + ((px - LEFT) / inner) * (S.view[1] - S.view[0]);
  S.bars = barsOf(S, inner);
  S.branches = branchesOf(S, inner);
  const focused = S.plot.getRootNode().activeElement?.dataset?.side;  // a redrawing must not take the focus away
  S.svg?.remove();
  const chart = (S.svg = svg("svg", { width: S.width, height: S.height, viewBox: `0 0 ${S.width} ${S.height}` }));
  S.plot.prepend(chart);
  chart.setAttribute("role", "group");
  chart.setAttribute("aria-label", "Histogram of the tensor with clip lines, error curves below");
  const defs = svg("defs", {}, chart);
  svg("rect", { x: LEFT, y: 0, width: inner, height: S.height }, svg("clipPath", { id: "inside" }, defs));
  drawHistogram(S, chart, inner);
  if (S.split) drawSplit(S, chart, inner);
  else drawCurves(S, chart, inner);
  drawAxis(S, chart, inner);
  drawMarkLines(S, chart);
  drawHandles(S, chart);
  drawOutliers(S, chart);
  for (const text of chart.querySelectorAll(".key")) chart.appendChild(text);  // over the clip lines
  S.cross = svg("line", { class: "cross", y1: S.top, y2: S.bottom, visibility: "hidden" }, chart);
  S.chooser.style.top = `${S.base + 4}px`;
  S.title.textContent = S.split ? "Where the error comes from, MSE, log scale"
    : `${METRICS[S.active].label}${METRICS[S.active].unit ? `, ${METRICS[S.active].unit},` : ""} if the clip line stood here`;
  placeFlags(S);
  if (focused && S.handles[focused]) S.handles[focused].g.focus({ preventScroll: true });
}

// --- histogram ---

// The counts in the part that is shown: as fine as the bins are, unless several fall on a pixel.
function barsOf(S, inner) {
  const h = S.data.histogram, perPixel = (S.view[1] - S.view[0]) / inner;
  let width = 2 ** h.exponent, shift = 0;
  while (width < 1.5 * perPixel) { width *= 2; shift += 1; }
  const factor = 2 ** shift, first = Math.floor(h.first / factor), last = Math.floor((h.first + h.counts.length - 1) / factor);
  const from = Math.max(first, Math.floor(S.view[0] / width)), to = Math.min(last, Math.ceil(S.view[1] / width));
  const counts = h.counts.length && to >= from ? new Float64Array(to - from + 1) : new Float64Array(0);
  const start = Math.max(0, from * factor - h.first), end = Math.min(h.counts.length, (to + 1) * factor - h.first);
  for (let i = start; i < end; i++) counts[Math.floor((h.first + i) / factor) - from] += h.counts[i];
  return { start: from * width, width, counts, at: (v) => counts[Math.floor(v / width) - from] || 0 };
}

function drawHistogram(S, chart, inner) {
  const d = S.data, { counts, width, start } = S.bars, base = S.base, zeros = S.X(0) >= LEFT - 1 && S.X(0) <= S.width - RIGHT + 1 ? d.zeros : 0;
  const most = counts.reduce((a, b) => Math.max(a, b), 1), fits = S.fits ? d.fits : [], wider = width / d.bins.width;
  const fitted = fits.reduce((top, fit) => fit.expected.reduce((a, b) => Math.max(a, b), top), 0) * wider;
  // Linear: exact zeros, which would flatten all else, end at the frame; so does a density far above the counts.
  const peak = S.linear ? Math.max(most, Math.min(fitted, 1.5 * most)) : Math.log10(1 + Math.max(most, zeros, fitted));
  const Y = (c) => Math.max(S.top, base - ((S.linear ? c : Math.log10(1 + c)) / peak) * (S.hist - 6));
  S.Y = Y;
  svg("rect", { x: LEFT, y: S.top, width: inner, height: S.hist, class: "frame" }, chart);
  for (const [value, label] of countTicks(S, peak)) {
    const y = Y(value);
    svg("line", { x1: LEFT, x2: LEFT + inner, y1: y, y2: y, class: "grid" }, chart);
    svg("text", { x: LEFT - 8, y: y + 4, class: "tick", "text-anchor": "end" }, chart, label);
  }
  const group = svg("g", { "clip-path": "url(#inside)" }, chart);
  let path = "";
  for (let i = 0; i < counts.length; ) {  // one outline a run of filled bins
    if (!counts[i]) { i++; continue; }
    const begin = i;
    while (i < counts.length && counts[i]) i++;
    let x0 = S.X(start + begin * width), x1 = S.X(start + i * width);
    const thin = BAR - (x1 - x0);
    if (thin > 0) { x0 -= thin / 2; x1 += thin / 2; }
    path += `M${x0.toFixed(1)},${base}`;
    for (let k = begin; k < i; k++) {
      const y = Math.min(Y(counts[k]), base - BAR).toFixed(1);
      const left = thin > 0 ? x0 + ((x1 - x0) * (k - begin)) / (i - begin) : S.X(start + k * width);
      const right = thin > 0 ? x0 + ((x1 - x0) * (k + 1 - begin)) / (i - begin) : S.X(start + (k + 1) * width);
      path += `L${left.toFixed(1)},${y}L${right.toFixed(1)},${y}`;
    }
    path += `L${x1.toFixed(1)},${base}Z`;
  }
  svg("path", { d: path, class: "hist" }, group);
  if (zeros) {
    const x = S.X(0), y = Y(zeros);
    svg("line", { x1: x, x2: x, y1: base, y2: y, class: "zero" }, group);
    svg("circle", { cx: x, cy: y, r: 3, class: "zerodot" }, group);
  }
  for (const [i, fit] of [...fits.entries()].reverse()) drawFit(S, group, fit, i === 0, wider);
  S.clipLow = svg("rect", { y: S.top, height: S.hist, class: "clip" }, group);
  S.clipHigh = svg("rect", { y: S.top, height: S.hist, class: "clip" }, group);
}

// Counts with a label each, for the axis of the histogram.
function countTicks(S, peak) {
  const room = Math.max(2, Math.floor(S.hist / 34));
  if (S.linear) return ticks(0, peak, room).map((v) => [v, count(v)]);
  const every = Math.max(1, Math.ceil(peak / room)), found = [];
  for (let k = 0; k <= peak; k += every) found.push([10 ** k - 1, k ? power10(k) : "0"]);
  return found;
}

// Counts that a fitted density expects in the bars, on a rim that sets the line off from them.
function drawFit(S, group, fit, best, wider) {
  const { start, width } = S.data.bins;
  const xs = fit.expected.map((_, i) => start + (i + 0.5) * width), ys = fit.expected.map((v) => v * wider);
  polyline(S, group, xs, ys, S.Y, "fit rim");
  polyline(S, group, xs, ys, S.Y, `fit ${best ? "best" : "other"}`);
}

// A few values far from all others, at either end: they stretch the range, and hide behind a clip line.
function outliersOf(h) {
  const occupied = [];
  h.counts.forEach((c, i) => { if (c) occupied.push(i); });
  const width = 2 ** h.exponent, span = Math.max(h.max, 0) - Math.min(h.min, 0), found = [];
  if (occupied.length < 2) return found;
  for (const side of ["low", "high"]) {
    const order = side === "high" ? occupied.slice().reverse() : occupied;
    let counted = 0;
    for (let k = 0; k + 1 < order.length; k++) {
      counted += h.counts[order[k]];
      if (counted > h.total * 1e-3) break;
      if ((Math.abs(order[k] - order[k + 1]) - 1) * width < 0.1 * span) continue;
      const end = side === "high" ? h.max : h.min, bin = h.first + order[k];
      const near = k === 0 && counted === (side === "high" ? h.at_max : h.at_min) ? end : side === "high" ? bin * width : (bin + 1) * width;
      found.push({ side, count: counted, from: Math.min(near, end), to: Math.max(near, end) });
      break;
    }
  }
  return found;
}

function drawOutliers(S, chart) {
  for (const { side, count: many, from, to } of S.outliers) {
    const x = S.X(side === "high" ? to : from), left = S.X(from), right = S.X(to);
    if (right < LEFT || left > S.width - RIGHT) continue;
    const at = clamp(x, LEFT, S.width - RIGHT), y = S.base - 27;
    const words = `${count(many)} ${many === 1 ? "value" : "values"} ${from === to ? `at ${number(to)}` : `in ${number(from)} … ${number(to)}`}`;
    const g = svg("g", { class: "outlier" }, chart);
    svg("path", { d: `M${at - 5},${y + 10}h10l-5,7z` }, g);
    const flip = at > S.width / 2;
    svg("text", { x: flip ? at - 16 : at + 16, y: y + 17, "text-anchor": flip ? "end" : "start" }, g, words);
  }
}

// --- curves ---

// What every place of a clip line in the part that is shown would cost; the other end stays where it is.
function branchesOf(S, inner) {
  const { mode } = S.data, found = [], points = Math.round(inner / 3);
  const add = (from, to, range, side) => {
    if (!(to > from)) return;
    const n = Math.max(24, Math.round((points * (to - from)) / (S.view[1] - S.view[0])));
    const branch = { side, x: [], sqnr: [], cosine: [], mse: [], kl: [], clipping: [], rounding: [] };
    for (let i = 0; i <= n; i++) {
      const x = from + ((to - from) * i) / n, { figures } = figuresOf(S, ...range(x));
      branch.x.push(x);
      for (const key in branch) if (key !== "x" && key !== "side") branch[key].push(figures[key]);
    }
    found.push(branch);
  };
  const [low, high] = S.view, { floor, ceiling, least } = S.data;
  if (mode === "symmetric") {
    add(Math.max(low, least), Math.min(high, ceiling), (x) => [-x, x], "high");
    add(Math.max(low, -ceiling), Math.min(high, -least), (x) => [x, -x], "low");
  } else {
    if (ceiling > 0) add(Math.max(low, least), Math.min(high, ceiling), (x) => [mode === "nonneg" ? 0 : S.range.low, x], "high");
    if (mode === "asymmetric" && floor < 0) add(Math.max(low, floor), Math.min(high, -least), (x) => [x, S.range.high], "low");
  }
  return found;
}

function extent(S, keys, positive) {
  let low = Infinity, high = -Infinity;
  for (const branch of S.branches) for (const key of keys) for (const v of branch[key]) {
    if (v === null || (positive && v <= 0)) continue;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low <= high ? [low, high] : null;
}

function polyline(S, group, xs, ys, Y, cls) {
  let path = "", pen = "M";
  xs.forEach((x, i) => {
    if (ys[i] === null) { pen = "M"; return; }
    path += `${pen}${S.X(x).toFixed(1)},${Y(ys[i]).toFixed(1)}`;
    pen = "L";
  });
  if (path) svg("path", { d: path, class: cls }, group);
}

// Names at the curves' outer ends, apart from each other.
function labelEnds(S, chart, ends) {
  ends.sort((a, b) => a.y - b.y);
  const apart = Math.min(12, (S.curve - 6) / ends.length);
  ends.forEach((end, i) => { end.y = Math.max(end.y, i ? ends[i - 1].y + apart : S.curveTop + 9); });
  for (let i = ends.length - 1; i >= 0; i--) ends[i].y = Math.min(ends[i].y, i + 1 < ends.length ? ends[i + 1].y - apart : S.bottom - 6);
  for (const { x, y, key, label } of ends) {
    svg("text", { x: x - 6, y: y + 3, class: `key ${key}`, "text-anchor": "end" }, chart, label);
  }
}

// The last known point of a curve on the right.
function endOf(S, key, Y) {
  for (const branch of S.branches) {
    if (branch.side === "low" && S.branches.length > 1) continue;
    for (let i = branch.x.length - 1; i >= 0; i--) if (branch[key][i] !== null) return { x: S.X(branch.x[i]), y: Y(branch[key][i]) };
  }
  return null;
}

function drawCurves(S, chart, inner) {
  const base = S.bottom, ends = [];
  svg("rect", { x: LEFT, y: S.curveTop, width: inner, height: S.curve, class: "frame" }, chart);
  const group = svg("g", { "clip-path": "url(#inside)" }, chart);
  const keys = Object.keys(METRICS).filter((k) => k !== S.active).concat(S.active);
  S.curveY = null;
  for (const key of keys) {
    const span = extent(S, [key]);
    if (!span) continue;
    const room = (span[1] - span[0] || Math.abs(span[1]) || 1) * 1.06;
    const Y = (v) => base - 4 - ((v - span[0]) / room) * (S.curve - 8);
    for (const branch of S.branches) polyline(S, group, branch.x, branch[key], Y, `curve ${key}${key === S.active ? " active" : ""}`);
    const end = endOf(S, key, Y);
    if (end) ends.push({ ...end, key, label: METRICS[key].label });
    if (key !== S.active) continue;
    S.curveY = Y;
    for (const v of ticks(span[0], span[0] + room, Math.max(3, Math.floor(S.curve / 32)))) {
      const y = Y(v);
      if (y < S.curveTop + 2) continue;
      svg("line", { x1: LEFT, x2: LEFT + inner, y1: y, y2: y, class: "grid" }, chart);
      svg("text", { x: LEFT - 8, y: y + 4, class: "tick", "text-anchor": "end" }, chart, number(v, 5));
    }
  }
  labelEnds(S, chart, ends);
  S.dotHigh = svg("circle", { r: 4.5, class: `dot ${S.active}` }, group);
  S.dotLow = svg("circle", { r: 4.5, class: `dot ${S.active}` }, group);
}

function drawSplit(S, chart, inner) {
  svg("rect", { x: LEFT, y: S.curveTop, width: inner, height: S.curve, class: "frame" }, chart);
  S.curveY = S.dotHigh = S.dotLow = null;
  const span = extent(S, ["clipping", "rounding"], true);
  if (!span) return;
  const high = Math.log10(span[1]) + 0.15;
  const low = Math.max(Math.log10(span[0]) - 0.15, high - 8);  // what is a hundred-millionth does not matter
  const Y = (v) => clamp(S.bottom - ((Math.log10(Math.max(v, 1e-300)) - low) / (high - low)) * S.curve, S.curveTop, S.bottom + 2);
  const group = svg("g", { "clip-path": "url(#inside)" }, chart);
  const every = Math.max(1, Math.ceil((high - low) / 4));
  for (let k = Math.ceil(low); k <= high; k += every) {
    svg("line", { x1: LEFT, x2: LEFT + inner, y1: Y(10 ** k), y2: Y(10 ** k), class: "grid" }, chart);
    svg("text", { x: LEFT - 8, y: Y(10 ** k) + 4, class: "tick", "text-anchor": "end" }, chart, power10(k));
  }
  const ends = [];
  for (const key of ["clipping", "rounding"]) {
    for (const branch of S.branches) polyline(S, group, branch.x, branch[key], Y, `curve ${key} active`);
    const end = endOf(S, key, Y);
    if (end) ends.push({ ...end, key, label: key });
  }
  labelEnds(S, chart, ends);
}

function drawAxis(S, chart, inner) {
  for (const v of ticks(S.view[0], S.view[1], Math.max(4, Math.round(inner / 110)))) {
    const x = S.X(v);
    if (x < LEFT - 1 || x > LEFT + inner + 1) continue;
    svg("line", { x1: x, x2: x, y1: S.bottom, y2: S.bottom + 5, class: "axis" }, chart);
    svg("text", { x, y: S.bottom + 18, class: "tick", "text-anchor": "middle" }, chart, number(v, 5));
  }
}

// --- clip lines ---

function drawHandles(S, chart) {
  S.handles = {};
  S.snaps = {};
  const sides = S.data.mode === "nonneg" ? ["high"] : ["low", "high"];
  for (const side of sides) {
    const line = svg("line", { y1: S.top, y2: S.base, class: "snap" }, chart);
    S.snaps[side] = { line, label: svg("text", { y: S.top + 36, class: "snaplabel" }, chart) };
  }
  for (const side of sides) {
    const twin = S.data.mode === "symmetric" && side === "low";  // moves with the other; one slider is enough
    const g = svg("g", { class: "handle", "data-side": side }, chart);
    if (twin) g.setAttribute("aria-hidden", "true");
    else if (!S.data.readonly) {
      g.setAttribute("role", "slider");
      g.setAttribute("tabindex", "0");
      g.setAttribute("aria-orientation", "horizontal");
      g.setAttribute("aria-label", S.data.mode === "symmetric" ? "Clipping threshold" : side === "high" ? "High end of the range" : "Low end of the range");
    }
    const hit = svg("rect", { y: S.top - 4, width: 20, height: S.bottom - S.top + 4, class: "hit" }, g);
    const line = svg("path", { class: "line" }, g);
    const grip = svg("path", { class: "grip" }, g);
    const back = svg("rect", { y: S.top + 3, height: 19, rx: 4, class: "labelback" }, g);
    const label = svg("text", { y: S.top + 17, class: "label" }, g);
    S.handles[side] = { g, hit, line, grip, back, label };
    if (!S.data.readonly) S.grab(g, side);
  }
}
