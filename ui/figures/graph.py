"""The model as a graph of layers: an own layered layout, folded into rows, coloured by error."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantscope.ui.content.rows import Row
from quantscope.ui.content.text import decibel, plain, short
from quantscope.ui.figures.style import SQNR_HIGH, SQNR_LOW, SQNR_SCALE

NODE_W, NODE_H = 100, 38  # pixels at zoom 1
STEP_X, STEP_Y = 128, 52
ROW_GAP, MARGIN = 26, 22
PER_ROW = 11  # ranks in a row of a long model: readable at 1280 pixels
UNKNOWN = "#9aa1b3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node is: its upper left corner, its row, and where that row ends."""

    x: float
    y: float
    row: int
    bottom: float


def ranks(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Longest distance of every node from a source; `names` are in topological order."""
    before = _sources(edges)
    rank: dict[str, int] = {}
    for name in names:
        rank[name] = max((rank[other] + 1 for other in before[name] if other in rank), default=0)
    return rank


def places(
    names: Sequence[str], edges: Sequence[tuple[str, str]], *, per_row: int = PER_ROW
) -> dict[str, Place]:
    """Where every node goes.

    Ranks run from left to right; within a rank nodes are ordered by where their inputs are. A model of
    more than `per_row` ranks is folded into rows of about equal length, each read from left to right.
    """
    rank = ranks(names, edges)
    columns: dict[int, list[str]] = defaultdict(list)
    for name in names:
        columns[rank[name]].append(name)
    lane = _lanes(columns, _sources(edges))
    count = len(columns)
    rows = max(1, -(-count // per_row))
    length = -(-count // rows) if count else 1
    found: dict[str, Place] = {}
    y = float(MARGIN)
    for row in range(rows):
        inside = [columns[c] for c in range(row * length, min((row + 1) * length, count))]
        height = max((len(nodes) for nodes in inside), default=1) * STEP_Y
        for c, nodes in enumerate(inside):
            for name in nodes:
                middle = y + height / 2 + lane[name] * STEP_Y
                x = MARGIN + c * STEP_X
                found[name] = Place(x=float(x), y=middle - NODE_H / 2, row=row, bottom=y + height)
        y += height + ROW_GAP
    return found


def _sources(edges: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    before: dict[str, list[str]] = defaultdict(list)
    for source, sink in edges:
        before[sink].append(source)
    return before


def _lanes(columns: Mapping[int, list[str]], before: Mapping[str, list[str]]) -> dict[str, float]:
    """Height of each node within its rank, 0 in the middle, in steps."""
    lane: dict[str, float] = {}
    for column in sorted(columns):
        wanted = {
            name: sum(lane.get(other, 0.0) for other in before.get(name, ()))
            / max(1, len(before.get(name, ())))
            for name in columns[column]
        }
        ordered = sorted(columns[column], key=lambda name: wanted[name])
        for place, name in enumerate(ordered):
            lane[name] = place - (len(ordered) - 1) / 2
    return lane


def graph_data(rows: Sequence[Row], edges: Sequence[tuple[str, str]]) -> dict[str, object]:
    """What the browser draws: nodes with place, colour and texts, and links between them by index."""
    at = places([row.name for row in rows], edges)
    index = {row.name: i for i, row in enumerate(rows)}
    return {
        "nodes": [_node(row, at[row.name]) for row in rows],
        "links": [[index[a], index[b]] for a, b in edges if a in index and b in index],
        "width": max((p.x for p in at.values()), default=0.0) + NODE_W + MARGIN,
        "height": max((p.bottom for p in at.values()), default=0.0) + MARGIN,
        "node": [NODE_W, NODE_H],
        "step": STEP_X,
    }


def colour(sqnr_db: float | None) -> str:
    """From red (5 dB or less) to green (45 dB or more); grey where there is no figure."""
    if sqnr_db is None:
        return UNKNOWN
    share = min(1.0, max(0.0, (sqnr_db - SQNR_LOW) / (SQNR_HIGH - SQNR_LOW)))
    place = share * (len(SQNR_SCALE) - 1)
    left = min(int(place), len(SQNR_SCALE) - 2)
    pair = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in SQNR_SCALE[left : left + 2]]
    mixed = (round(a + (b - a) * (place - left)) for a, b in zip(*pair, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _node(row: Row, place: Place) -> dict[str, object]:
    sqnr = row.cumulative_sqnr
    figure = decibel(sqnr) if sqnr is not None else "float" if row.precision == "float" else "–"
    ops = plain(row.op).replace(" + ", "+")
    tip = [plain(row.name), f"{plain(row.op)}, {short(row.shape, 40)}, {row.precision}"]
    tip += [f"cumulative SQNR {figure}, cosine {row.cosine_text}", f"alone {decibel(row.local_sqnr)}"]
    return {
        "name": row.name,
        "x": place.x,
        "y": place.y,
        "row": place.row,
        "bottom": place.bottom,
        "op": ops if len(ops) <= 13 else ops[:12] + "…",
        "figure": figure,
        "colour": colour(sqnr),
        "flag": bool(row.flag),
        "tip": "\n".join(tip + ([row.flag] if row.flag else [])),
    }
