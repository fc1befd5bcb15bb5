"""Outputs and channels that vary in the float model and are constant in the quantized one, and why."""

import math
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from quantscope.core.evaluate.correspondence import QdqView
from quantscope.core.evaluate.outputs import OutputError
from quantscope.core.model import Model, output_path_of, quoted_names

LOW_DB = 3.0  # an output with less is half noise
FINER = 257.0  # steps of 16 bits in one of 8
DENORMAL = 256.0 * float(np.finfo(np.float32).tiny)  # values up to it have a denormal scale in 8 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class LostOutput:
    """An output of which channels, or all, vary in the float model and are constant in the quantized one."""

    output: str
    channels: tuple[int, ...]
    of: int  # channels that the output has
    axis: int | None  # along which they are counted
    zero: bool  # all that is left of them is 0
    reach: float  # largest magnitude of them in the float model
    layer: str | None  # whose integers are too coarse for them; None where none is seen to be
    step: float | None  # of those integers
    spared: tuple[str, ...]  # layers to leave in float, by the layer's place

    @property
    def sentence(self) -> str:
        """What is lost, and where."""
        left = "0" if self.zero else "constant"
        if self.axis is None or len(self.channels) == self.of:
            what, they = f"output '{self.output}' varies in the float model and is {left}", "it reaches"
        else:
            shown = ", ".join(map(str, self.channels[:6])) + (", …" if len(self.channels) > 6 else "")
            what = (
                f"{len(self.channels):,} of {self.of:,} channels of output '{self.output}' "
                f"(axis {self.axis}: {shown}) "
            )
            one = len(self.channels) == 1
            what += f"{'varies' if one else 'vary'} in the float model and {'is' if one else 'are'} {left}"
            they = "it reaches" if one else "they reach"
        what += " after quantization"
        if self.layer is None or self.step is None:
            return what
        if self.too_small:
            return (
                f"{what}: {they} {self.reach:.3g}, and the values of '{self.layer}' are so small that their "
                "scale would be denormal"
            )
        return (
            f"{what}: {they} {self.reach:.3g}, and the integers of '{self.layer}', which hold larger values, "
            f"have steps of {self.step:.3g}"
        )

    @property
    def too_small(self) -> bool:
        """Whether no scale that is a normal float32 is fine enough: it is 1 then (`encoding_from_range`)."""
        return self.step == 1.0 and self.reach < DENORMAL

    @property
    def advice(self) -> str:
        """The same, and what to do, where each layer has a precision of its own to choose."""
        if not self.spared:
            return self.sentence
        enough = self.step is not None and self.step < FINER * self.reach / 4.0
        wider = ", or give it 16 bits" if enough else ""
        return f"{self.sentence}. Leave {quoted_names(self.spared)} in float{wider}"

    @property
    def options(self) -> str:
        """The same, and what to do, for the command line, where one layer can only be left in float."""
        if not self.spared:
            return self.sentence
        flags = " ".join(f"--float-layer {shlex.quote(name)}" for name in self.spared)
        return f"{self.sentence}. Leave {quoted_names(self.spared)} in float: {flags}"


def output_warnings(
    outputs: Iterable[OutputError],
    lost: Iterable[LostOutput],
    *,
    sentence_of: Callable[[LostOutput], str] = lambda one: one.advice,
) -> tuple[str, ...]:
    """A sentence for each output with lost channels, with less than `LOW_DB`, or that is not finite.

    Args:
        outputs: Compared by channel.
        lost: From `lost_outputs`.
        sentence_of: What to say of a lost output: with the advice or without.
    """
    warnings = {found.output: sentence_of(found) for found in lost}
    for found in outputs:
        noise = found.noise
        if found.name in warnings or noise is None or noise < 10.0 ** (-LOW_DB / 10.0):
            continue
        if math.isinf(noise):
            warnings[found.name] = f"output '{found.name}' is not finite after quantization"
        else:
            left = 0.0 - 10.0 * math.log10(noise)
            warnings[found.name] = (
                f"output '{found.name}' keeps {left:.1f} dB after quantization: the error is "
                f"{'as large as' if left < 1.0 else 'more than half of'} the signal"
            )
    return tuple(warnings.values())


def lost_outputs(
    model: Model, outputs: Iterable[OutputError], matched: QdqView | None = None
) -> tuple[LostOutput, ...]:
    """Which outputs have lost channels, and what is to blame.

    Args:
        model: The float model.
        outputs: Compared by channel.
        matched: The quantized model from the float one; None = do not look for the layer.
    """
    out = []
    for found in outputs:
        by_channel = found.channels
        if by_channel is None or not by_channel.lost:
            continue
        span = max(by_channel.span[c] for c in by_channel.lost)
        coarse = () if matched is None else _coarse(model, found.name, span, matched)
        layer, step = coarse[0] if coarse else (None, None)
        out.append(
            LostOutput(
                output=found.name,
                channels=by_channel.lost,
                of=by_channel.size,
                axis=by_channel.axis,
                zero=by_channel.zero,
                reach=max(by_channel.peak[c] for c in by_channel.lost),
                layer=layer,
                step=step,
                spared=tuple(name for name, _ in coarse),
            )
        )
    return tuple(out)


def _coarse(model: Model, output: str, span: float, matched: QdqView) -> tuple[tuple[str, float], ...]:
    """Layers at the end of the network whose steps exceed `span`, with the steps, in topological order.

    Where tensors are joined, what joins them is to blame, and not those of them that are large.
    """
    for compute in (False, True):
        end = output_path_of(model, [output], compute=compute)
        joined = {str(node.outputs[0].name) for node in end.nodes if node.op_type == "Concat"}
        for names in (joined, end.tensors()):
            steps: dict[str, float] = {}
            for name in names:
                counterpart, layer = matched.counterpart(name), model.layer_of(name)
                encoding = None if counterpart is None else counterpart.encoding
                if encoding is not None and layer is not None and float(encoding.scale.max()) > span:
                    steps[layer.name] = float(encoding.scale.max())
            if steps:
                return tuple((layer.name, steps[layer.name]) for layer in model.layers if layer.name in steps)
    return ()
