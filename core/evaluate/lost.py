"""Outputs and channels that vary in the float model and are constant in the quantized one, and why."""

from collections.abc import Iterable
from dataclasses import dataclass

from core.evaluate.outputs import OutputError
from core.evaluate.view import QdqView
from core.model import Model
from core.tails import tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
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
        left = "are 0" if self.zero else "are constant"
        if self.axis is None or len(self.channels) == self.of:
            said = f"output '{self.output}' varies in the float model and is {left[4:]} after quantization"
        else:
            shown = ", ".join(map(str, self.channels[:6])) + (", …" if len(self.channels) > 6 else "")
            said = (
                f"{len(self.channels):,} of {self.of:,} channels of output '{self.output}' vary in the float "
                f"model and {left} after quantization (axis {self.axis}: {shown})"
            )
        if self.layer is None or self.step is None:
            return said
        return (
            f"{said}: they reach {self.reach:.3g}, and '{self.layer}' keeps them with larger values in steps "
            f"of {self.step:.3g}"
        )


def lost_outputs(
    model: Model, outputs: Iterable[OutputError], seen: QdqView | None = None
) -> tuple[Lost, ...]:
    """Which outputs have lost channels, and what is to blame.

    Args:
        model: The float model.
        outputs: Compared by channel.
        seen: The quantized model from the float one; None = do not look for the layer.
    """
    out = []
    for found in outputs:
        by_channel = found.channels
        if by_channel is None or not by_channel.lost:
            continue
        span = max(by_channel.span[c] for c in by_channel.lost)
        coarse = () if seen is None else _coarse(model, found.name, span, seen)
        layer, step = coarse[0] if coarse else (None, None)
        out.append(
            Lost(
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


def _coarse(model: Model, output: str, span: float, seen: QdqView) -> tuple[tuple[str, float], ...]:
    """Layers at the end of the network whose steps exceed `span`, with the steps, in topological order.

    Where tensors are joined, what joins them is to blame, and not those of them that are large.
    """
    for compute in (False, True):
        end = tail(model, [output], compute=compute)
        joined = {str(node.outputs[0].name) for node in end.nodes if node.op_type == "Concat"}
        for names in (joined, end.tensors()):
            steps: dict[str, float] = {}
            for name in names:
                counterpart, layer = seen.counterpart(name), model.layer_of(name)
                encoding = None if counterpart is None else counterpart.encoding
                if encoding is not None and layer is not None and float(encoding.scale.max()) > span:
                    steps[layer.name] = float(encoding.scale.max())
            if steps:
                return tuple((layer.name, steps[layer.name]) for layer in model.layers if layer.name in steps)
    return ()
