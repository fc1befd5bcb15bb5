// The threshold chart: clip lines that are dragged or moved by keys, figures that follow at once.
//
// While a line moves, its figures are computed here from the whole histogram (exact.js), so that they are those that
// the server gives once it is let go. `seq` counts this chart's own edits: data older than the newest edit are not
// allowed to move a line back, and none are while it is held, or moved by keys and not saved yet. The figures are drawn
// by another element (components/figures), which is told of them.

const DWELL = 250;  // ms without a movement after which a held line is measured
const FIGURES = "quantscope-figures", WANTED = "quantscope-figures-wanted";

function place(S) {
  const d = S.data, { low, high } = S.range;
  for (const side in S.handles) {
    const { g, hit, line, grip, back, label } = S.handles[side], value = S.range[side];
    const x = clamp(S.X(value), LEFT, S.width - RIGHT), away = Math.abs(x - S.X(value)) > 1;
    hit.setAttribute("x", x - 10);
    line.setAttribute("d", `M${x},${S.top - 4}V${S.base}M${x},${S.curveTop}V${S.bottom}`);
    const y = S.top + S.hist * 0.5;
    grip.setAttribute("d", `M${x - 7},${y - 16}h14a4,4 0 0 1 4,4v24a4,4 0 0 1 -4,4h-14a4,4 0 0 1 -4,-4v-24a4,4 0 0 1 4,-4zM${x - 3},${y - 7}v14M${x + 3},${y - 7}v14`);
    const text = (away && side === "low" ? "← " : "") + number(value) + (away && side === "high" ? " →" : "");
    const flip = side === "high" ? x > S.width - RIGHT - 110 : x > LEFT + 110, width = 10 + text.length * 7.3;
    label.setAttribute("x", flip ? x - 15 : x + 15);
    label.setAttribute("text-anchor", flip ? "end" : "start");
    label.textContent = text;
    back.setAttribute("x", flip ? x - 9 - width : x + 9);
    back.setAttribute("width", width);
    if (g.getAttribute("role")) {
      const bounds = limits(S, side);
      g.setAttribute("aria-valuemin", bounds[0]);
      g.setAttribute("aria-valuemax", bounds[1]);
      g.setAttribute("aria-valuenow", value);
      g.setAttribute("aria-valuetext", `${number(value)}, ${percent(S.now.share)} clipped, SQNR ${decibel(S.now.sqnr, S.now.lossless)}`);
    }
  }
  const right = S.X(S.view[1]), left = S.X(S.view[0]), xh = clamp(S.X(S.kept.high), left, right), xl = clamp(S.X(S.kept.low), left, right);
  S.clipHigh.setAttribute("x", xh);
  S.clipHigh.setAttribute("width", right - xh);
  S.clipLow.setAttribute("x", left);
  S.clipLow.setAttribute("width", d.mode === "nonneg" ? 0 : xl - left);
  const value = S.now[S.active];
  for (const [dot, x, used] of [[S.dotHigh, high, true], [S.dotLow, low, d.mode !== "nonneg"]]) {
    if (!dot) continue;
    const visible = used && S.curveY && value !== null && value !== undefined && x >= S.view[0] && x <= S.view[1];
    dot.setAttribute("visibility", visible ? "visible" : "hidden");
    if (visible) { dot.setAttribute("cx", S.X(x)); dot.setAttribute("cy", clamp(S.curveY(value), S.curveTop, S.bottom)); }
  }
  placeKept(S);
  S.root.dataset.state = S.live ? "live" : "exact";
  tell(S);
}

// The figures of the range, for the row that shows them; the change is against the step before, or the saved one.
function tell(S) {
  const { data, kept, now, live } = S;
  window.dispatchEvent(new CustomEvent(FIGURES, { detail: {
    live, now, kept, active: S.active, mode: data.mode, before: live ? data.exact : data.before,
    step: live ? data.step : data.step_before, encoding: data.encoding, short: data.short, adjusted: data.adjusted, total: data.total, reason: data.kl_reason,
  } }));
}

// Where a rule for scales moves the ends to: a line of its own beside each clip line.
function placeKept(S) {
  for (const side in S.snaps) {
    const { line, label } = S.snaps[side], value = S.kept[side], x = S.X(value);
    const moved = Math.abs(value - S.range[side]) > 1e-6 * Math.abs(value);
    const visible = moved && x >= LEFT - 1 && x <= S.width - RIGHT + 1;
    for (const node of [line, label]) node.setAttribute("visibility", visible ? "visible" : "hidden");
    if (!visible) continue;
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    const away = value > S.range[side] ? x < S.width - RIGHT - 110 : x < LEFT + 110;  // from the clip line, if there is room
    label.setAttribute("x", away ? x + 7 : x - 7);
    label.setAttribute("text-anchor", away ? "start" : "end");
    label.textContent = `kept to ${number(value)}`;
  }
}

