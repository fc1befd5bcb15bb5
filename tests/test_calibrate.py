"""Calibration: against a plain loop, bit-identical in every arrangement, cancelled."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantscope.core.calibration import calibrate, histogram_of
from quantscope.core.data import Samples, open_samples
from quantscope.core.data.samples import Loads
from quantscope.core.data.sources import random_samples
from quantscope.core.errors import DataError, ModelError
from quantscope.core.model import Model, load_model
from quantscope.core.progress import Cancelled, Progress
from tests.interfaces import model_with
from tests.sessions import options
from tests.sessions import session as open_session

RNG = np.random.default_rng(3)


def network(batch: int | str = "N", size: int | str = 16, seed: int = 0) -> Model:
    """What image networks are made of: convolutions with odd channel counts, Clip, Add, pooling, Gemm."""
    rng = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) * 0.5).astype(np.float32), name)

    conv = {"kernel_shape": [3, 3], "pads": [1] * 4}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", **conv),
        helper.make_node("Clip", ["c1", "zero", "six"], ["r1"], name="clip1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", group=12, **conv),
        helper.make_node("Sigmoid", ["c2"], ["s2"], name="sigmoid"),
        helper.make_node("Conv", ["s2", "w3"], ["c3"], name="conv3"),
        helper.make_node("Add", ["c3", "r1"], ["a3"], name="add"),
        helper.make_node("GlobalAveragePool", ["a3"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["y"], name="gemm"),
    ]
    weights = [weight("w1", 12, 3, 3, 3), weight("b1", 12), weight("w2", 12, 1, 3, 3), weight("b2", 12)]
    weights += [weight("w3", 12, 12, 1, 1), weight("w4", 12, 10), weight("b4", 10)]
    weights += [numpy_helper.from_array(np.float32(v), n) for n, v in (("zero", 0.0), ("six", 6.0))]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return load_model(made.SerializeToString())


IMAGES = RNG.standard_normal((11, 3, 16, 16)).astype(np.float32) * RNG.uniform(0.2, 3, (11, 1, 1, 1)).astype(
    np.float32
)


@pytest.fixture(scope="module")
def model() -> Model:
    return network()


@pytest.fixture
def samples(tmp_path: Path, model: Model) -> Samples:
    np.savez(tmp_path / "data.npz", x=IMAGES)
    return open_samples(tmp_path / "data.npz", model)


def plain(model: Model, images: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """All values of each tensor by a separate session, (samples, …)."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto())
    inputs, outputs = ({v.name for v in values} for values in (proto.graph.input, proto.graph.output))
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in inputs | outputs)
    session = open_session(proto, options(threads=1))
    fetched = [name for name in names if name not in inputs]
    runs = [session.run(fetched, {"x": image[None]}) for image in images]
    return {
        "x": images[:, None],
        **{name: np.stack([run[i] for run in runs]) for i, name in enumerate(fetched)},
    }


# --- what is counted ------------------------------------------------------------------------------------


def test_histograms_hold_what_a_plain_loop_finds(model: Model, samples: Samples) -> None:
    names = list(model.tensors)
    found = calibrate(model, samples, tensors=names, threads=2, cache=False)
    expected = plain(model, IMAGES, names)
    assert list(found.histograms) == names
    assert len(names) >= 8
    for name, values in expected.items():
        histogram = found.histograms[name]
        assert histogram == histogram_of(values), name
        assert histogram.count == values.size
        by_sample = values.reshape(len(IMAGES), -1)
        assert by_sample[histogram.min_sample].min() == values.min() == histogram.min
        assert by_sample[histogram.max_sample].max() == values.max() == histogram.max
    assert (found.samples, found.model_hash, found.data_fingerprint) == (11, model.hash, samples.fingerprint)
    assert (found.synthetic, found.data_source, found.not_finite) == (False, "data.npz", ())


def test_default_tensors_are_those_that_get_scales(model: Model, samples: Samples) -> None:
    found = calibrate(model, samples, cache=False)
    assert {"x", "s2", "a3"} <= set(found.histograms)
    assert not {"c1", "f"} & set(found.histograms)  # between Conv and Clip; a view of the pooled tensor


