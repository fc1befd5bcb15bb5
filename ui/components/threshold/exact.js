// What quantizing a histogram's values costs, exactly: the browser's twin of core/thresholds (density, error,
// splits, power_of_two, kl) and of `encoding_from_ranges`. The same sums in the same order, so that a figure shown
// while a line moves is the one that the server gives for the same range.
//
// A side holds magnitudes in bins: `density` of bin j, and mass, first and second moment beyond its right border;
// values equal to the extremes are atoms [value, count].

const NEARLY = 1 + 1e-6;  // float32 scales miss the range they were made for by 6e-8
const TINY = 2 ** -126, HUGE = (2 - 2 ** -23) * 2 ** 127;  // the normal numbers of float32

// Nearest integer; of two, the even one.
function rint(v) {
  const low = Math.floor(v), rest = v - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

function sideOf(h, sign) {
  const unit = 2 ** -h.exponent, size = h.counts.length;
  const [low, high] = sign > 0 ? [h.min, h.max] : [-h.max, -h.min];
  const [atLow, atHigh] = sign > 0 ? [h.at_min, h.at_max] : [h.at_max, h.at_min];
  if (high <= 0) return { density: new Float64Array(1), mass: new Float64Array(1), first: new Float64Array(1), second: new Float64Array(1), extent: 0, atoms: [[0, 0], [0, 0]], energy: 0 };
  const split = Math.max(0, Math.min(size, -h.first));  // negative bins before it
  const bins = sign > 0 ? h.first + size : -h.first, counts = new Float64Array(bins);
  if (sign > 0) for (let i = split; i < size; i++) counts[h.first + i] = h.counts[i];
  else for (let i = 0; i < split; i++) counts[bins - 1 - i] = h.counts[i];
  const extent = high * unit, atoms = [[extent, atHigh], [0, 0]];
  counts[bins - 1] -= atHigh;
  if (low > 0 && low < high) {
    const nearest = low * unit;
    counts[sign > 0 ? Math.trunc(nearest) : Math.ceil(nearest) - 1] -= atLow;
    atoms[1] = [nearest, atLow];
  }
  const side = { density: new Float64Array(bins + 1), mass: new Float64Array(bins + 1), first: new Float64Array(bins + 1), second: new Float64Array(bins + 1), extent, atoms };
  let mass = 0, first = 0, second = 0;
  for (let j = bins - 1; j >= 0; j--) {
    const length = Math.min(1, extent - j), c = counts[j] > 0 && length > 0 ? counts[j] : 0;
    side.mass[j] = mass, side.first[j] = first, side.second[j] = second;
    if (c) side.density[j] = c / length;
    second += length * (2 * first + length * (mass + c / 3));
    first += length * (mass + c / 2);
    mass += c;
  }
  side.energy = second;
  for (const [value, count] of atoms) side.energy += value * value * count;
  return side;
}

function densityOf(h) {
  return { negative: sideOf(h, -1), positive: sideOf(h, 1), width: 2 ** h.exponent, count: h.total, min: h.min, max: h.max };
}

// Sums of one side for steps of `step` bins: squared error, squared quantized values, how many lie beyond the last
// level, and their squared error.
function sideSums(side, step, levels) {
  const { density, mass, first, second, extent, atoms } = side, limit = step * levels, last = density.length - 2;
  let outside = 0, clipping = 0, beyond = 0, error, square;
  if (limit * NEARLY < extent) {
    const j = Math.min(Math.trunc(limit), last), x = Math.min(j + 1, extent) - limit;
    outside = mass[j] + density[j] * x;
    beyond = first[j] + x * (mass[j] + 0.5 * density[j] * x);
    clipping = second[j] + x * (2 * first[j] + x * (mass[j] + (density[j] * x) / 3));
  }
  const body = side.energy - atoms[0][0] ** 2 * atoms[0][1] - atoms[1][0] ** 2 * atoms[1][1];
  if (step >= 1) {
    let heights = 0, moments = 0;
    const borders = Math.min(levels, Math.ceil(extent / step - 0.5));
    for (let i = 0; i < borders; i++) {
      const b = (i + 0.5) * step, k = Math.min(Math.trunc(b), last), x = Math.min(k + 1, extent) - b;
      heights += first[k] + x * (mass[k] + 0.5 * density[k] * x);
      moments += b * (mass[k] + density[k] * x);
    }
    error = body - 2 * step * heights, square = 2 * step * moments;
  } else {  // finer than a bin: every value inside costs step² / 12
    const fine = extent ? ((step * step) / 12) * (mass[0] + density[0] * Math.min(1, extent) - outside) : 0;
    error = clipping + fine, square = body - clipping - 2 * limit * beyond + fine;
  }
  for (const [value, count] of atoms) {
    if (!(count > 0)) continue;
    const level = Math.min(rint(value / step), levels) * step;
    error += count * (value - level) ** 2;
    square += count * level * level;
    if (value > limit * NEARLY) { outside += count; clipping += count * (value - limit) ** 2; }
  }
  return [Math.max(error, 0), square, outside, clipping];
}

// The integral of (x - t) over the mass above t.
function heightAbove(side, t) {
  let height = 0;
  if (t < side.extent) {
    const j = Math.min(Math.trunc(t), side.density.length - 2), x = Math.min(j + 1, side.extent) - t;
    height = side.first[j] + x * (side.mass[j] + 0.5 * side.density[j] * x);
  }
  for (const [value, count] of side.atoms) if (value > t) height += count * (value - t);
  return height;
}

// How many of `levels` steps lie above 0 for the least squared error.
function evenSplit(density, step, levels) {
  let fewest = 0, most = levels;
  while (fewest < most) {
    const n = (fewest + most) >> 1;
    if (heightAbove(density.positive, (n + 0.5) * step) > heightAbove(density.negative, (levels - n - 0.5) * step)) fewest = n + 1;
    else most = n;
  }
  return fewest;
}

const usable = (scale) => { const s = Math.min(scale, HUGE); return Math.fround(s < TINY ? 1 : s); };

// A positive scale as a rule allows it.
function ruledScale(scale, rule) {
  if (rule === "free") return scale;
  let power = Math.floor(Math.log2(scale)) + 1;
  while (scale >= 2 ** power) power++;
  while (scale < 2 ** (power - 1)) power--;
  const least = rule === "power_of_two_up" ? 0.5 : Math.SQRT1_2;
  return 2 ** clamp(power - (scale / 2 ** power <= least ? 1 : 0), -126, 127);
}

// Scale and zero point of a range, as `encoding_from_ranges` makes them.
function encodingFrom(low, high, spec, rule) {
  const lo = Math.min(low, 0), hi = Math.max(high, 0), { qmin, qmax } = spec;
  if (spec.symmetric) {
    const peak = Math.max(-lo, hi), middle = 2 ** (spec.bits - 1), oneSided = lo >= 0;
    const scale = spec.signed ? peak / qmax : oneSided ? peak / qmax : peak / (qmax - middle);
    return { scale: ruledScale(usable(scale), rule), zero: spec.signed || oneSided ? 0 : middle, qmin, qmax };
  }
  const step = (hi - lo) / (qmax - qmin), scale = ruledScale(usable(step), rule);
  let at;
  if (rule === "free") at = rint(qmin - lo / (step < TINY ? 1 : step));
  else {
    const spare = qmax - qmin - (hi - lo) / scale;
    at = qmin - lo / scale + Math.min(spare, 0) / 2;
    at = spare >= 1 ? Math.ceil(at) : rint(at);
  }
  return { scale, zero: clamp(at, qmin, qmax), qmin, qmax };
}

// What becomes of a range under the rule for scales.
function encodingOf(density, low, high, spec) {
  if (spec.rule !== "power_of_two_mse") return encodingFrom(low, high, spec, spec.rule);
  const larger = encodingFrom(low, high, spec, "power_of_two_up"), free = encodingFrom(low, high, spec, "free");
  const scales = free.scale < larger.scale && larger.scale > TINY ? [larger.scale, larger.scale / 2] : [larger.scale];
  const found = scales.map((scale) => {
    const zero = spec.symmetric ? larger.zero : spec.qmax - evenSplit(density, scale / density.width, spec.qmax - spec.qmin);
    return { ...larger, scale, zero };
  });
  const costs = found.map((e) => sumsOf(density, e)[0]);
  return costs.length > 1 && costs[1] < costs[0] ? found[1] : found[0];
}

function sumsOf(density, encoding) {
  const step = encoding.scale / density.width;
  const a = sideSums(density.negative, step, encoding.zero - encoding.qmin), b = sideSums(density.positive, step, encoding.qmax - encoding.zero);
  return a.map((v, i) => v + b[i]);
}

// Every figure of a range: what is kept, and what that costs. Infinite and unknown ones are null, as from the server.
function figuresOf(S, low, high) {
  const { density, spec } = S, encoding = encodingOf(density, low, high, spec);
  const kept = { low, high };
  if (spec.rule !== "free") {
    kept.high = (encoding.qmax - encoding.zero) * encoding.scale;
    kept.low = !spec.symmetric ? (encoding.qmin - encoding.zero) * encoding.scale : spec.signed || encoding.zero ? -kept.high : 0;
  }
  const [error, square, outside, clipped] = sumsOf(density, encoding), count = Math.max(density.count, 1), area = density.width ** 2;
  const energy = density.negative.energy + density.positive.energy, mse = (error / count) * area, clipping = Math.min((clipped / count) * area, mse);
  const length = Math.sqrt(energy), quantized = Math.sqrt(Math.max(square, 0)), product = 2 * length * quantized;
  const loss = product > 0 ? Math.max(error - (length - quantized) ** 2, 0) / product : length === 0 && quantized === 0 ? 0 : 1;
  const known = (v) => (Number.isFinite(v) ? v : null);
  const figures = {
    share: kept.low <= density.min && density.max <= kept.high ? 0 : outside / count,
    sqnr: error === 0 ? null : known(10 * Math.log10(energy / error)),
    cosine: 1 - loss, mse, clipping, rounding: mse - clipping, kl: divergence(S.kl, kept.low, kept.high),
    lossless: error === 0,
  };
  return { kept, figures };
}

// What divergences of windows of bins are made of: sums before each bin of h, of h ln h, and of the occupied bins.
function klOf(given) {
  if (!given) return null;
  const { counts, low, high, levels, symmetric } = given, n = counts.length;
  const mass = new Float64Array(n + 1), entropy = new Float64Array(n + 1), occupied = new Float64Array(n + 1);
  for (let k = 0; k < n; k++) {
    const c = counts[k];
    mass[k + 1] = mass[k] + c;
    entropy[k + 1] = entropy[k] + (c > 0 ? c * Math.log(c) : 0);
    occupied[k + 1] = occupied[k] + (c > 0 ? 1 : 0);
  }
  return { counts, low, high, levels, symmetric, mass, entropy, occupied };
}

// KL(P || Q) in nats of the window of bins nearest to a range; null where it is not considered.
function divergence(kl, low, high) {
  if (!kl) return null;
  const { counts, levels, mass, entropy, occupied } = kl, n = counts.length, perUnit = n / (kl.high - kl.low), total = mass[n];
  const a = kl.symmetric ? 0 : clamp(rint((low - kl.low) * perUnit), 0, n - 1), b = clamp(rint((high - kl.low) * perUnit), 1, n);
  const size = b - a, left = mass[a], right = total - mass[b];
  if (left + right > 0.5 * total || size < levels) return null;
  const first = counts[a] + left, last = counts[b - 1] + right, part = (v) => (v > 0 ? v * Math.log(v) : 0);
  const own = entropy[b - 1] - entropy[a + 1] + part(first) + part(last);
  let inner = 0;
  for (let g = 1; g < levels - 1; g++) {
    const begin = a + Math.floor((g * size + levels - 1) / levels), end = a + Math.floor(((g + 1) * size + levels - 1) / levels);
    const group = mass[end] - mass[begin];
    if (group > 0) inner += group * Math.log(group / (occupied[end] - occupied[begin]));
  }
  const outer = (group, filled, bin, clipped) => {
    if (bin === 0 && clipped > 0) filled += 1;
    if (group + clipped === 0) return [0, 0];
    return group === 0 ? [0, 1] : [(group + clipped) * Math.log(group / filled), 0];
  };
  const begin = b - Math.floor(size / levels), end = a + Math.floor((size + levels - 1) / levels);
  const [lowest, more] = outer(mass[end] - mass[a], occupied[end] - occupied[a], counts[a], left);
  const [highest, most] = outer(mass[b] - mass[begin], occupied[b] - occupied[begin], counts[b - 1], right);
  const kept = mass[b] - mass[a] + more + most;
  return Math.max((own - (inner + lowest + highest)) / total + Math.log(kept / total), 0);
}
