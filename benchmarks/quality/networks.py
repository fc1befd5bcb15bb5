"""Networks with labelled data: calibration samples for all tools alike, and others that none of them sees."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image

from quantscope.sample_data import SAMPLES

Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

CIFAR_CALIBRATION = 256  # of the 1,000 calibration images


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A float classifier and its data."""

    name: str
    path: Path
    input: str
    calibration: Array  # (n, …) as the model takes them
    held_out: Array
    labels: Labels  # of `held_out`
    data: str  # what the data are, for people
    transformer: bool = False  # NNCF wants to be told


def networks(shared: Path) -> dict[str, Callable[[], Network]]:
    """How to load each network; those of `shared` only where that folder has them."""
    known: dict[str, Callable[[], Network]] = {name: lambda name=name: _sample(name) for name in SAMPLES}
    for name, load in {"mobilenet_v2_0.35": _mobilenet, "resnet8": _resnet}.items():
        if all((shared / needed).is_file() for needed in (*_CIFAR_FILES, _CIFAR_MODELS[name])):
            known[name] = lambda load=load: load(shared)
    return known


_CIFAR_FILES = ("data/cifar10_calib1000.npz", "data/cifar10_test2000.npz")
_CIFAR_MODELS = {
    "mobilenet_v2_0.35": "models/mobilenet_v2_0.35_cifar10head_128.onnx",
    "resnet8": "models/resnet8_cifar10.onnx",
}


def _sample(name: str) -> Network:
    sample = SAMPLES[name]
    with np.load(sample.calibration) as calibration, np.load(sample.evaluation) as evaluation:
        key = next(key for key in calibration if key != "labels")
        return Network(
            name=name,
            path=sample.model,
            input=key,
            calibration=calibration[key],
            held_out=evaluation[key],
            labels=evaluation["labels"],
            data="handwritten digits",
            transformer=name == "digits_vit",
        )


def _mobilenet(shared: Path) -> Network:
    def prepare(images: npt.NDArray[np.uint8]) -> Array:
        large = [np.asarray(Image.fromarray(i).resize((128, 128), Image.Resampling.BILINEAR)) for i in images]
        return _channels_first(np.stack(large)) / np.float32(127.5) - np.float32(1)

    return _cifar(shared, "mobilenet_v2_0.35", prepare, 1000, "CIFAR-10 at 128 px")


def _resnet(shared: Path) -> Network:
    return _cifar(shared, "resnet8", _channels_first, 2000, "CIFAR-10 at 32 px")


def _channels_first(images: npt.NDArray[np.uint8]) -> Array:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def _cifar(
    shared: Path, name: str, prepare: Callable[[npt.NDArray[np.uint8]], Array], held_out: int, data: str
) -> Network:
    path = shared / _CIFAR_MODELS[name]
    with np.load(shared / _CIFAR_FILES[0]) as calibration, np.load(shared / _CIFAR_FILES[1]) as test:
        return Network(
            name=name,
            path=path,
            input=onnx.load(path).graph.input[0].name,
            calibration=prepare(calibration["images"][:CIFAR_CALIBRATION]),
            held_out=prepare(test["images"][:held_out]),
            labels=test["labels"][:held_out],
            data=data,
        )
