"""The model as a graph of layers, as data: the browser lays it out, and anew whenever a group is folded."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from quantscope.ui.content.groups import Grouping, grouped, opened
from quantscope.ui.content.rows import MASKED, Row
from quantscope.ui.content.text import decibel, plain, plural, short
from quantscope.ui.figures.style import SQNR_HIGH, SQNR_LOW, SQNR_SCALE

UNKNOWN = "#9aa1b3"
LABEL = 40  # characters of a group's label at most; the browser cuts it to the width there is


def graph_data(
    rows: Sequence[Row],
    edges: Sequence[tuple[str, str]],
    *,
    worst: Sequence[str] = (),
    project: str = "",
) -> dict[str, object]:
    """What the browser draws: layers with texts and colours, links between them by place, and groups.

    Args:
        rows: The layers, in the order of execution.
        edges: Which layer reads which, by name.
        worst: Layers that cost the output most, worst first; those with the lowest cumulative SQNR follow.
        project: Under what the browser remembers which groups are open, and where the view is.
    """
    index = {row.name: at for at, row in enumerate(rows)}
    names, ops = [row.name for row in rows], [row.op for row in rows]
    grouping = grouped(names, ops)
    return {
        "project": project,
        "layers": [_layer(row, label) for row, label in zip(rows, grouping.labels, strict=True)],
        "links": [[index[a], index[b]] for a, b in edges if a in index and b in index],
        "in": list(grouping.of),
        "groups": _groups(rows, grouping),
        "open": opened(grouping),
        "worst": _worst_first(rows, [index[name] for name in worst if name in index]),
        "scale": {"colours": list(SQNR_SCALE), "low": SQNR_LOW, "high": SQNR_HIGH, "unknown": UNKNOWN},
    }


def colour(sqnr_db: float | None) -> str:
    """From red (5 dB or less) to green (45 dB or more); grey where there is no figure."""
    if sqnr_db is None or math.isnan(sqnr_db):
        return UNKNOWN
    share = min(1.0, max(0.0, (sqnr_db - SQNR_LOW) / (SQNR_HIGH - SQNR_LOW)))
    place = share * (len(SQNR_SCALE) - 1)
    left = min(int(place), len(SQNR_SCALE) - 2)
    pair = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in SQNR_SCALE[left : left + 2]]
    mixed = (round(a + (b - a) * (place - left)) for a, b in zip(*pair, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _layer(row: Row, label: str) -> dict[str, object]:
    sqnr = row.cumulative_sqnr
    figure = decibel(sqnr) if sqnr is not None else "float" if row.precision == "float" else "–"
    tip = [f"{plain(row.op)}, {short(row.shape, 40)}, {row.precision}"]
    if sqnr is not None:
        tip.append(f"Cumulative {figure}, cosine {row.cosine_text}")
    elif row.masked:
        tip.append(MASKED)
    if row.local_sqnr is not None:
        tip.append(f"Alone {decibel(row.local_sqnr)}")
    found: dict[str, object] = {
        "name": row.name,
        "label": label,
        "op": plain(row.op).replace(" + ", "+"),
        "figure": figure,
        "colour": colour(sqnr),
        "tip": tip,
    }
    if row.flag:
        found["flag"] = plain(row.flag)
    return found


def _groups(rows: Sequence[Row], grouping: Grouping) -> list[dict[str, object]]:
    """Each group with the worst layer inside, and how many there are."""
    inside: list[list[Row]] = [[] for _ in grouping.groups]
    for row, at in zip(rows, grouping.of, strict=True):
        while at >= 0:
            inside[at].append(row)
            at = grouping.groups[at].parent
    return [
        {
            "path": group.path,
            "name": group.name,
            "label": short(group.label, LABEL),
            "parent": group.parent,
            **_summary(members),
        }
        for group, members in zip(grouping.groups, inside, strict=True)
    ]


def _summary(rows: Sequence[Row]) -> Mapping[str, object]:
    measured = [(row.cumulative_sqnr, row) for row in rows if row.cumulative_sqnr is not None]
    flagged = sum(bool(row.flag) for row in rows)
    ops = Counter(row.op.split(" + ")[0] for row in rows).most_common(4)
    tip = [f"{plural(len(rows), 'layer')}: " + ", ".join(f"{count} {plain(op)}" for op, count in ops)]
    figure, hue = "–", UNKNOWN
    if measured:
        value, worst = min(measured, key=lambda pair: pair[0])
        figure, hue = decibel(value), colour(value)
        tip.append(f"Worst inside: {short(worst.name, 48)}, cumulative {figure}")
    elif all(row.precision == "float" for row in rows):
        figure = "float"
    if flagged:
        tip.append(f"{plural(flagged, 'layer')} flagged")
    return {"count": len(rows), "flagged": flagged, "figure": figure, "colour": hue, "tip": tip}


def _worst_first(rows: Sequence[Row], named: Sequence[int]) -> list[int]:
    """Places of layers: those named, then the ones with an error, the largest first."""
    found = dict.fromkeys(named)
    others = [
        (value, at)
        for at, row in enumerate(rows)
        if (value := row.cumulative_sqnr) is not None and value < math.inf and at not in found
    ]
    return [*found, *(at for _, at in sorted(others))]
