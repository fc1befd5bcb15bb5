// Drawing of the threshold chart: histogram, curves and error split on one x axis. Redrawn only when data,
// width or zoom change; a drag moves lines and texts, nothing else.

const LEFT = 62, RIGHT = 16, HIST = 250, CURVE = 150, SPLIT = 104, GAP = 34, FOOT = 38, ROW = 19;

const METRICS = {
  sqnr: { label: "SQNR", unit: "dB", best: "max", show: (v) => number(v, 4) + " dB" },
  cosine: { label: "Cosine", unit: "", best: "max", show: cosine },
  mse: { label: "MSE", unit: "value²", best: "min", show: (v) => number(v) },
  kl: { label: "KL", unit: "nats", best: "min", show: (v) => number(v) + " nats" },
};

// Rows of labels above the histogram, so that the methods' names never lie on each other.
function markRows(S) {
  const ends = [];
  return S.data.marks
    .map((mark) => ({ mark, x: S.X(mark.anchor), width: 13 + mark.label.length * 6.6 }))
    .sort((a, b) => a.x - b.x)
    .map((item) => {
      const flip = item.x + item.width > S.width - RIGHT;
      const start = flip ? item.x - item.width : item.x;
      let row = ends.findIndex((end) => end + 4 < start);
      if (row < 0) row = ends.length;
      ends[row] = start + item.width;
      return { ...item, start, row, rows: ends };
    });
}

function drawChart(S) {
  const d = S.data;
  S.width = Math.max(480, S.root.clientWidth || 800);
  const inner = S.width - LEFT - RIGHT;
  S.X = (v) => LEFT + ((v - S.view[0]) / (S.view[1] - S.view[0])) * inner;
  S.V = (px) => S.view[0] + ((px - LEFT) / inner) * (S.view[1] - S.view[0]);
  const marks = markRows(S);
  const rows = marks.length ? marks[0].rows.length : 0;
  S.top = 30 + rows * ROW;
  S.curveTop = S.top + HIST + GAP;
  S.splitTop = S.curveTop + CURVE + GAP;
  S.bottom = S.splitTop + SPLIT;
  const height = S.bottom + FOOT;
  const focused = S.plot.getRootNode().activeElement?.dataset?.side;  // a redrawing must not take the focus away
  S.plot.replaceChildren();
  const chart = (S.svg = svg("svg", { width: S.width, height, viewBox: `0 0 ${S.width} ${height}` }, S.plot));
  chart.setAttribute("role", "group");
  chart.setAttribute("aria-label", "Histogram of the tensor with clip lines, error curves below");
  const clip = svg("clipPath", { id: "inside" }, svg("defs", {}, chart));
  svg("rect", { x: LEFT, y: 0, width: inner, height }, clip);
  drawHistogram(S, chart, inner);
  drawCurves(S, chart, inner);
  drawSplit(S, chart, inner);
  drawAxis(S, chart, inner);
  drawMarks(S, chart, marks);
  drawHandles(S, chart);
  for (const text of chart.querySelectorAll(".note, .key")) chart.appendChild(text);  // over the clip lines
  S.cross = svg("line", { class: "cross", y1: S.top, y2: S.bottom, visibility: "hidden" }, chart);
  if (focused && S.handles[focused]) S.handles[focused].g.focus({ preventScroll: true });
}

function title(S, chart, y, text) {
  svg("text", { x: LEFT, y: y - 8, class: "title" }, chart, text);
}

function drawHistogram(S, chart, inner) {
  const d = S.data, counts = d.bins.counts, width = d.bins.width, base = S.top + HIST;
  const most = counts.reduce((a, b) => Math.max(a, b), 1), fits = S.fits ? d.fits : [];
  const fitted = fits.reduce((top, fit) => fit.expected.reduce((a, b) => Math.max(a, b), top), 0);
  // Linear: exact zeros, which would flatten all else, end at the frame; so does a density far above the counts.
  const peak = S.linear ? Math.max(most, Math.min(fitted, 1.5 * most)) : Math.log10(1 + Math.max(most, d.zeros, fitted));
  const Y = (c) => Math.max(S.top, base - ((S.linear ? c : Math.log10(1 + c)) / peak) * (HIST - 6));
  S.Y = Y;
  svg("rect", { x: LEFT, y: S.top, width: inner, height: HIST, class: "frame" }, chart);
  svg("text", { x: LEFT, y: 16, class: "title" }, chart, d.heading);
  svg("text", { x: LEFT + 12 + d.heading.length * 6.4, y: 16, class: "note" }, chart,
    `${count(d.total)} values, ${S.linear ? "" : "log "}count${d.zeros ? `, ${percent(d.zeros / d.total)} exact zeros` : ""}`);
  for (const [value, label] of countTicks(S, peak)) {
    const y = Y(value);
    svg("line", { x1: LEFT, x2: LEFT + inner, y1: y, y2: y, class: "grid" }, chart);
    svg("text", { x: LEFT - 8, y: y + 4, class: "tick", "text-anchor": "end" }, chart, label);
  }
  const group = svg("g", { "clip-path": "url(#inside)" }, chart);
  let path = "";
  for (let i = 0; i < counts.length; ) {  // one outline a run of filled bins
    if (!counts[i]) { i++; continue; }
    path += `M${S.X(d.bins.start + i * width).toFixed(1)},${base}`;
    for (; i < counts.length && counts[i]; i++) {
      const y = Y(counts[i]).toFixed(1), x0 = S.X(d.bins.start + i * width);
      const x1 = Math.max(x0 + 0.8, S.X(d.bins.start + (i + 1) * width));
      path += `L${x0.toFixed(1)},${y}L${x1.toFixed(1)},${y}`;
    }
    path += `L${Math.max(0, S.X(d.bins.start + i * width)).toFixed(1)},${base}Z`;
  }
  svg("path", { d: path, class: "hist" }, group);
  if (d.zeros) {
    const x = S.X(0), y = Y(d.zeros);
    svg("line", { x1: x, x2: x, y1: base, y2: y, class: "zero" }, group);
    svg("circle", { cx: x, cy: y, r: 3, class: "zerodot" }, group);
  }
  for (const [i, fit] of [...fits.entries()].reverse()) drawFit(S, group, fit, i === 0);
  S.clipLow = svg("rect", { y: S.top, height: HIST, class: "clip" }, group);
  S.clipHigh = svg("rect", { y: S.top, height: HIST, class: "clip" }, group);
}

