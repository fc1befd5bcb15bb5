"""The model as a graph of layers, coloured by error: an own layered layout, folded to fit the page."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ui.figures.style import SQNR_HIGH, SQNR_LOW, SQNR_SCALE
from ui.rows import Row
from ui.text import decibel, plain

NODE_W, NODE_H = 96, 36
STEP_X, STEP_Y, FOLD_GAP = 118, 54, 26
UNKNOWN = "#a3a9b8"


def layers_of(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Longest distance of every node from a source; `names` are in topological order."""
    before: dict[str, list[str]] = defaultdict(list)
    for source, sink in edges:
        before[sink].append(source)
    rank: dict[str, int] = {}
    for name in names:
        rank[name] = max((rank[other] + 1 for other in before[name] if other in rank), default=0)
    return rank


def positions(
    names: Sequence[str], edges: Sequence[tuple[str, str]], *, aspect: float = 3.0
) -> dict[str, tuple[float, float]]:
    """Places of the nodes, in pixels at zoom 1.

    Ranks run from left to right; within a rank nodes are ordered by where their inputs are. A long
    model is folded into rows, each read from left to right, so that the whole has about `aspect`.
    """
    rank = layers_of(names, edges)
    columns: dict[int, list[str]] = defaultdict(list)
    for name in names:
        columns[rank[name]].append(name)
    before: dict[str, list[str]] = defaultdict(list)
    for source, sink in edges:
        before[sink].append(source)
    lane: dict[str, float] = {}
    for column in sorted(columns):
        wanted = {
            name: sum(lane[o] for o in before[name] if o in lane) / max(1, len(before[name]))
            for name in columns[column]
        }
        ordered = sorted(columns[column], key=lambda name: wanted[name])
        middle = (len(ordered) - 1) / 2
        for place, name in enumerate(ordered):
            lane[name] = place - middle
    count = len(columns)
    tallest = max(len(nodes) for nodes in columns.values()) if columns else 1
    row_height = tallest * STEP_Y + FOLD_GAP
    per_row = max(8, round((aspect * count * row_height / STEP_X) ** 0.5))
    per_row = -(-count // max(1, round(count / per_row))) if count else 1  # rows of about equal length
    placed: dict[str, tuple[float, float]] = {}
    y = 0.0
    for start in range(0, count, per_row):
        rows = [columns[c] for c in range(start, min(start + per_row, count))]
        height = max(len(nodes) for nodes in rows) * STEP_Y
        for c, nodes in enumerate(rows):
            for name in nodes:
                placed[name] = (float(c * STEP_X), y + height / 2 + lane[name] * STEP_Y)
        y += height + FOLD_GAP
    return placed


def graph_spec(
    rows: Sequence[Row], edges: Sequence[tuple[str, str]], *, selected: str | None = None
) -> tuple[dict[str, Any], int]:
    """An ECharts graph of layers, coloured by cumulative SQNR, and the height it wants in pixels.

    Clicking a node selects it; its place in `rows` is the data index.
    """
    at = positions([row.name for row in rows], edges)
    index: Mapping[str, int] = {row.name: i for i, row in enumerate(rows)}
    columns = {x for x, _ in at.values()}
    dense = len(columns) > 22
    nodes = [_node(row, at[row.name], row.name == selected, dense) for row in rows]
    tall = max((y for _, y in at.values()), default=0.0) - min((y for _, y in at.values()), default=0.0)
    wide = max((x for x, _ in at.values()), default=0.0) + NODE_W
    height = int(min(560, max(190, (tall + NODE_H) * min(1.0, 1080 / wide) + 110)))
    spec = {
        "animation": False,
        "tooltip": {"confine": True},
        "visualMap": {
            "type": "continuous",
            "min": SQNR_LOW,
            "max": SQNR_HIGH,
            "dimension": 0,
            "inRange": {"color": list(SQNR_SCALE)},
            "text": [f"{SQNR_HIGH:.0f} dB or more", f"{SQNR_LOW:.0f} dB or less"],
            "orient": "horizontal",
            "left": 0,
            "bottom": 0,
            "itemHeight": 120,
            "itemWidth": 10,
            "calculable": False,
            "hoverLink": False,
        },
        "series": [
            {
                "type": "graph",
                "layout": "none",
                "roam": True,
                "scaleLimit": {"min": 0.5, "max": 12},
                "left": 50,
                "right": 50,
                "top": 40,
                "bottom": 64,
                "selectedMode": "single",
                "select": {"itemStyle": {"borderColor": "#6d6cf0", "borderWidth": 3}},
                "emphasis": {"focus": "adjacency", "label": {"show": True}},
                "symbol": "roundRect",
                "edgeSymbol": ["none", "arrow"],
                "edgeSymbolSize": 6,
                "lineStyle": {"color": "#9aa1b3", "width": 1.2, "opacity": 0.8},
                "label": {"show": True, "fontSize": 9 if dense else 11, "lineHeight": 14, "color": "#16181f"},
                "data": nodes,
                "links": [
                    {"source": index[a], "target": index[b], **_bend(at[a], at[b])}
                    for a, b in edges
                    if a in index and b in index
                ],
            }
        ],
    }
    return spec, height


def _node(row: Row, at: tuple[float, float], selected: bool, dense: bool) -> dict[str, Any]:
    sqnr = row.cumulative_sqnr
    figure = decibel(sqnr) if sqnr is not None else ("float" if row.precision == "float" else "–")
    name = _cut(row.op.replace(" + ", "+"), 8 if dense else 13)
    node: dict[str, Any] = {
        "name": plain(row.name),
        "x": at[0],
        "y": at[1],
        "symbolSize": [46, 22] if dense else [NODE_W - 12, NODE_H],
        "label": {"formatter": name if dense else f"{name}\n{figure}"},
        "tooltip": {"formatter": f"{{b}}<br>{_text(row.op)} · cumulative SQNR {figure} · cosine {row.cosine_text}"},
    }
    if sqnr is None:
        node |= {"visualMap": False, "itemStyle": {"color": UNKNOWN}}
    else:
        node["value"] = round(min(sqnr, 99.0), 2)
    if row.flag:
        node["itemStyle"] = {**node.get("itemStyle", {}), "borderColor": "#e5484d", "borderWidth": 2}
    return node


def _cut(name: str, length: int) -> str:
    name = plain(name).replace("{", "(").replace("}", ")")
    return name if len(name) <= length else name[: length - 1] + "…"


def _text(name: str) -> str:
    return "".join(c for c in name if c.isalnum() or c in " +_.")


def _bend(a: tuple[float, float], b: tuple[float, float]) -> dict[str, Any]:
    """Curve edges that would run through other nodes, or back to the start of the next row."""
    if b[0] <= a[0]:
        return {"lineStyle": {"curveness": 0.0, "opacity": 0.35, "type": "dashed"}}
    return {"lineStyle": {"curveness": 0.28}} if b[0] - a[0] > STEP_X * 1.5 else {}
