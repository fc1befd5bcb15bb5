"""What `quantscope quantize` wrote, as text."""

from __future__ import annotations

from quantscope.core.words import decibels, plural
from quantscope.ui.cli.commands.compare.listing import comparison
from quantscope.ui.cli.commands.quantize.work import Quantization
from quantscope.ui.terminal.console import clean, size


def quantization(result: Quantization) -> str:
    """The file, how its choices were found, and the comparison that was asked for."""
    sizes, layers = result.size_bytes, result.layers
    integer = sum(count for precision, count in layers.items() if precision != "float")
    lines = [
        f"wrote {clean(result.output)}: {size(sizes.float_)} -> {size(sizes.quantized)}, "
        f"{plural(integer, 'layer')} in integers, {layers['float']} in float"
    ]
    if result.trials:
        best = next(trial for trial in result.trials if trial.taken)
        lines.append(f"best of {len(result.trials)} tried: {best.label}, {decibels(best.sqnr_db, 2)}")
        refused = [trial for trial in result.trials if trial.refused and trial.sqnr_db > best.sqnr_db]
        for trial in refused:
            lines.append(f"not taken: {trial.label}, {decibels(trial.sqnr_db, 2)}, which {trial.refused}")
    lines += [clean(sentence) for sentence in (*result.story, *result.passes)]
    if result.recipe:
        saved = clean(result.recipe)
        lines.append(f"wrote {saved}: repeat this with --recipe {saved}")
    lines += [f"note: {clean(note)}" for note in result.notes]
    if result.comparison is not None:
        lines += ["", comparison(result.comparison)]
    return "\n".join(lines)