// Smallest and largest value a clip line may take; a range always holds zero.
function limits(S, side) {
  const { floor, ceiling } = S.data;
  return side === "high" ? [S.data.mode === "asymmetric" ? 0 : S.data.least, ceiling] : [floor, 0];
}

function moveTo(S, side, value) {
  const symmetric = S.data.mode === "symmetric";
  if (symmetric && side === "low") { side = "high"; value = -value; }
  const [least, most] = limits(S, side);
  S.range = { ...S.range, [side]: clamp(value, least, most) };
  if (symmetric) S.range.low = -S.range.high;
  const found = figuresOf(S, S.range.low, S.range.high);
  S.now = found.figures;
  S.kept = found.kept;
  if (!S.live || S.asked) window.dispatchEvent(new Event("quantscope-edited"));  // what depends on the range is outdated
  S.live = true;
  S.asked = false;
  cancelAnimationFrame(S.frame);
  S.frame = requestAnimationFrame(() => place(S));
}

function commit(S) {
  S.seq += 1;
  S.send("edit", { low: S.range.low, high: S.range.high, seq: S.seq, rev: S.rev });
}

// What was moved by keys is saved as one edit.
function keyed(S) {
  clearTimeout(S.timer);
  S.timer = 0;
  commit(S);
}

// A line that is held still shows what the network makes of it; `held` until that is saved or taken back.
function hold(S) {
  if (!S.drag || !S.live || !S.data.follow) return;
  S.held = S.asked = true;
  S.send("hold", { low: S.range.low, high: S.range.high, rev: S.rev });
}

function release(S) {
  S.held = false;
  S.send("hold", { rev: S.rev });
}

function grab(S, g, side) {
  let offset = 0, before = null;
  g.onpointerdown = (event) => {
    if (event.button) return;
    S.drag = side;
    before = S.range;
    offset = event.clientX - S.svg.getBoundingClientRect().left - clamp(S.X(S.range[side]), LEFT, S.width - RIGHT);
    g.setPointerCapture(event.pointerId);
    g.focus({ preventScroll: true });
    event.preventDefault();
  };
  g.onpointermove = (event) => {
    if (S.drag !== side) return;
    moveTo(S, side, S.V(event.clientX - S.svg.getBoundingClientRect().left - offset));
    clearTimeout(S.dwell);
    S.dwell = setTimeout(() => hold(S), DWELL);
  };
  const end = (keep) => () => {
    if (S.drag !== side) return;
    S.drag = null;
    clearTimeout(S.dwell);
    if (keep && S.range !== before) {
      S.held = false;
      commit(S);
    } else if (!keep) {
      if (S.held) release(S);
      settle(S);
    }
  };
  g.onpointerup = end(true);
  g.onpointercancel = end(false);
  g.onkeydown = (event) => {
    if (event.key === "Escape" && S.drag) return end(false)();
    const step = (S.view[1] - S.view[0]) / 500;
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -25, PageUp: 25 };
    const ends = { Home: limits(S, side)[0], End: limits(S, side)[1] };
    const target = event.key in moves ? S.range[side] + moves[event.key] * step * (event.shiftKey ? 10 : 1) : ends[event.key];
    if (target === undefined) return;
    event.preventDefault();
    moveTo(S, side, target);
    clearTimeout(S.timer);
    S.timer = setTimeout(() => keyed(S), 300);
  };
  g.onblur = () => { if (S.timer) keyed(S); };  // who goes on at once loses nothing
}

// Back to what the server last said.
function settle(S) {
  S.range = { ...S.data.range };
  S.kept = S.data.kept;
  S.now = S.data.exact;
  S.live = false;
  place(S);
  window.dispatchEvent(new CustomEvent("quantscope-settled", { detail: S.data.token }));
}

function zoom(S, low, high) {
  const [least, most] = S.data.domain, width = Math.max(high - low, (most - least) / 400);
  const start = clamp(low, least, most - Math.min(width, most - least));
  S.view = [start, Math.min(most, start + width)];
  drawChart(S);
  place(S);
}

function fitRange(S) {
  const low = Math.min(S.range.low, S.kept.low), high = Math.max(S.range.high, S.kept.high), room = (high - low) * 0.12;
  zoom(S, S.data.mode === "nonneg" ? S.data.domain[0] : low - room, high + room);
}

const expectation = (v) => (v >= 100 ? count(v) : number(v, 3));

