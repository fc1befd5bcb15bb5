"""What the machine is, and what follows from it for int8 models, in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from quantscope.core.runtime import IntegerSums, Machine, describe, pairs_are_neighbours
from quantscope.core.targets import ANY_X86
from quantscope.ui.terminal.console import INLINE

UNKNOWN_ORDER = (
    "Which products its kernels add first is not known for this release of ONNX Runtime: weights for "
    f"{ANY_X86.name} are kept smaller than they would have to be."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Facts about a machine, and advice."""

    machine: Machine = field(metadata=INLINE)
    advice: tuple[str, ...]


def examination() -> Examination:
    """Facts about this machine, and advice."""
    found = describe()
    return Examination(machine=found, advice=tuple(advice(found.sums)))


def advice(sums: IntegerSums) -> list[str]:
    """Sentences on what the sums of integer kernels mean here."""
    said = []
    if sums.saturates:
        said += [
            "A default ONNX Runtime session adds pairs of u8 x s8 products in 16 bits on this processor, as "
            "on all x86 without VNNI, and cuts off what does not fit.",
            "QuantScope's figures come from exact sums (session.x64quantprecision=1); what a default session "
            "does is shown beside them.",
            f"For files that cannot saturate: quantscope quantize --target {ANY_X86.name}.",
        ]
    else:
        said += [
            "A default ONNX Runtime session sums exactly on this processor. On x86 without VNNI it does not: "
            f"for files that cannot saturate there, use quantscope quantize --target {ANY_X86.name}.",
        ]
    return said if pairs_are_neighbours() else [*said, UNKNOWN_ORDER]
