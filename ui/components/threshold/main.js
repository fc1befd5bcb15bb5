// The threshold chart: clip lines that are dragged or moved by keys, figures that follow at once.
//
// Numbers on screen come from curves that the server computed (interpolated while dragging) and from its exact
// figures once the drag has ended. `seq` counts this chart's own edits: data older than the newest edit are not
// allowed to move a line back.

const DWELL = 250;  // ms without a movement after which a held line is measured
const TILES = ["range", "share", "sqnr", "cosine", "mse", "kl"];

function place(S) {
  const d = S.data, { low, high } = S.range;
  for (const side in S.handles) {
    const { g, hit, line, grip, label } = S.handles[side], value = S.range[side];
    const x = clamp(S.X(value), LEFT, S.width - RIGHT), away = Math.abs(x - S.X(value)) > 1;
    hit.setAttribute("x", x - 10);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    const y = S.top + HIST / 2;
    grip.setAttribute("d", `M${x - 7},${y - 16}h14a4,4 0 0 1 4,4v24a4,4 0 0 1 -4,4h-14a4,4 0 0 1 -4,-4v-24a4,4 0 0 1 4,-4zM${x - 3},${y - 7}v14M${x + 3},${y - 7}v14`);
    const text = number(value) + (away ? (side === "high" ? " →" : "") : "");
    const flip = side === "high" ? x > S.width - RIGHT - 110 : x > LEFT + 110;
    label.setAttribute("x", flip ? x - 14 : x + 14);
    label.setAttribute("text-anchor", flip ? "end" : "start");
    label.textContent = (away && side === "low" ? "← " : "") + text;
    if (g.getAttribute("role")) {
      const bounds = limits(S, side);
      g.setAttribute("aria-valuemin", bounds[0]);
      g.setAttribute("aria-valuemax", bounds[1]);
      g.setAttribute("aria-valuenow", value);
      g.setAttribute("aria-valuetext", `${number(value)}, ${percent(S.now.share)} clipped, SQNR ${number(S.now.sqnr)} dB`);
    }
  }
  const right = S.X(S.view[1]), left = S.X(S.view[0]), xh = clamp(S.X(S.kept.high), left, right), xl = clamp(S.X(S.kept.low), left, right);
  S.clipHigh.setAttribute("x", xh);
  S.clipHigh.setAttribute("width", right - xh);
  S.clipLow.setAttribute("x", left);
  S.clipLow.setAttribute("width", d.mode === "nonneg" ? 0 : xl - left);
  const value = S.now[S.active];
  for (const [dot, x, used] of [[S.dotHigh, high, true], [S.dotLow, low, d.mode !== "nonneg"]]) {
    const visible = used && S.curveY && value !== null && value !== undefined && x >= S.view[0] && x <= S.view[1];
    dot.setAttribute("visibility", visible ? "visible" : "hidden");
    if (visible) { dot.setAttribute("cx", S.X(x)); dot.setAttribute("cy", S.curveY(value)); }
  }
  placeKept(S);
  tiles(S);
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

function tiles(S) {
  const { low, high } = S.kept, now = S.now;
  const texts = {
    range: S.data.mode === "symmetric" ? `± ${number(high)}` : `${number(low)} … ${number(high)}`,
    share: percent(now.share), sqnr: METRICS.sqnr.show(now.sqnr), cosine: cosine(now.cosine), mse: number(now.mse), kl: number(now.kl),
  };
  const total = now.mse || 0;
  const notes = {
    range: S.live ? "moving" : S.data.encoding,
    share: `of ${count(S.data.total)} values`,
    sqnr: delta(S, "sqnr", " dB"), cosine: "1 is identical",
    mse: total > 0 ? `${Math.round((100 * now.clipping) / total)} % clipping` : "no error", kl: "nats",
  };
  for (const key of TILES) {
    S.tile[key].value.textContent = texts[key];
    S.tile[key].note.textContent = notes[key];
  }
  S.root.dataset.state = S.live ? "live" : "exact";
}

function delta(S, key, unit) {
  const best = S.data.best[key];
  if (best === null || best === undefined || S.now[key] === null) return "";
  const gap = S.now[key] - best;
  return Math.abs(gap) < 0.005 ? "best of the curve" : `${minus(gap.toFixed(2))}${unit} from best`;
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
  const curve = side === "high" ? S.data.curves.high : S.data.curves.low;
  if (curve) {
    const at = S.range[side], read = (key) => (curve[key] ? interpolate(curve.x, curve[key], at) : null);
    S.now = { share: read("share"), sqnr: read("sqnr"), cosine: read("cosine"), mse: read("mse"), kl: read("kl"), clipping: read("clipping") };
    S.kept = S.range;
    if (curve.kept_high) {  // allowed ranges lie apart: the nearest one known, nothing in between
      const i = nearest(curve.x, at);
      S.kept = { low: curve.kept_low[i], high: curve.kept_high[i] };
    }
  }
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
    S.timer = setTimeout(() => commit(S), 300);
  };
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
  const x = S.V(px), bin = Math.floor((x - S.data.bins.start) / S.data.bins.width);
  const lines = [["value", number(x)], ["count here", count(S.data.bins.counts[bin] || 0)]];
  if (S.fits) for (const fit of S.data.fits) lines.push([`${fit.label} expects`, expectation(fit.expected[bin] || 0)]);
  const curve = x < 0 ? S.data.curves.low || (S.data.mode === "symmetric" ? S.data.curves.high : null) : S.data.curves.high;
  if (curve) {
    const at = x < 0 && !S.data.curves.low ? -x : x;
    for (const key in METRICS) if (curve[key]) lines.push([METRICS[key].label, METRICS[key].show(interpolate(curve.x, curve[key], at))]);
    lines.push(["clipping MSE", number(interpolate(curve.x, curve.clipping, at))], ["rounding MSE", number(interpolate(curve.x, curve.rounding, at))]);
    lines.push(["clipped", percent(interpolate(curve.x, curve.share, at))]);
  }
  S.tip.replaceChildren();
  for (const [name, value] of lines) { html("span", {}, S.tip, name); html("b", {}, S.tip, value); }
  S.tip.style.left = (px > S.width - 230 ? px - 206 : px + 16) + "px";
  S.tip.style.top = clamp(py - 40, 0, S.bottom - 190) + "px";
}