function hover(S, event) {
  const box = S.svg.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  const inside = px >= LEFT && px <= S.width - RIGHT && py >= S.top && py <= S.bottom && !S.drag;
  S.cross.setAttribute("visibility", inside ? "visible" : "hidden");
  S.tip.hidden = !inside;
  if (!inside) return;
  S.cross.setAttribute("x1", px);
  S.cross.setAttribute("x2", px);
  const x = S.V(px), { mode } = S.data, found = figuresOf(S, ...(mode === "symmetric" ? [-Math.abs(x), Math.abs(x)] : x < 0 ? [x, S.range.high] : [mode === "nonneg" ? 0 : S.range.low, x])).figures;
  const lines = [["value", number(x)], [`count, ${number(S.bars.width, 3)} wide`, count(S.bars.at(x))]];
  if (S.fits) for (const fit of S.data.fits) {
    const bin = Math.floor((x - S.data.bins.start) / S.data.bins.width);
    lines.push([`${fit.label} expects`, expectation(((fit.expected[bin] || 0) * S.bars.width) / S.data.bins.width)]);
  }
  lines.push(["clipped, if cut here", percent(found.share)]);
  for (const key in METRICS) lines.push([METRICS[key].label, found[key] === null && key !== "sqnr" ? (S.kl ? "too narrow" : "none") : key === "sqnr" ? decibel(found.sqnr, found.lossless) : METRICS[key].show(found[key])]);
  lines.push(["clipping MSE", number(found.clipping)], ["rounding MSE", number(found.rounding)]);
  S.tip.replaceChildren();
  for (const [name, value] of lines) { html("span", {}, S.tip, name); html("b", {}, S.tip, value); }
  S.tip.style.left = (px > S.width - 240 ? px - 226 : px + 16) + "px";
  S.tip.style.top = clamp(py - 40, 0, S.height - S.tip.offsetHeight) + "px";
}

function build(S) {
  const root = S.root, d = S.data;
  root.replaceChildren();
  S.svg = null;
  const bar = html("div", { class: "bar" }, root);
  const head = html("div", { class: "head" }, bar);
  html("b", {}, head, d.heading);
  html("span", {}, head, `${count(d.total)} values${d.zeros ? `, ${percent(d.zeros / d.total)} exact zeros` : ""}`);
  const views = html("div", { class: "chips" }, bar);
  const again = () => { drawChart(S); place(S); legend(S); };
  const toggle = (parent, text, hint, name) => {
    const chip = html("button", { type: "button", class: "chip plain", title: hint, "aria-pressed": String(S[name]) }, parent, text);
    chip.onclick = () => { S[name] = !S[name]; chip.setAttribute("aria-pressed", String(S[name])); again(); };
    return chip;
  };
  toggle(views, "Gauss / Laplace", "The densities that ACIQ fits to the values, as counts they expect in each bar", "fits").disabled = !d.fits.length;
  toggle(views, "Linear", "Counts on a linear axis", "linear");
  const button = (text, hint, act) => { html("button", { type: "button", class: "chip plain", title: hint }, views, text).onclick = act; };
  button("Fit range", "Zoom so that the kept range fills the chart; Ctrl and the wheel zoom too", () => fitRange(S));
  button("Fit all", "Show every value", () => zoom(S, ...d.domain));
  S.legend = html("div", { class: "legend" }, root);
  legend(S);
  S.plot = html("div", { class: "plot" }, root);
  S.chooser = html("div", { class: "chooser" }, S.plot);
  S.title = html("b", {}, S.chooser);
  const chips = html("div", { class: "chips", role: "group", "aria-label": "Curve with an axis" }, S.chooser);
  S.chips = {};
  const show = () => { for (const other in S.chips) S.chips[other].setAttribute("aria-pressed", String(other === "split" ? S.split : !S.split && other === S.active)); };
  for (const key in METRICS) {
    S.chips[key] = html("button", { type: "button", class: `chip ${key}`, title: d.formulas[key] }, chips, METRICS[key].label);
    S.chips[key].onclick = () => { S.active = key; S.split = false; show(); again(); };
  }
  S.chips.split = html("button", { type: "button", class: "chip clipping", title: "The squared error's two parts: clipping grows to the left, rounding to the right" }, chips, "Error split");
  S.chips.split.onclick = () => { S.split = !S.split; show(); again(); };
  show();
  S.flags = html("div", { class: "flags" }, S.plot);
  S.tip = html("div", { class: "hover", hidden: "" }, S.plot);
  S.plot.onpointermove = (event) => hover(S, event);
  S.plot.onpointerleave = () => { S.tip.hidden = true; S.cross.setAttribute("visibility", "hidden"); };
  S.plot.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;  // a plain wheel scrolls the page
    event.preventDefault();
    const at = S.V(event.clientX - S.svg.getBoundingClientRect().left), factor = event.deltaY > 0 ? 1.25 : 0.8;
    zoom(S, at - (at - S.view[0]) * factor, at + (S.view[1] - at) * factor);
  }, { passive: false });
  S.view = [...d.domain];
}

