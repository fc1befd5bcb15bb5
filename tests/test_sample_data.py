"""The sample models and their data: what is stated about them is measured here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from quantscope.sample_data import SAMPLES, Sample
from tests.sessions import options
from tests.sessions import session as open_session

MEGABYTE = 2**20
STUCK = 64.0


def _session(sample: Sample) -> onnxruntime.InferenceSession:
    return open_session(sample.model, options(threads=1))


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(params=list(SAMPLES))
def sample(request: pytest.FixtureRequest) -> Sample:
    return SAMPLES[request.param]


def test_the_table_describes_every_sample(sample: Sample) -> None:
    assert SAMPLES[sample.name] is sample
    for text in (sample.title, sample.description, sample.story):
        assert text.strip() == text != ""
    assert len({other.title for other in SAMPLES.values()}) == len(SAMPLES)


def test_model_is_valid_and_its_names_are_readable(sample: Sample) -> None:
    model = onnx.load(sample.model)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert all(name and name == name.strip() and "/" not in name and ":" not in name for name in names)
    known = {info.name for info in model.graph.value_info}
    produced = {output for node in model.graph.node for output in node.output}
    assert produced - {output.name for output in model.graph.output} == known


def test_data_fit_the_model(sample: Sample) -> None:
    (node,) = _session(sample).get_inputs()
    assert node.shape[0] == "N"
    for path, count in ((sample.calibration, 192), (sample.evaluation, 1000)):
        arrays = _load(path)
        assert set(arrays) == {node.name, "labels"}
        x, labels = arrays[node.name], arrays["labels"]
        assert x.dtype == np.float32
        assert x.shape == (count, *node.shape[1:])
        assert labels.dtype == np.int64
        assert labels.shape == (count,)
        assert set(labels) == set(range(10))
        grey = x[x != STUCK]
        assert grey.min() == 0.0
        assert grey.max() == 1.0
        np.testing.assert_array_equal(x * 16, np.round(x * 16))


def test_stated_float_accuracy_is_the_measured_one(sample: Sample) -> None:
    arrays = _load(sample.evaluation)
    session = _session(sample)
    name = session.get_inputs()[0].name
    (logits,) = session.run(None, {name: arrays[name]})
    assert np.mean(logits.argmax(axis=1) == arrays["labels"]) == pytest.approx(
        sample.float_accuracy, abs=1e-4
    )


def test_batch_size_is_free(sample: Sample) -> None:
    arrays = _load(sample.calibration)
    session = _session(sample)
    name = session.get_inputs()[0].name
    (together,) = session.run(None, {name: arrays[name][:7]})
    alone = [session.run(None, {name: arrays[name][i : i + 1]})[0] for i in range(7)]
    np.testing.assert_allclose(np.concatenate(alone), together, rtol=1e-3, atol=1e-3)


def test_no_image_stands_twice(sample: Sample) -> None:
    images = []
    for path in (sample.calibration, sample.evaluation):
        arrays = _load(path)
        (x,) = (value for key, value in arrays.items() if key != "labels")
        images.extend(row.tobytes() for row in x)
    assert len(set(images)) == len(images)


def test_source_images_are_split_before_augmentation() -> None:
    pytest.importorskip("sklearn", reason="the extra `samples` is not installed")
    pytest.importorskip("torch", reason="the extra `samples` is not installed")
    from quantscope.sample_data.digits_data import split_sources
    from quantscope.sample_data.make_samples import SEED

    split = split_sources(SEED)
    parts = [split.training, split.calibration, split.evaluation]
    assert [len(part) for part in parts] == [1105, 192, 500]
    images = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert sum(map(len, images)) == len(set.union(*images)) == 1797
    for part, sample in zip(parts[1:], ("calibration", "evaluation"), strict=True):
        labels = _load(getattr(SAMPLES["digits_mlp"], sample))["labels"]
        np.testing.assert_array_equal(labels, np.tile(part.labels.numpy(), len(labels) // len(part)))


def test_files_are_small() -> None:
    files = [path for s in SAMPLES.values() for path in (s.model, s.calibration, s.evaluation)]
    sizes = [path.stat().st_size for path in files]
    assert max(sizes) < 0.5 * MEGABYTE
    assert sum(sizes) < 3 * MEGABYTE


def test_mobilenet_has_the_uneven_channels_its_story_tells_of() -> None:
    model = onnx.load(SAMPLES["digits_mobilenet"].model)
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    for block in range(1, 6):
        prefix = f"features.{block}.depthwise"
        gain = weights[f"{prefix}.bn.scale"] / np.sqrt(weights[f"{prefix}.bn.variance"] + 1e-5)
        folded = np.abs(weights[f"{prefix}.weight"]).max(axis=(1, 2, 3)) * np.abs(gain)
        assert folded.max() > 30 * np.median(folded)


@pytest.mark.parametrize("name", ["digits_mobilenet", "digits_vit"])
def test_calibration_and_evaluation_hold_a_few_stuck_pixels(name: str) -> None:
    sample = SAMPLES[name]
    for path in (sample.calibration, sample.evaluation):
        (x,) = (value for key, value in _load(path).items() if key != "labels")
        stuck = (x == STUCK).sum(axis=(1, 2, 3))
        assert set(stuck) == {0, 1}
        assert 0.01 < stuck.mean() < 0.05
