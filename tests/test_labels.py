"""Labels of samples and of their positions: what fits a model, what is said of the rest, and the figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantscope.core.data import Samples, open_samples
from quantscope.core.data.sources import IGNORED, scoring, wrong_labels
from quantscope.core.data.sources.labels import fit_labels
from quantscope.core.errors import DataError
from quantscope.core.evaluate import compare
from quantscope.core.evaluate.positions import count_positions, mean_iou
from quantscope.core.evaluate.scores import accuracy
from quantscope.core.model import Model, load_model
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from tests.graphs import model, node, randn, value
from tests.interfaces import save
from tests.networks import Net
from tests.quantizing import statistics_of
from tests.sessions import session as open_session
from tests.support import Run

RNG = np.random.default_rng(5)
FAST = {"layers": False, "latency": False}


def map_proto(classes: int = 5, last: bool = False, batch: int | str = "N") -> onnx.ModelProto:
    """A network of two convolutions that scores each pixel of x (N, 3, 8, 8)."""
    n = Net(3)
    y = n.add("Relu", [n.conv("x", "c1", 3, 8)], "r1")
    y = n.conv(y, "scores", 8, classes, k=1)
    if last:
        n.add("Transpose", [y], "y", perm=[0, 2, 3, 1])
    else:
        n.add("Identity", [y], "y")
    shape = [batch, 8, 8, classes] if last else [batch, classes, 8, 8]
    return n.model({"x": [batch, 3, 8, 8]}, {"y": shape})


def token_proto(classes: int = 6, length: int | str = "S") -> onnx.ModelProto:
    """Scores of each token of x (N, S): rows of a table, and a product."""
    nodes = [node("Gather", ["table", "x"], ["e"]), node("MatMul", ["e", "w"], ["y"], name="head")]
    weights = {"table": randn(11, 8), "w": randn(8, classes)}
    inputs = [value("x", ["N", length], onnx.TensorProto.INT64)]
    return model(nodes, inputs, [value("y", ["N", length, classes])], weights)


def loaded(proto: onnx.ModelProto) -> Model:
    return load_model(proto.SerializeToString())


def first_classes(proto: onnx.ModelProto, x: np.ndarray, axis: int) -> np.ndarray:
    return open_session(proto).run(None, {"x": x})[0].argmax(axis=axis)


def opened(folder: Path, proto: onnx.ModelProto, x: np.ndarray, labels: np.ndarray, **how: object) -> Samples:
    return open_samples(save(folder / "a.npz", x=x, labels=labels), loaded(proto), **how)  # type: ignore[arg-type]


def quantized(proto: onnx.ModelProto, samples: Samples) -> onnx.ModelProto:
    known = loaded(proto)
    return quantize_model(known, resolve(Recipe(), statistics_of(known, list(samples)), known))


def iou_twin(truth: np.ndarray, found: np.ndarray, classes: int) -> float:
    """Mean IoU from sets of positions, one class after another."""
    shares = []
    for c in range(classes):
        a, b = set(np.flatnonzero(truth == c).tolist()), set(np.flatnonzero(found == c).tolist())
        if a | b:
            shares.append(len(a & b) / len(a | b))
    return float(np.mean(shares))


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("batch", ["N", 4])
def test_maps_have_top1_and_mean_iou_over_pixels(tmp_path: Path, last: bool, batch: int | str) -> None:
    proto, x = map_proto(last=last, batch=batch), RNG.standard_normal((6, 3, 8, 8)).astype(np.float32)
    axis = 3 if last else 1
    f = first_classes(map_proto(last=last), x, axis)
    labels = np.where(RNG.random(f.shape) < 0.7, f, RNG.integers(0, 5, f.shape)).astype(np.uint8)
    labels[labels == 3] = 0  # a class that only predictions hold
    labels[RNG.random(f.shape) < 0.2] = 255
    samples = opened(tmp_path, proto, x, labels)
    assert any("255 is taken for 'no class'" in warning for warning in samples.warnings)
    q_proto = quantized(proto, samples)
    found = compare(loaded(proto), q_proto, samples, threads=2, **FAST).accuracy
    assert found is not None
    known = labels != 255
    outputs = [open_session(q_proto).run(None, dict(sample))[0] for sample in samples]
    q = np.concatenate(outputs)[:6].argmax(axis=axis)
    assert (found.positions, found.rows, found.float_top5) == (True, int(known.sum()), None)
    assert found.float_top1 == pytest.approx((f == labels)[known].mean())
    assert found.quantized_top1 == pytest.approx((q == labels)[known].mean())
    assert found.agreement == pytest.approx((f == q)[known].mean())
    assert found.float_miou == pytest.approx(iou_twin(labels[known], f[known], 5))
    assert found.quantized_miou == pytest.approx(iou_twin(labels[known], q[known], 5))
    assert found.float_miou < found.float_top1


def test_tokens_have_top1_over_positions(tmp_path: Path) -> None:
    proto, x = token_proto(), RNG.integers(0, 11, (6, 7))
    f = first_classes(proto, x, 2)
    labels = np.where(RNG.random(f.shape) < 0.7, f, RNG.integers(0, 6, f.shape))
    labels[:, 5:] = -100
    samples = opened(tmp_path, proto, x, labels)
    assert samples.warnings == ()
    found = compare(loaded(proto), quantized(proto, samples), samples, **FAST).accuracy
    assert found is not None
    assert (found.rows, found.positions, found.float_miou) == (30, True, None)
    assert found.float_top1 == pytest.approx((f == labels)[:, :5].mean())


def test_samples_of_different_lengths_keep_their_labels(tmp_path: Path) -> None:
    proto = token_proto()
    right = rows = 0
    for number, length in enumerate((4, 7, 5)):
        x = RNG.integers(0, 11, (2, length))
        labels = RNG.integers(0, 6, (2, length))
        save(tmp_path / f"{number}.npz", x=x, labels=labels)
        right += int((first_classes(proto, x, 2) == labels).sum())
        rows += labels.size
    samples = open_samples(tmp_path, loaded(proto))
    found = compare(loaded(proto), proto, samples, **FAST).accuracy
    assert found is not None
    assert (found.rows, found.float_top1) == (rows, pytest.approx(right / rows))
    turned = samples.select([5, 0, 3, 2, 1, 4])
    again = compare(loaded(proto), proto, turned, **FAST).accuracy
    assert again is not None
    assert again.float_top1 == found.float_top1


def test_a_value_may_be_named_that_is_no_class(tmp_path: Path) -> None:
    proto, x = map_proto(), RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)
    labels = first_classes(proto, x, 1)
    labels[labels == 2] = 9
    assert "labels go from 0 to 9" in opened(tmp_path, proto, x, labels).warnings[-1]
    samples = opened(tmp_path, proto, x, labels, ignore_label=9)
    found = compare(loaded(proto), proto, samples, **FAST).accuracy
    assert found is not None
    assert (found.rows, found.float_top1) == (int((labels != 9).sum()), 1.0)
    # 255 is a class where the model has so many, or where another value was named.
    labels[:] = 255
    many = opened(tmp_path, map_proto(300), x, labels)
    assert many.labels is not None
    assert (int(many.labels.max()), many.warnings) == (255, ())
    assert "labels go from 255 to 255" in opened(tmp_path, proto, x, labels, ignore_label=9).warnings[-1]


def test_classes_of_samples_may_be_unknown_too(tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 5])], [value("y", ["N", 4])],
                  {"w": randn(5, 4)})  # fmt: skip
    x = RNG.standard_normal((6, 5)).astype(np.float32)
    labels = first_classes(proto, x, 1)
    labels[2:4] = -100
    found = compare(loaded(proto), proto, opened(tmp_path, proto, x, labels), **FAST).accuracy
    assert found is not None
    assert (found.rows, found.float_top1, found.positions) == (4, 1.0, False)


def test_what_the_model_gives_decides_what_labels_are(tmp_path: Path) -> None:
    x = RNG.integers(0, 11, (4, 3))
    one_hot = np.eye(3, dtype=np.int64)[[0, 2, 1, 0]]
    tokens = opened(tmp_path, token_proto(length=3), x, one_hot)
    assert tokens.labels is not None
    np.testing.assert_array_equal(tokens.labels, one_hot)
    images = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)
    for shape in ((4, 1, 8, 8), (4, 8, 8, 1)):
        maps = opened(tmp_path, map_proto(), images, np.ones(shape, np.uint8))
        assert maps.labels is not None
        assert maps.labels.shape == (4, 8, 8)


def two_heads(first: list[object], second: list[object]) -> Model:
    """Outputs y and z of these shapes; of nothing but shapes is anything asked."""
    x = value("x", ["N", 3])
    nodes = [node("Identity", ["x"], ["a"]), node("Identity", ["x"], ["b"])]
    proto = model(nodes, [x], [value("a", ["N", 3]), value("b", ["N", 3])], {})
    known = loaded(proto)
    shapes = (tuple(first), tuple(second))
    return replace(
        known, outputs=tuple(replace(o, shape=s) for o, s in zip(known.outputs, shapes, strict=True))
    )


def test_features_beside_scores_do_not_take_their_labels() -> None:
    eye = np.eye(5, dtype=np.int64)
    text = two_heads(["N", 5], ["N", "S", 768])  # classes of samples, and features of tokens
    assert fit_labels(eye, text, "labels")[0].tolist() == [0, 1, 2, 3, 4]
    assert fit_labels(np.arange(5)[:, None], text, "labels")[0].shape == (5,)
    assert fit_labels(np.ones((4, 7), np.int64), text, "labels")[0].shape == (4, 7)
    tokens = two_heads(["N", "S", 768], ["N", "S", 9])
    assert "classes 0 to 8" not in wrong_labels(np.full((2, 3), 8), tokens)
    assert scoring({"hidden": 768, "scores": 9}, 8) == "scores"
    assert scoring({"hidden": 768, "scores": 9}, 9) == "hidden"
    assert scoring({"hidden": 768, "scores": 9}, 5000) == "hidden"
    assert scoring({"aux": 21, "main": 21}, 3) == "aux"
    assert scoring({"known": 4, "open": None}, 5) == "open"
    assert scoring({}, 0) is None


def test_labels_that_fit_nothing_are_told_what_would(tmp_path: Path) -> None:
    x = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)
    says = r"shape \(4, 7, 7\); the model takes one class a position, \(N, 8, 8\), for 'y' \(N, 5, 8, 8\)"
    labels = np.zeros((4, 7, 7), np.int64)
    with pytest.raises(DataError, match=says):
        opened(tmp_path, map_proto(), x, labels)
    samples = opened(tmp_path, map_proto(), x, labels, labels_needed=False)
    assert samples.labels is None
    assert samples.warnings[0].startswith("labels not used: a.npz: labels have the shape (4, 7, 7)")
    with pytest.raises(DataError, match=says):  # those that were named must fit
        open_samples(tmp_path / "a.npz", loaded(map_proto()), labels=labels, labels_needed=False)


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros(3, np.int64),
        np.full(4, 0.5),
        np.full(4, 99),
        np.array(["a", "b", "c", "d"]),
        np.array([{}] * 4),
        np.array(3),
        np.full(4, np.nan),
        np.zeros((4, 0), np.int64),
        np.ones(4, complex),
        np.full((4, 8, 8), 17),
        np.full((4, 8, 8), 1e30),
    ],
    ids=lambda a: f"{a.dtype} {a.shape}",
)
def test_calibration_needs_no_labels(tmp_path: Path, labels: np.ndarray) -> None:
    proto = map_proto() if labels.ndim == 3 else model(
        [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])],
        [value("x", ["N", 3, 8, 8])], [value("y", ["N", 5])], {"w": randn(192, 5)},
    )  # fmt: skip
    x = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)
    samples = opened(tmp_path, proto, x, labels, labels_needed=False)
    assert samples.labels is None
    assert len(samples) == 4
    (said,) = samples.warnings
    assert said.startswith("labels not used: ")


def test_nan_is_never_right() -> None:
    f = RNG.standard_normal((2, 3, 4, 4))
    labels = f.argmax(axis=1)
    q = f.copy()
    q[0, 1, 2, 2] = np.nan
    counts, overlap = count_positions(f, q, labels, axis=1)
    assert counts.tolist() == [32, 31, 32, 0, 31, 0]
    assert overlap is not None
    assert int(overlap[0].sum()) == 32
    assert int(overlap[4].sum()) == 31
    found = accuracy([counts], output="y", classes=3, labelled=True, positions=True, overlap=overlap)
    assert found is not None
    assert found.float_miou == 1.0
    assert found.quantized_miou is not None
    assert found.quantized_miou < 1.0


def test_classes_that_nothing_holds_are_left_out() -> None:
    truth, right, predicted = np.array([4, 0, 2]), np.array([3, 0, 0]), np.array([5, 0, 1])
    assert mean_iou(truth, right, predicted) == pytest.approx((3 / 6 + 0 / 3) / 2)
    assert mean_iou(truth * 0, right * 0, predicted * 0) is None


def test_labels_of_no_output_leave_agreement(tmp_path: Path) -> None:
    """An output whose shape the model does not give turns out to be another one."""
    proto, x = token_proto(), RNG.integers(0, 11, (3, 4))
    samples = opened(tmp_path, proto, x, np.zeros((3, 4), np.int64))
    assert samples.labels is not None
    other = replace(samples, labels=np.zeros((3, 9), np.int64))
    found = compare(loaded(proto), proto, other, **FAST).accuracy
    assert found is not None
    assert (found.float_top1, found.agreement, found.positions) == (None, 1.0, True)
    padded = np.pad(samples.labels, ((0, 0), (0, 5)), constant_values=IGNORED)
    found = compare(loaded(proto), proto, replace(samples, labels=padded), **FAST).accuracy
    assert found is not None
    assert found.rows == 12


def test_the_command_shows_them(quantscope: Run, tmp_path: Path) -> None:
    proto, x = map_proto(), RNG.standard_normal((24, 3, 8, 8)).astype(np.float32)
    labels = first_classes(proto, x, 1)
    onnx.save(proto, tmp_path / "m.onnx")
    save(tmp_path / "a.npz", x=x, labels=labels)
    words = (
        "quantize",
        tmp_path / "m.onnx",
        "--data",
        tmp_path / "a.npz",
        "-o",
        tmp_path / "q.onnx",
        "--report",
    )
    shown = quantscope(*words, "--method", "minmax", "--no-cache")
    assert shown.code == 0, shown.err
    for name in ("top-1 over positions", "mean IoU", "same first class over positions"):
        assert name in shown.out
    done = quantscope(
        "compare", tmp_path / "m.onnx", tmp_path / "q.onnx", "--data", tmp_path / "a.npz", "--json"
    )
    accuracy_ = done.json["accuracy"]
    assert (accuracy_["float"], accuracy_["float_miou"], accuracy_["positions"]) == (1.0, 1.0, True)
    assert 0.5 < accuracy_["quantized_miou"] <= 1.0
    data = ("--data", tmp_path / "a.npz", "--no-cache")
    tuned = quantscope("tune", tmp_path / "m.onnx", *data, "-o", tmp_path / "r.yaml", "--max-drop", 50)
    assert tuned.code == 0, tuned.err
    assert "points of top-1 over positions below float" in tuned.out


def test_data_with_labels_of_another_task_are_calibrated(quantscope: Run, tmp_path: Path) -> None:
    proto, x = map_proto(), RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)
    onnx.save(proto, tmp_path / "m.onnx")
    save(tmp_path / "a.npz", x=x, labels=np.zeros((4, 20, 5)))
    given = (tmp_path / "m.onnx", "--data", tmp_path / "a.npz")
    report = ("-o", tmp_path / "q.onnx", "--method", "minmax", "--report")
    for words in (("calibrate", *given, "-o", tmp_path / "s.npz"), ("quantize", *given, *report)):
        done = quantscope(*words, "--no-cache")
        assert done.code == 0, done.err
        assert "labels not used: a.npz: labels have the shape (4, 20, 5)" in done.err
    for words in (
        ("compare", given[0], *given),
        ("tune", *given, "--max-drop", 1, "-o", tmp_path / "r.yaml"),
    ):
        done = quantscope(*words)
        assert done.code == 2
        assert "labels have the shape (4, 20, 5)" in done.err


def test_labels_that_are_all_ignored_are_not_called_misshapen(tmp_path: Path, quantscope: Run) -> None:
    x = RNG.integers(0, 11, (4, 7))
    data, path = save(tmp_path / "a.npz", x=x), tmp_path / "m.onnx"
    onnx.save(token_proto(length=7), path)
    np.save(tmp_path / "none.npy", np.full((4, 7), IGNORED))
    labels = ("--data", data, "--labels", tmp_path / "none.npy")
    done = quantscope("compare", path, path, *labels)
    assert done.code == 0, done.err
    assert "warning: the labels are not used: all of them are the ignore label" in done.err
    assert "the shape" not in done.err
    done = quantscope("tune", path, *labels, "--max-drop", 1, "-o", tmp_path / "r.yaml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--max-drop: all labels are the ignore label" in done.err


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.full((4, 7), 9), "l.npy: labels go from 9 to 9, but the model has classes 0 to 5 (where one of"),
        (np.zeros((4, 7, 6), int) + 2, "l.npy: labels have the shape (4, 7, 6); the model takes one class"),
        (np.zeros(28, int), "l.npy: 28 labels for 4 samples: give one for each"),
    ],
    ids=["range", "shape", "count"],
)
def test_messages_about_labels_name_their_file(
    tmp_path: Path, quantscope: Run, labels: np.ndarray, says: str
) -> None:
    onnx.save(token_proto(length=7), tmp_path / "m.onnx")
    data = save(tmp_path / "a.npz", x=RNG.integers(0, 11, (4, 7)))
    np.save(tmp_path / "l.npy", labels)
    words = ("--data", data, "--labels", tmp_path / "l.npy", "--method", "minmax", "-o", tmp_path / "q.onnx")
    done = quantscope("quantize", tmp_path / "m.onnx", *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert says in done.err
    assert "a.npz" not in done.err
    assert ("name it with --ignore-label or ignore_label=" in done.err) == ("go from" in says)


def test_labels_that_fit_only_with_the_first_axis_as_classes_are_noted(tmp_path: Path) -> None:
    x = RNG.integers(0, 11, (4, 7))
    turned = opened(tmp_path, token_proto(classes=5, length=7), x, np.zeros((4, 5), int))
    (said,) = turned.warnings
    assert said.endswith(
        "axis 1 of 'y' (N, 7, 5) is read as 7 classes, since the labels (4, 5) are of 5 positions"
    )
    assert opened(tmp_path, token_proto(classes=5, length=7), x, np.zeros((4, 7), int)).warnings == ()