# --- bit-identical --------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("arrangement", ["npz", "compressed", "folder", "shuffled", "batches"])
def test_no_arrangement_changes_a_bit(tmp_path: Path, model: Model, threads: int, arrangement: str) -> None:
    order = np.random.default_rng(threads).permutation(len(IMAGES))
    np.savez(tmp_path / "plain.npz", x=IMAGES)
    reference = calibrate(model, open_samples(tmp_path / "plain.npz", model), threads=1, cache=False)
    source = tmp_path / "other.npz"
    if arrangement == "npz":
        np.savez(source, x=IMAGES)
    elif arrangement == "compressed":
        np.savez_compressed(source, x=IMAGES)
    elif arrangement == "shuffled":
        np.savez(source, x=IMAGES[order])
    else:
        source = tmp_path / "folder"
        source.mkdir()
        parts = IMAGES if arrangement == "folder" else np.split(IMAGES[order], [1, 4, 9])
        for number, part in enumerate(parts):
            np.save(source / f"{number}.npy", part)
    found = calibrate(model, open_samples(source, model), threads=threads, cache=False)
    assert found == reference
    assert found.digest() == reference.digest()
    if arrangement in ("npz", "compressed", "folder"):
        assert found.data_fingerprint == reference.data_fingerprint
        for name, histogram in found.histograms.items():
            assert histogram.max_sample == reference.histograms[name].max_sample
    assert found != calibrate(model, open_samples(tmp_path / "plain.npz", model).take(10), cache=False)


def test_rows_that_fill_up_a_fixed_batch_are_not_counted(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=IMAGES)
    free, fixed = network(), network(batch=4)
    expected = calibrate(
        free, open_samples(tmp_path / "data.npz", free), tensors=list(free.tensors), cache=False
    )
    found = calibrate(
        fixed, open_samples(tmp_path / "data.npz", fixed), tensors=list(free.tensors), cache=False
    )
    assert found.samples == 11
    for name, histogram in found.histograms.items():
        assert histogram.count == expected.histograms[name].count
        np.testing.assert_allclose(histogram.max, expected.histograms[name].max, rtol=1e-5)
        np.testing.assert_allclose(histogram.min, expected.histograms[name].min, rtol=1e-5, atol=1e-6)


# --- unusual tensors --------------------------------------------------------------------------------------


def test_samples_of_different_sizes(tmp_path: Path) -> None:
    model = network(size="S")
    for size in (8, 12, 20):
        np.save(tmp_path / f"{size}.npy", RNG.standard_normal((2, 3, size, size)).astype(np.float32))
    found = calibrate(model, open_samples(tmp_path, model), tensors=["x", "s2"], cache=False, threads=2)
    assert found.histograms["s2"].count == 2 * 12 * (64 + 144 + 400)


def test_empty_scalar_and_broken_tensors(tmp_path: Path) -> None:
    """A tensor without elements, one of rank 0, and one with NaN and infinities."""
    nodes = [
        helper.make_node("Slice", ["x", "start", "end"], ["nothing"], name="slice"),
        helper.make_node("ReduceSum", ["x"], ["total"], name="sum", keepdims=0),
        helper.make_node("Log", ["x"], ["log"], name="log"),
        helper.make_node("Concat", ["nothing", "log"], ["joined"], name="concat", axis=0),
        helper.make_node("Mul", ["joined", "total"], ["y"], name="mul"),
    ]
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["M", 3])],
        [numpy_helper.from_array(np.array([0]), "start"), numpy_helper.from_array(np.array([0]), "end")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = load_model(made.SerializeToString())
    np.savez(tmp_path / "d.npz", x=np.float32([[1, 2, 3], [0, -1, 4]]))
    wanted = [name for name in ("nothing", "total", "log") if name in model.tensors]
    found = calibrate(model, open_samples(tmp_path / "d.npz", model), tensors=wanted, cache=False)
    assert {"total", "log"} <= set(wanted)
    assert (found.histograms["total"].count, found.histograms["total"].max) == (2, 6.0)
    log = found.histograms["log"]
    assert (log.count, log.infs, log.nans) == (4, 1, 1)
    assert found.not_finite == ("log",)
    if "nothing" in wanted:
        assert found.histograms["nothing"].count == 0


def test_integer_inputs_are_fed_and_never_counted(tmp_path: Path) -> None:
    model = model_with({"x": (np.float32, ("N", 4)), "ids": (np.int64, ("N", 4)), "sr": (np.int64, ())})
    np.savez(tmp_path / "d.npz", x=np.ones((3, 4), np.float32), ids=np.ones((3, 4), int), sr=np.int64(2))
    found = calibrate(
        model, open_samples(tmp_path / "d.npz", model), tensors=list(model.tensors), cache=False
    )
    assert "x" in found.histograms
    assert not {"ids", "sr"} & set(found.histograms)


def test_half_precision_inputs() -> None:
    model = model_with({"x": (np.float16, ("N", 5))})
    found = calibrate(model, random_samples(model, 4), tensors=list(model.tensors), cache=False)
    assert found.synthetic
    assert 20 in {histogram.count for histogram in found.histograms.values()}


# --- progress, cancel, errors -------------------------------------------------------------------------------


def test_progress_counts_samples_on_the_calling_thread(model: Model, samples: Samples) -> None:
    seen: list[Progress] = []
    threads = set()

    def note(progress: Progress) -> None:
        seen.append(progress)
        threads.add(threading.current_thread())

    calibrate(model, samples, progress=note, threads=3, cache=False)
    assert [p.done for p in seen] == list(range(12))
    assert {p.total for p in seen} == {11}
    assert threads == {threading.current_thread()}


def test_cancel_ends_within_a_sample(model: Model, tmp_path: Path) -> None:
    started: list[int] = []

    def cancel(progress: Progress) -> None:
        if progress.done == 5:
            raise Cancelled

    samples = slow(random_samples(model, 4000), started)
    with pytest.raises(Cancelled):
        calibrate(model, samples, progress=cancel, threads=2, cache_dir=tmp_path)
    assert len(started) <= 5 + 2 * 2 + 2  # two under way, two begun before it was seen, and slack
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("calibrate")]
    assert not list(tmp_path.iterdir())


