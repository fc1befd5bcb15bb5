// Figures of the tensor whose clip lines are on the page: the chart says what they are, while a line moves too.

const FIGURES = "quantscope-figures", WANTED = "quantscope-figures-wanted";

// How the SQNR changed, and whether that is better for the tensor.
function decibels(now, before) {
  if (now.lossless || before.lossless || now.sqnr === null || before.sqnr === null) return [now.lossless === before.lossless ? "no change" : "", ""];
  const gap = now.sqnr - before.sqnr;
  return Math.abs(gap) < 0.005 ? ["no change", ""] : [`${gap > 0 ? "+" : "−"}${Math.abs(gap).toFixed(2)} dB`, ""];
}

// How a share changed, in percentage points.
function points(now, before) {
  const gap = 100 * (now - before), size = Math.abs(gap);
  if (size < 5e-7) return "no change";
  const text = size < 0.001 ? "< 0.001" : size < 0.1 ? size.toFixed(3) : size < 10 ? size.toFixed(2) : size.toFixed(1);
  return `${gap > 0 ? "+" : "−"}${text} pp`;
}

function draw(S, said) {
  const { now, kept, before, live, mode, step } = said, tiles = S.row.tiles;
  S.root.dataset.state = live ? "live" : "exact";
  S.row.note.textContent = `· ${count(said.total)} values${before && step ? ` · change since ${step}` : ""}`;
  tiles.range.tip.textContent = `${S.tips.range}\n${said.encoding}`;
  put(tiles.range, mode === "symmetric" ? `± ${number(kept.high)}` : `${number(kept.low)} … ${number(kept.high)}`, live ? (said.adjusted ? "moving; kernel may coarsen" : "moving") : said.short);
  put(tiles.share, percent(now.share), before ? points(now.share, before.share) : "");
  put(tiles.sqnr, decibel(now.sqnr, now.lossless), ...(before ? decibels(now, before) : ["", ""]));
  put(tiles.cosine, cosine(now.cosine), "1 is identical");
  put(tiles.mse, number(now.mse, 3), now.mse > 0 ? `${Math.round((100 * now.clipping) / now.mse)} % clipping` : "no error");
  const none = now.kl === null || now.kl === undefined;
  tiles.kl.tip.textContent = none ? `${S.tips.kl}\nNo figure here: ${said.reason || "the range has fewer bins than the type has levels, or clips most values"}.` : S.tips.kl;
  put(tiles.kl, none ? (said.reason ? "none" : "too narrow") : number(now.kl, 3), "nats", "", none);
}

function main(component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector("#figures");
  if (!parentElement.figures) {
    const S = (parentElement.figures = { root, row: buildRow(root, data.heading, "", data.items), tips: Object.fromEntries(data.items.map((item) => [item.key, item.tip])) });
    S.heard = (event) => draw(S, event.detail);
    window.addEventListener(FIGURES, S.heard);
    window.dispatchEvent(new Event(WANTED));
  }
  const S = parentElement.figures;
  return () => {
    window.removeEventListener(FIGURES, S.heard);
    parentElement.figures = undefined;
  };
}
