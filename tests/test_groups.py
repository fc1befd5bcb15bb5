"""Layers are grouped by their names, or by what repeats, and the little that is shown tells them apart."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantscope.ui.content.groups import FLAT, LEAST, SHOWN, Grouping, grouped, opened, repetitions
from quantscope.ui.content.names import parts, shortened, tails

WORDS = st.sampled_from(["layer", "block_1", "0", "1", "17", "q", "Conv", "a", "x_2_y", ""])
NAMES = st.lists(WORDS, min_size=1, max_size=5).flatmap(
    lambda words: st.sampled_from(["/", ".", "::"]).map(lambda joint: joint.join(words))
)
MODELS = st.lists(NAMES, unique=True, min_size=1, max_size=160)


def members(grouping: Grouping, group: int) -> list[int]:
    """Layers in a group, however deep."""

    def inside(at: int) -> bool:
        while at >= 0:
            if at == group:
                return True
            at = grouping.groups[at].parent
        return False

    return [layer for layer, at in enumerate(grouping.of) if inside(at)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layer.0.q.mm", ["layer", "0", "q", "mm"]),
        ("/model/layers.3/attn/MatMul", ["model", "layers", "3", "attn", "MatMul"]),
        ("block_1_expand", ["block_1", "expand"]),
        ("conv2_block1_1_conv", ["conv2", "block1", "1_conv"]),
        ("conv2d_12", ["conv2d_12"]),
        ("a/b/Relu6;a/b/bn/Fused;c", ["a", "b", "Relu6"]),
        ("node::inner", ["node", "inner"]),
        ("...", ["..."]),
        ("", [""]),
        (";x", [";x"]),
    ],
)
def test_names_have_parts(name: str, expected: list[str]) -> None:
    found = parts(name)
    assert [part.text for part in found] == expected
    assert [name[part.start : part.end] for part in found] == expected


@given(st.text(max_size=60))
def test_parts_are_pieces_of_the_name_in_order(name: str) -> None:
    found = parts(name)
    assert found
    assert all(name[part.start : part.end] == part.text for part in found)
    assert all(a.end <= b.start for a, b in pairwise(found))


def test_a_name_of_ten_thousand_digits_is_no_work() -> None:
    assert len(parts("a" + "1" * 10_000 + "_" * 5000)) == 1


@given(MODELS)
def test_every_layer_is_in_its_groups_and_these_are_large_enough(names: list[str]) -> None:
    grouping = grouped(names, ["Conv + Relu"] * len(names))
    assert len(grouping.of) == len(grouping.labels) == len(names)
    assert all(group.parent < at for at, group in enumerate(grouping.groups))
    assert len({group.path for group in grouping.groups}) == len(grouping.groups)
    if len(names) <= FLAT:
        assert not grouping.groups
    for at in range(len(grouping.groups)):
        assert len(members(grouping, at)) >= LEAST
    for (group, label), count in Counter(zip(grouping.of, grouping.labels, strict=True)).items():
        alike = [
            n
            for n, g, known in zip(names, grouping.of, grouping.labels, strict=True)
            if (g, known) == (group, label)
        ]
        assert count == 1 or len({tuple(part.text for part in parts(n)) for n in alike}) == 1


@given(MODELS)
def test_no_more_is_open_at_first_than_can_be_taken_in(names: list[str]) -> None:
    grouping = grouped(names, ["Add"] * len(names))
    first = set(opened(grouping))
    assert all(grouping.groups[at].parent in {-1, *first} for at in first)
    if first:
        closed = [a for a, g in enumerate(grouping.groups) if a not in first and g.parent in {-1, *first}]
        assert len(closed) + sum(at in {-1, *first} for at in grouping.of) <= SHOWN


def test_a_deep_encoder_opens_as_its_blocks() -> None:
    inside = ("q.mm", "q.add", "k.mm", "k.add", "att", "out", "ln", "f1", "gelu", "f2")
    names = ["emb", *(f"layer.{i}.{name}" for i in range(90) for name in inside), "logits"]
    grouping = grouped(names, ["MatMul"] * len(names))
    assert [g.label for g in grouping.groups] == [f"layer.{i}" for i in range(90)]
    assert opened(grouping) == []
    assert grouping.labels[:3] == ("emb", "q.mm", "q.add")
    assert grouping.of[0] == grouping.of[-1] == -1


def test_numbered_names_and_prefixes_of_all_group_nothing() -> None:
    names = [f"model/{op}.{i}" for i in range(20) for op in ("Conv", "Relu", "Add", "Mul")]
    ops = [name.split("/")[1].split(".")[0] for name in names]
    grouping = grouped(names, ops)
    assert {group.label for group in grouping.groups} <= {f"block {i}" for i in range(1, 21)}


def test_what_repeats_is_a_block_where_names_say_nothing() -> None:
    ops = ["Input", "Conv", *(["Conv", "Conv", "Conv", "Add"] * 24), "Pool", "Gemm"]
    grouping = grouped([f"n{i}" for i in range(len(ops))], ops)
    blocks = [at for at, group in enumerate(grouping.groups) if group.label.startswith("block ")]
    assert len(blocks) == 24
    assert all(
        [ops[i] for i in members(grouping, at)] == ["Conv", "Conv", "Conv", "Add"] for at in blocks[1:-1]
    )


def test_layers_without_any_order_are_cut_into_handy_groups() -> None:
    ops = [f"Op{i * i % 101}" for i in range(100)]
    grouping = grouped([f"n{i}" for i in range(100)], ops)
    assert next(group.label for group in grouping.groups) == "layers 1–20"
    assert sum(len(members(grouping, at)) for at in range(len(grouping.groups))) == 100


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200))
def test_repetitions_cut_a_sequence_without_gaps(codes: list[int]) -> None:
    found = repetitions(np.asarray(codes))
    assert [start for start, _, _ in found] == [0, *(end for _, end, _ in found[:-1])]
    assert found[-1][1] == len(codes)
    assert all(start < end for start, end, _ in found)


@given(st.lists(NAMES, unique=True, max_size=40), st.integers(8, 30))
def test_shortened_names_fit_and_differ_as_far_as_their_tails_do(names: list[str], length: int) -> None:
    found = shortened(names, length)
    assert all(len(name) <= length for name in found)
    assert all(
        short == name
        for short, name in zip(found, names, strict=True)
        if len(name) <= length and names.count(name) == 1 and found.count(short) == 1
    )


def test_long_names_of_one_module_stay_apart() -> None:
    start, end = "StatefulPartitionedCall/sequential/", "/FusedBatchNormV3;StatefulPartitionedCall/conv"
    names = [f"{start}block_{i}_expand{end}" for i in range(12)]
    assert shortened(names, 24)[3] == "…block_3_expand/FusedBa…"
    assert len(set(shortened(names, 24))) == 12
    assert shortened([f"{name};{i}" for i, name in enumerate(["long/same/name"] * 3)], 12)[1].endswith("1")
    assert tails(["a/b/c", "a/x/c", "d"]) == ["b/c", "x/c", "d"]


def test_names_that_nest_without_end_are_grouped_all_the_same() -> None:
    names = [f"{'/'.join(['a'] * 1500)}/{at}/b" for at in range(80)]
    found = grouped(names, ["Add"] * 80)
    assert len(found.of) == 80