// Counts with a label each, for the axis of the histogram.
function countTicks(S, peak) {
  if (S.linear) return ticks(0, peak, 5).map((v) => [v, count(v)]);
  const every = Math.max(1, Math.ceil(peak / 7)), found = [];
  for (let k = 0; k <= peak; k += every) found.push([10 ** k - 1, k ? power10(k) : "0"]);
  return found;
}

// Counts that a fitted density expects in the bins, on a rim that sets the line off from the bars.
function drawFit(S, group, fit, best) {
  const { start, width } = S.data.bins;
  const xs = fit.expected.map((_, i) => start + (i + 0.5) * width);
  polyline(S, group, xs, fit.expected, S.Y, "fit rim");
  polyline(S, group, xs, fit.expected, S.Y, `fit ${best ? "best" : "other"}`);
}

// Every branch of the curves: over the high end, and over the low end or mirrored where there is one.
function branches(S) {
  const { high, low } = S.data.curves;
  const found = high ? [high] : [];
  if (low) found.push(low);
  else if (high && S.data.mode === "symmetric") {
    const mirrored = { x: [...high.x].reverse().map((x) => -x), mirrored: true };
    for (const key in high) if (key !== "x") mirrored[key] = [...high[key]].reverse();
    found.push(mirrored);
  }
  return found;
}