function build(S) {
  const root = S.root, d = S.data;
  root.replaceChildren();
  const row = html("div", { class: "tiles" }, root);
  S.tile = {};
  for (const key of TILES) {
    const tile = html("div", { class: "tile", tabindex: "-1", "data-key": key }, row);
    const head = html("span", { class: "name" }, tile, d.names[key]);
    html("span", { class: "tip" }, tile, d.formulas[key]);
    S.tile[key] = { head, value: html("b", { class: "value" }, tile), note: html("span", { class: "note" }, tile) };
  }
  const bar = html("div", { class: "bar" }, root);
  const chips = html("div", { class: "chips", role: "group", "aria-label": "Curve with an axis" }, bar);
  S.chips = {};
  for (const key in METRICS) {
    const chip = (S.chips[key] = html("button", { type: "button", class: `chip ${key}`, "aria-pressed": String(key === S.active), title: d.formulas[key] }, chips, METRICS[key].label));
    chip.onclick = () => {
      S.active = key;
      for (const other in S.chips) S.chips[other].setAttribute("aria-pressed", String(other === key));
      drawChart(S);
      place(S);
    };
  }
  const views = html("div", { class: "chips" }, bar);
  const toggle = (text, hint, name) => {
    const chip = html("button", { type: "button", class: "chip plain", title: hint, "aria-pressed": String(S[name]) }, views, text);
    chip.onclick = () => {
      S[name] = !S[name];
      chip.setAttribute("aria-pressed", String(S[name]));
      drawChart(S);
      place(S);
      legend(S);
    };
    return chip;
  };
  toggle("Gauss / Laplace", "The densities that ACIQ fits to the values, as counts they expect in each bin", "fits").disabled = !d.fits.length;
  toggle("Linear", "Counts on a linear axis", "linear");
  const button = (text, hint, act) => { html("button", { type: "button", class: "chip plain", title: hint }, views, text).onclick = act; };
  button("Fit range", "Zoom so that the kept range fills the chart", () => fitRange(S));
  button("Fit all", "Show every value", () => zoom(S, ...d.domain));
  S.legend = html("div", { class: "legend" }, root);
  legend(S);
  S.plot = html("div", { class: "plot" }, root);
  S.tip = html("div", { class: "hover", hidden: "" }, S.plot.parentNode);
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

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector("#threshold");
  const first = !parentElement.threshold;
  const S = parentElement.threshold || (parentElement.threshold = { root, seq: data.seq, active: "sqnr", fits: false, linear: false, drag: null, live: false });
  S.send = setTriggerValue;
  S.use = (id) => setTriggerValue("use", { method: id, rev: S.rev });
  S.grab = (g, side) => grab(S, g, side);
  colours(root);
  const changed = S.rev !== data.rev;
  if (changed) {
    Object.assign(S, { data, rev: data.rev, seq: data.seq, drag: null, live: false, range: { ...data.range }, kept: data.kept, now: data.exact });
    clearTimeout(S.timer);
    build(S);
    S.plotted = plotted(data);
    drawChart(S);
    if (!first || data.zoomed) root.dataset.ready = "1";
    place(S);
  } else if (!S.drag && data.seq >= S.seq) {
    const whole = String(S.view) === String(S.data.domain), wider = String(data.domain) !== String(S.data.domain);
    S.data = data;
    if (whole && wider) S.view = [...data.domain];
    if (wider) S.plotted = "";
    if (S.plotted !== plotted(data)) { S.plotted = plotted(data); drawChart(S); }
    settle(S);
  }
  // Nobody holds it any more. While an edit is on its way, it says so itself: a release right behind it would take
  // its place, since Streamlit keeps the last event of those that come before a run.
  if (data.held && !S.drag && data.seq >= S.seq) release(S);
  root.dataset.ready = "1";
  if (!S.observer) {
    S.observer = new ResizeObserver(() => {
      if (root.clientWidth && Math.abs(root.clientWidth - S.width) > 2) { drawChart(S); place(S); }
    });
    S.observer.observe(root);
  }
  return () => { S.observer.disconnect(); clearTimeout(S.timer); clearTimeout(S.dwell); parentElement.threshold = undefined; };
}

// What forces a new drawing: marks, their order, or curves that depend on the other end of the range.
function plotted(data) {
  return JSON.stringify([data.marks, data.curves.low || data.ruled ? data.range : null, data.ruled, data.mode]);
}
