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
            title="Digits · MobileNet",
            description=(
                "A small MobileNetV2 (depthwise convolutions, batch normalization, ReLU6) for handwritten "
                "digits of 32x32 pixels. In 3 % of the images one pixel is stuck and reads 64, "
                "where white is 1."
            ),
            story=(
                "Hard for int8 in three ways. A few filters of every depthwise layer are 64 times larger "
                "than the others: with one scale for a whole weight tensor four answers in ten are lost, "
                "with one scale per channel one in ten. Stuck pixels stretch the input's min-max range "
                "from 1 to 64, which leaves most images five grey levels. And the channels those filters "
                "read are so small that a few steps of their tensor's range are all they get: clip rare "
                "peaks (99.9th percentile), and int8 answers as well as float."
            ),
            float_accuracy=0.987,
        ),
        Sample(
            name="digits_vit",
            title="Digits · vision transformer",
            description=(
                "A tiny vision transformer (64 tokens, two blocks; LayerNorm, Softmax, GELU) for the same "
                "images of 32x32 pixels, stuck pixels included."
            ),
            story=(
                "Weights are harmless here, activations are not. A stuck pixel makes one token of its image "
                "enormous, and the residual stream carries it past every LayerNorm to the end. Min-max "
                "ranges cost eight points; the 99.9th percentile costs none. The 99.99th clips the input "
                "but not the tokens behind it, for a larger share of them is affected."
            ),
            float_accuracy=0.976,
        ),
        Sample(
            name="digits_mlp",
            title="Digits · MLP",
            description="A perceptron 784-100-100-10 with ReLU for clean handwritten digits of 28x28 pixels.",
            story=(
                "The easy case: every method stays within two tenths of a point of float. Try how far a "
                "threshold can be dragged before an answer changes."
            ),
            float_accuracy=0.973,
        ),
    )
}
