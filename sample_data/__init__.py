"""Small models with trained weights, calibration and evaluation data, for the demo and the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One model with the data that go with it."""

    name: str
    title: str
    description: str
    """What the network and its data are."""
    story: str
    """What a user should see when quantizing it."""
    float_accuracy: float
    """Top-1 of the float model on the evaluation set, as measured by `make_samples.py`."""

    @property
    def model(self) -> Path:
        """The float ONNX model."""
        return _FOLDER / f"{self.name}.onnx"

    @property
    def calibration(self) -> Path:
        """npz: an array under the model's input name, and `labels`."""
        return _FOLDER / f"{self.name}_calib.npz"

    @property
    def evaluation(self) -> Path:
        """npz: an array under the model's input name, and `labels`; none of it seen in training."""
        return _FOLDER / f"{self.name}_eval.npz"


SAMPLES: dict[str, Sample] = {
    sample.name: sample
    for sample in (
        Sample(
            name="digits_mobilenet",
            title="Digits, MobileNet",
            description="A small MobileNetV2 (ReLU6, depthwise convolutions) for 32x32 handwritten digits.",
            story="",
            float_accuracy=0.992,
        ),
        Sample(
            name="digits_vit",
            title="Digits, vision transformer",
            description="A tiny transformer (LayerNorm, Softmax, GELU) for 32x32 handwritten digits.",
            story="",
            float_accuracy=0.978,
        ),
        Sample(
            name="digits_mlp",
            title="Digits, MLP",
            description="A 784-100-100-10 perceptron with ReLU for 28x28 handwritten digits.",
            story="",
            float_accuracy=0.965,
        ),
    )
}
