"""Layers of a large model in groups that can be folded: by the parts of their names, else by what repeats."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from quantscope.ui.content.names import Part, parts, shortened, tails

FLAT = 60  # layers that are shown without groups
LEAST = 3  # layers of a group; smaller ones only cost room
MANY = 60  # layers side by side in which repeated structure is looked for
SHOWN = 120  # boxes at first, at most: more are no longer taken in
WHOLE = 0.6  # of its parent's layers: a group that has more says nothing, its own groups do
ALL = 0.9  # the same for a group without groups inside
MOST_LAYERS = 400  # of one repetition
REPEATS = 0.2  # of the layers that must repeat, for repetitions to be groups
LABEL = 19  # characters of a layer's label
DEEPEST = 40  # groups one in another; names that nest further are one group there
MODELS = 4  # whose groups are remembered
CHUNK = 24  # layers of a group where nothing else tells them apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Layers that stand together, and groups inside."""

    path: str  # tells it from all others, also when the page is drawn again
    name: str  # what its layers' names begin with; its label where names do not tell
    label: str  # what tells it from the groups beside it
    parent: int  # place of the group around it; -1 = none


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """The groups of a model; those around others come first."""

    groups: tuple[Group, ...]
    of: tuple[int, ...]  # for each layer, the innermost group it is in; -1 = none
    labels: tuple[str, ...]  # for each layer, what tells it from the others of its group


@dataclass(slots=True)
class _Node:
    """A group while groups are made."""

    path: str
    name: str
    label: str
    depth: int  # parts of the names that its layers share
    layers: list[int] = field(default_factory=list)  # directly in it
    inside: dict[str, "_Node"] = field(default_factory=dict)

    def count(self) -> int:
        return len(self.layers) + sum(node.count() for node in self.inside.values())


def grouped(names: Sequence[str], ops: Sequence[str]) -> Grouping:
    """The groups of layers; those of the last few models are remembered, for pages are drawn again and again.

    Args:
        names: Of the layers, in the order of execution.
        ops: Their operators.
    """
    return _grouped(tuple(names), tuple(ops))


@lru_cache(maxsize=MODELS)
def _grouped(names: tuple[str, ...], ops: tuple[str, ...]) -> Grouping:
    if len(names) <= FLAT:
        return Grouping(groups=(), of=(-1,) * len(names), labels=tuple(_labels(names, ops)))
    split = [parts(name) for name in names]
    root = _tree(names, ops, split)
    for node in [root, *_all(root)]:
        _dissolve(node)
    _unwrap(root)
    codes = np.unique(np.asarray(ops, object).astype(str), return_inverse=True)[1]
    for node in [root, *_all(root)]:
        _by_structure(node, codes)
    return _flat(root, names, ops)


def opened(grouping: Grouping, shown: int = SHOWN) -> list[int]:
    """Groups that are open at first: those side by side all or none, as long as at most `shown` boxes are."""
    boxes: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for at in grouping.of:
        boxes[at] = boxes.get(at, 0) + 1
    for at, group in enumerate(grouping.groups):
        children.setdefault(group.parent, []).append(at)
        boxes[group.parent] = boxes.get(group.parent, 0) + 1
    visible, found, waiting = boxes.get(-1, 0), list[int](), [-1]
    while waiting:
        inner = children.get(waiting.pop(0), [])
        more = sum(boxes[at] - 1 for at in inner)
        if inner and visible + more <= shown:
            visible += more
            found += inner
            waiting += inner
    return sorted(found)


def _tree(names: Sequence[str], ops: Sequence[str], split: Sequence[Sequence[Part]]) -> _Node:
    """Groups as the names nest; a part that is an operator, as in `Conv.12`, groups what is far apart."""
    root = _Node("", "", "", 0)
    kinds = {kind for op in ops for kind in op.lower().split(" + ")}
    for at, (name, own) in enumerate(zip(names, split, strict=True)):
        node = root
        for depth, part in enumerate(own[:-1][:DEEPEST]):
            if part.text.lower() in kinds:
                break
            path = name[: part.end]
            inner = node.inside.get(part.text)
            if inner is None:
                first = own[depth - 1] if depth and part.text.isdecimal() else part
                inner = node.inside[part.text] = _Node(path, path, name[first.start : part.end], depth + 1)
            node = inner
        node.layers.append(at)
    return root


def _all(node: _Node) -> Iterator[_Node]:
    """Groups inside, the innermost first."""
    for inner in list(node.inside.values()):
        yield from _all(inner)
        yield inner