// Which line is which density, its parameters, and how far it is from the values.
function legend(S) {
  S.legend.replaceChildren();
  S.legend.hidden = !S.fits || !S.data.fits.length;
  S.data.fits.forEach((fit, i) => {
    const entry = html("span", { class: "entry", title: "Distance: largest difference of the distribution functions (Kolmogorov-Smirnov), exact zeros left out" }, S.legend);
    html("i", { class: i ? "other" : "best" }, entry);
    html("b", {}, entry, fit.label + (i ? "" : ", fits better"));
    html("span", {}, entry, `centre ${number(fit.center, 3)}, ${fit.measure} ${number(fit.spread, 3)}, distance ${percent(fit.distance)}`);
  });
}

function colours(root) {
  const list = getComputedStyle(root).getPropertyValue("--st-chart-categorical-colors").split(/,(?![^(]*\))/);
  list.forEach((colour, i) => root.style.setProperty(`--c${i}`, colour.trim()));
}

// What the figures are computed from; again only for other values or another type.
function prepare(S, data) {
  const of = `${data.rev}|${JSON.stringify(data.spec)}`;
  if (S.of === of) return;
  Object.assign(S, { of, spec: data.spec, density: densityOf({ ...data.histogram, total: data.total }), kl: klOf(data.kl), outliers: outliersOf({ ...data.histogram, total: data.total }) });
}

function main(component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector("#threshold");
  const S = parentElement.threshold || (parentElement.threshold = { root, seq: data.seq, active: "sqnr", split: false, fits: false, linear: false, drag: null, live: false });
  S.send = setTriggerValue;
  S.use = (id) => setTriggerValue("use", { method: id, rev: S.rev });
  S.grab = (g, side) => grab(S, g, side);
  colours(root);
  if (S.rev !== data.rev) {
    prepare(S, data);
    Object.assign(S, { data, rev: data.rev, seq: data.seq, drag: null, live: false, range: { ...data.range }, kept: data.kept, now: data.exact });
    clearTimeout(S.timer);
    S.timer = 0;
    build(S);
    S.plotted = plotted(data);
    drawChart(S);
    place(S);
  } else if (!S.drag && !S.timer && data.seq >= S.seq) {
    const whole = String(S.view) === String(S.data.domain), wider = String(data.domain) !== String(S.data.domain);
    prepare(S, data);
    S.data = data;
    S.range = { ...data.range };
    if (whole && wider) S.view = [...data.domain];
    if (wider) drawChart(S);
    settle(S);
    cancelAnimationFrame(S.redrawing);
    if (wider) S.plotted = plotted(data);
    else if (S.plotted !== plotted(data)) S.redrawing = requestAnimationFrame(() => redraw(S));  // figures first
  }
  // Nobody holds it any more. While an edit is on its way, it says so itself: a release right behind it would take
  // its place, since Streamlit keeps the last event of those that come before a run.
  if (data.held && !S.drag && data.seq >= S.seq) release(S);
  root.dataset.ready = "1";
  if (!S.observer) {
    S.fit = () => {
      if (!root.clientWidth || S.drag) return;
      const { width, height } = S;
      measure(S);
      if (Math.abs(S.width - width) > 2 || Math.abs(S.height - height) > 2) { drawChart(S); place(S); }
    };
    S.answer = () => tell(S);
    S.observer = new ResizeObserver(S.fit);
    S.observer.observe(root);
    const page = root.getRootNode().host?.closest("[data-testid=stMainBlockContainer]");
    if (page) S.observer.observe(page);  // what is above may grow
    window.addEventListener("resize", S.fit);
    window.addEventListener(WANTED, S.answer);
  }
  return () => {
    S.observer.disconnect();
    window.removeEventListener("resize", S.fit);
    window.removeEventListener(WANTED, S.answer);
    clearTimeout(S.timer);
    S.timer = 0;
    clearTimeout(S.dwell);
    parentElement.threshold = undefined;
  };
}

// Curves and flags for what is set now; never while a line is in the hand, which would lose it.
function redraw(S) {
  if (S.drag || !S.root.isConnected) return;
  S.plotted = plotted(S.data);
  drawChart(S);
  place(S);
}

// What forces a new drawing: marks, their order, or curves that depend on the range that is set.
function plotted(data) {
  return JSON.stringify([data.marks, data.mode === "asymmetric" ? data.range : null, data.spec, data.mode]);
}
