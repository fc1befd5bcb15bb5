"""What `quantscope tune` found, as text."""

from __future__ import annotations

from quantscope.core.words import plural
from quantscope.ui.cli.commands.tune.mixed import FrontFigures
from quantscope.ui.cli.commands.tune.work import Tuning
from quantscope.ui.terminal.console import clean, percent, size, table


def tuning(result: Tuning) -> str:
    """The story of the search, the front, and the file."""
    lines = [clean(sentence) for sentence in result.story]
    if result.front is not None:
        lines += ["", _front(result.front), _taken(result.front)]
        lines += [f"note: {note}" for note in result.front.notes]
    saved = clean(result.recipe)
    lines.append(f"wrote {saved}: use it with quantscope quantize --recipe {saved}")
    return "\n".join(lines)


def _front(found: FrontFigures) -> str:
    """The points of a front, the one taken marked."""
    last = "below float" if found.labelled else "changed"
    rows = [
        (
            "*" if point.taken else "",
            size(point.size_bytes),
            f"{100.0 * point.size_bytes / found.float_.size_bytes:.1f} %",
            f"{100.0 * point.time_share:.0f} %",
            "exact" if point.exact else f"{point.sqnr_db:.2f} dB",
            percent(point.top1),
            "-" if point.drop is None else f"{point.drop:.2f}",
            len(point.layers),
        )
        for point in found.points
    ]
    top1 = "top-1 over positions" if found.positions else "top-1"
    head = ("", "size", "of float", "time (est.)", "SQNR", top1, last, f"not {found.lowest}")
    return table(head, rows, numeric=head[1:])


def _taken(found: FrontFigures) -> str:
    """Which point was taken."""
    point = found.taken
    share = 100.0 * point.size_bytes / found.float_.size_bytes
    given = list(point.layers.values())
    counts = {precision: given.count(precision) for precision in dict.fromkeys(sorted(given))}
    rest = found.layers - len(given)
    layers = ", ".join(f"{n} in {p}" for p, n in {found.lowest: rest, **counts}.items() if n)
    error = "exact" if point.exact else f"{point.sqnr_db:.2f} dB"
    if point.drop is not None:
        over = " over positions" if found.positions else ""
        what = f"of top-1{over} below float" if found.labelled else f"of classes{over} changed"
        error += f", {point.drop:.2f} points {what}"
    where = "samples kept for judging" if found.held_out else "samples, the same that chose"
    return (
        f"Taken: {size(point.size_bytes)} ({share:.1f} % of float), {error}, "
        f"on {found.samples} {where}; of {plural(found.layers, 'layer')} {layers}."
    )