def _dissolve(node: _Node) -> None:
    """Small groups lose their frame, and one that has nothing but a group takes its place."""
    for key, inner in list(node.inside.items()):
        while len(inner.inside) == 1 and not inner.layers:
            (only,) = inner.inside.values()
            label = only.label if only.label.startswith(inner.label) else f"{inner.label}/{only.label}"
            inner = node.inside[key] = _Node(
                only.path, only.name, label, only.depth, only.layers, only.inside
            )
        if inner.count() < LEAST:
            node.layers += _layers(inner)
            del node.inside[key]
    node.layers.sort()


def _layers(node: _Node) -> list[int]:
    return [*node.layers, *(at for inner in node.inside.values() for at in _layers(inner))]


def _unwrap(root: _Node) -> None:
    """Groups that hold nearly the whole model give way to what is in them."""
    while True:
        total = root.count()
        whole = [
            (key, node)
            for key, node in root.inside.items()
            if node.count() > (WHOLE if node.inside else ALL) * total
        ]
        if not whole:
            return
        ((key, node),) = whole
        del root.inside[key]
        root.layers = sorted([*root.layers, *node.layers])
        root.inside |= {inner.path: inner for inner in node.inside.values()}


def _by_structure(node: _Node, codes: npt.NDArray[np.intp]) -> None:
    """Where names leave many layers side by side, those of each repetition become a group."""
    if len(node.layers) <= MANY:
        return
    layers, node.layers = node.layers, []
    blocks, number = repetitions(codes[layers]), 0
    for start, end, repeats in blocks:
        if not repeats and end - start < LEAST:
            node.layers += layers[start:end]
            continue
        number += repeats
        label = f"block {number}" if repeats else f"layers {layers[start] + 1}–{layers[end - 1] + 1}"
        path = f"{node.path}#{start}"
        node.inside[path] = _Node(path, label, label, node.depth, layers[start:end])


def repetitions(codes: npt.NDArray[np.intp]) -> list[tuple[int, int, bool]]:
    """A sequence cut where it repeats itself.

    Returns:
        Start, end and whether it repeats, for each part; parts that do not are of `CHUNK` elements at most.
    """
    count, best = len(codes), (0, 0, 0)  # elements covered, start, period
    for period in range(LEAST, min(MOST_LAYERS, count // 2) + 1):
        start, length = _longest_run(codes[period:] == codes[:-period])
        covered = (length + period) // period * period if length >= period else 0
        if covered > best[0] * 1.05:  # a longer period must cover more, or it is a multiple
            best = covered, start, period
    covered, start, period = best
    if covered < max(REPEATS * count, 2 * LEAST):
        cuts = np.linspace(0, count, -(-count // CHUNK) + 1).astype(int)
        return [(int(a), int(b), False) for a, b in pairwise(cuts)]
    middle = [(at, at + period, True) for at in range(start, start + covered, period)]
    end = start + covered
    rest = [(a + end, b + end, repeats) for a, b, repeats in _rest(codes[end:])]
    return [*_rest(codes[:start]), *middle, *rest]


def _rest(codes: npt.NDArray[np.intp]) -> list[tuple[int, int, bool]]:
    return repetitions(codes) if len(codes) else []


def _longest_run(equal: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Start and length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], equal, [False])).astype(np.int8)))
    if not edges.size:
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    at = int(lengths.argmax())
    return int(edges[2 * at]), int(lengths[at])


def _flat(root: _Node, names: Sequence[str], ops: Sequence[str]) -> Grouping:
    """The tree as a list, outer groups first, in the order of execution."""
    groups: list[Group] = []
    of, labels = [-1] * len(names), [""] * len(names)

    def walk(node: _Node, place: int) -> None:
        own = [names[at] for at in node.layers]
        known = _labels(own, [ops[i] for i in node.layers], node.depth)
        for at, label in zip(node.layers, known, strict=True):
            of[at], labels[at] = place, label
        for inner in sorted(node.inside.values(), key=lambda inner: min(_layers(inner))):
            groups.append(Group(path=inner.path, name=inner.name, label=inner.label, parent=place))
            walk(inner, len(groups) - 1)

    walk(root, -1)
    return Grouping(groups=tuple(groups), of=tuple(of), labels=tuple(labels))


def _labels(names: Sequence[str], ops: Sequence[str], depth: int = 0) -> list[str]:
    """The last parts of names; one that only repeats the operator, or is a number, has one more before it.

    The first `depth` parts are the group's, and are not repeated without need.
    """
    least = []
    for name, op in zip(names, ops, strict=True):
        own = parts(name)
        says_little = own[-1].text.isdecimal() or own[-1].text.lower() in op.lower().split(" + ")
        least.append(min(2 if says_little else 1, max(1, len(own) - depth)))
    return shortened(tails(names, least), LABEL)