def slow(samples: Samples, started: list[int]) -> Samples:
    """The same samples, each a few milliseconds later and noted in `started`."""

    class Slow:
        count, batch, rows = samples.feed.count, samples.feed.batch, samples.feed.rows
        digests = samples.feed.digests

        def open(self, indices: Sequence[int]) -> Loads:
            for load in samples.feed.open(indices):
                started.append(1)
                time.sleep(0.004)
                yield load

    return replace(samples, feed=Slow())


@pytest.mark.parametrize("threads", [1, 3])
def test_bad_samples_stop_it_with_their_number(tmp_path: Path, model: Model, threads: int) -> None:
    broken = IMAGES.copy()
    broken[7, 0, 3, 3] = np.nan
    np.savez(tmp_path / "data.npz", x=broken)
    samples = open_samples(tmp_path / "data.npz", model)
    with pytest.raises(DataError, match=r"data\.npz, sample 7: input 'x' holds 1 NaN"):
        calibrate(model, samples, threads=threads, cache=False)


def test_what_the_model_cannot_run_on_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = model_with({"a": (np.float32, ("N", "K")), "b": (np.float32, ("N", "K"))})
    nodes = [helper.make_node("MatMul", ["a", "b"], ["y"], name="product")]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "K"]) for name in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "M"])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = load_model(made.SerializeToString())
    np.savez(tmp_path / "d.npz", a=np.ones((2, 3), np.float32), b=np.ones((2, 3), np.float32))
    with pytest.raises(DataError, match=r"d\.npz: the model cannot run on sample [01]: ") as caught:
        calibrate(model, open_samples(tmp_path / "d.npz", model), tensors=["y"], cache=False)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_wrong_requests(model: Model, samples: Samples) -> None:
    with pytest.raises(ModelError, match="no float tensor 'nope'"):
        calibrate(model, samples, tensors=["nope"], cache=False)
    with pytest.raises(DataError, match="at least one thread"):
        calibrate(model, samples, threads=0, cache=False)
    with pytest.raises(DataError, match="holds no samples"):
        calibrate(model, samples.take(0), cache=False)
    assert calibrate(model, samples, tensors=["x", "x"], cache=False).histograms["x"].count == IMAGES.size


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_is_the_same_for_sixteen_times_as_many_samples() -> None:
    """Peak resident memory of a process of its own, within 5 %."""
    code = (
        "import sys; from pathlib import Path; from tests.test_calibrate import network\n"
        "from quantscope.core.calibration.run import calibrate\n"
        "from quantscope.core.data.opening import random_samples\n"
        "model = network(size=48)\n"
        "calibrate(model, random_samples(model, int(sys.argv[1])), cache=False, threads=2)\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    root = Path(__file__).resolve().parents[1]
    peaks = []
    for count in ("64", "1024"):
        command = [sys.executable, "-c", code, count]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] * 1.05


def test_weights_outside_the_file(tmp_path: Path, model: Model, samples: Samples) -> None:
    onnx.save_model(
        onnx.ModelProto.FromString(model.float_bytes()),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    other = load_model(tmp_path / "m.onnx")
    names = [name for name in other.tensors if name in model.tensors]
    assert len(names) >= 8
    found = calibrate(other, samples, tensors=names, cache=False)
    expected = calibrate(model, samples, tensors=names, cache=False)
    assert found.histograms == expected.histograms
