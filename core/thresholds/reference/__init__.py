"""Thresholds that other tools would compute from the same data: the answer to why two tools disagree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantscope.core.thresholds.reference import (
    ai_edge,
    aimet,
    aimet_torch,
    caffe,
    mct,
    mnn,
    modelopt,
    ncnn,
    neural_compressor,
    nncf,
    onnxruntime,
    ppq,
    pytorch_quantization,
    quark,
    tengine,
    torch_ao,
    tpu_mlir,
)
from quantscope.core.thresholds.reference.result import Data, Reference, ReferenceThreshold

__all__ = ["REFERENCES", "Reference", "ReferenceRow", "ReferenceThreshold", "reference_thresholds"]

# By "tool/algorithm", in the order in which they are shown.
REFERENCES: dict[str, Reference] = {
    f"{reference.tool}/{reference.algorithm}": reference
    for tool in (
        onnxruntime,
        modelopt,
        pytorch_quantization,
        torch_ao,
        ppq,
        ncnn,
        mnn,
        tengine,
        tpu_mlir,
        aimet,
        aimet_torch,
        ai_edge,
        neural_compressor,
        nncf,
        mct,
        quark,
        caffe,
    )
    for reference in tool.REFERENCES
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRow:
    """What one tool computes with one set of parameters."""

    key: str  # "tool/algorithm"
    parameters: Mapping[str, Any]
    result: ReferenceThreshold


def reference_thresholds(data: Data, keys: tuple[str, ...] | None = None) -> Iterator[ReferenceRow]:
    """Compute references one by one, each with its defaults and then its variants.

    Args:
        data: one float32 array of any shape, or batches.
        keys: of `REFERENCES`; all of them if None.
    """
    for key in REFERENCES if keys is None else keys:
        reference = REFERENCES[key]
        for parameters in (reference.parameters, *reference.variants):
            yield ReferenceRow(key=key, parameters=parameters, result=reference.function(data, **parameters))
