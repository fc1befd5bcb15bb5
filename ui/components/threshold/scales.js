// Small helpers of the threshold chart: SVG elements, interpolation, axis ticks and number formats.

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, parent, text) {
  const node = document.createElementNS(SVG, tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}

function html(tag, attributes, parent, text) {
  const node = document.createElement(tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}

const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

// About n round numbers that cover [low, high].
function ticks(low, high, n) {
  const raw = (high - low) / Math.max(1, n);
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step || 0);
  return found;
}

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const power10 = (k) => "10" + String(k).replace(/./g, (c) => SUPERSCRIPT[c]);
const minus = (text) => text.replace("-", "−");

// Four significant digits, powers of ten where plain digits would be long.
function number(v, digits = 4) {
  if (v === null || v === undefined || Number.isNaN(v)) return "–";
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
  if (v === 0) return "0";
  const size = Math.abs(v);
  if (size >= 1e5 || size < 1e-3) {
    const [mantissa, exponent] = v.toExponential(digits - 2).split("e");
    return minus(String(Number(mantissa))) + " × " + power10(Number(exponent));
  }
  return minus(String(Number(v.toPrecision(digits))));
}

function percent(share) {
  if (share === null || share === undefined) return "–";
  if (share === 0) return "0 %";
  const value = share * 100;
  return (value < 0.001 ? "< 0.001" : value < 0.1 ? value.toFixed(3) : value < 10 ? value.toFixed(2) : value.toFixed(1)) + " %";
}

const count = (n) => Math.round(n).toLocaleString("en-US");
const cosine = (v) => (v === null || v === undefined ? "–" : v > 0.99999 && v < 1 ? "1 − " + number(1 - v, 3) : v.toFixed(5));
const decibel = (v, lossless) => (lossless ? "∞ dB" : v === null || v === undefined ? "–" : number(v, 4) + " dB");