function extent(S, keys, positive) {
  let low = Infinity, high = -Infinity;
  for (const branch of branches(S)) for (const key of keys) for (const v of branch[key] || []) {
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

function drawCurves(S, chart, inner) {
  const base = S.curveTop + CURVE, active = METRICS[S.active];
  svg("rect", { x: LEFT, y: S.curveTop, width: inner, height: CURVE, class: "frame" }, chart);
  title(S, chart, S.curveTop, `${active.label}${active.unit ? `, ${active.unit}` : ""} if the clip line stood here`);
  svg("text", { x: LEFT + inner, y: S.curveTop - 8, class: "note", "text-anchor": "end" }, chart,
    "thin curves: other metrics, each over its own span");
  const group = svg("g", { "clip-path": "url(#inside)" }, chart);
  const keys = Object.keys(METRICS).filter((k) => k !== S.active).concat(S.active);
  for (const key of keys) {
    const span = extent(S, [key]);
    if (!span) continue;
    const room = (span[1] - span[0] || Math.abs(span[1]) || 1) * 1.06;
    const Y = (v) => base - 4 - ((v - span[0]) / room) * (CURVE - 8);
    for (const branch of branches(S)) if (branch[key]) polyline(S, group, branch.x, branch[key], Y, `curve ${key}${key === S.active ? " active" : ""}`);
    if (key === S.active) {
      S.curveY = Y;
      for (const v of ticks(span[0], span[0] + room, 4)) {
        const y = Y(v);
        if (y < S.curveTop + 2) continue;
        svg("line", { x1: LEFT, x2: LEFT + inner, y1: y, y2: y, class: "grid" }, chart);
        svg("text", { x: LEFT - 8, y: y + 4, class: "tick", "text-anchor": "end" }, chart, number(v, 5));
      }
    }
  }
  S.dotHigh = svg("circle", { r: 4.5, class: `dot ${S.active}` }, group);
  S.dotLow = svg("circle", { r: 4.5, class: `dot ${S.active}` }, group);
}

function drawSplit(S, chart, inner) {
  const base = S.splitTop + SPLIT;
  svg("rect", { x: LEFT, y: S.splitTop, width: inner, height: SPLIT, class: "frame" }, chart);
  title(S, chart, S.splitTop, "Where the error comes from: MSE, value², log scale");
  svg("text", { x: LEFT + inner - 68, y: S.splitTop - 8, class: "key clipping", "text-anchor": "end" }, chart, "● clipping");
  svg("text", { x: LEFT + inner, y: S.splitTop - 8, class: "key rounding", "text-anchor": "end" }, chart, "● rounding");
  const span = extent(S, ["clipping", "rounding"], true);
  if (!span) return;
  const high = Math.log10(span[1]) + 0.15;
  const low = Math.max(Math.log10(span[0]) - 0.15, high - 8);  // what is a hundred-millionth does not matter
  const Y = (v) => clamp(base - ((Math.log10(Math.max(v, 1e-300)) - low) / (high - low)) * SPLIT, S.splitTop, base + 2);
  const group = svg("g", { "clip-path": "url(#inside)" }, chart);
  const every = Math.max(1, Math.ceil((high - low) / 4));
  for (let k = Math.ceil(low); k <= high; k += every) {
    svg("line", { x1: LEFT, x2: LEFT + inner, y1: Y(10 ** k), y2: Y(10 ** k), class: "grid" }, chart);
    svg("text", { x: LEFT - 8, y: Y(10 ** k) + 4, class: "tick", "text-anchor": "end" }, chart, power10(k));
  }
  for (const branch of branches(S)) {
    polyline(S, group, branch.x, branch.clipping, Y, "curve clipping active");
    polyline(S, group, branch.x, branch.rounding, Y, "curve rounding active");
  }
}

function drawAxis(S, chart, inner) {
  for (const v of ticks(S.view[0], S.view[1], Math.max(4, Math.round(inner / 110)))) {
    const x = S.X(v);
    if (x < LEFT - 1 || x > LEFT + inner + 1) continue;
    svg("line", { x1: x, x2: x, y1: S.bottom, y2: S.bottom + 5, class: "axis" }, chart);
    svg("text", { x, y: S.bottom + 18, class: "tick", "text-anchor": "middle" }, chart, number(v, 5));
  }
  svg("text", { x: LEFT + inner, y: S.bottom + 34, class: "note", "text-anchor": "end" }, chart, "value of the tensor");
}

function drawMarks(S, chart, marks) {
  const inside = (x) => x >= LEFT - 1 && x <= S.width - RIGHT + 1;
  const lines = svg("g", {}, chart);  // below every label
  for (const { mark, x, start, row, width } of marks) {
    const y = 26 + row * ROW, cls = `mark ${mark.id}${mark.used ? " used" : ""}`;
    const group = svg("g", { class: cls }, lines);
    for (const at of [x, mark.mirror === null ? NaN : S.X(mark.mirror)]) {
      if (inside(at)) svg("line", { x1: at, x2: at, y1: at === x ? y + 2 : S.top, y2: S.top + HIST }, group);
    }
    if (!inside(x)) continue;
    const left = start < x ? x - width : x, text = `Use ${mark.label}: ${mark.text}`;
    const g = svg("g", { class: cls, "data-method": mark.id, role: "button", "aria-label": text }, chart);
    svg("title", {}, g, text + (mark.used ? " (in use)" : "; click to use it"));
    svg("rect", { x: left, y: y - 1, width, height: 16, rx: 3 }, g);
    svg("text", { x: left + 6, y: y + 11 }, g, mark.label);
    if (!S.data.readonly) g.onclick = () => S.use(mark.id);
  }
}

function drawHandles(S, chart) {
  S.handles = {};
  S.snaps = {};
  for (const side of S.data.mode === "nonneg" ? ["high"] : ["low", "high"]) {
    const line = svg("line", { y1: S.top, y2: S.top + HIST, class: "snap" }, chart);
    S.snaps[side] = { line, label: svg("text", { y: S.top + 36, class: "snaplabel" }, chart) };
  }
  for (const side of S.data.mode === "nonneg" ? ["high"] : ["low", "high"]) {
    const twin = S.data.mode === "symmetric" && side === "low";  // moves with the other; one slider is enough
    const g = svg("g", { class: "handle", "data-side": side }, chart);
    if (twin) g.setAttribute("aria-hidden", "true");
    else if (!S.data.readonly) {
      g.setAttribute("role", "slider");
      g.setAttribute("tabindex", "0");
      g.setAttribute("aria-orientation", "horizontal");
      g.setAttribute("aria-label", S.data.mode === "symmetric" ? "Clipping threshold" : side === "high" ? "High end of the range" : "Low end of the range");
    }
    const hit = svg("rect", { y: S.top - 14, width: 20, height: S.bottom - S.top + 14, class: "hit" }, g);
    const line = svg("line", { y1: S.top - 4, y2: S.bottom, class: "line" }, g);
    const grip = svg("path", { class: "grip" }, g);
    const label = svg("text", { y: S.top + 16, class: "label" }, g);
    S.handles[side] = { g, hit, line, grip, label };
    if (!S.data.readonly) S.grab(g, side);
  }
}
