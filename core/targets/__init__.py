"""What a runtime or chip accepts, and where quantizers go."""

from quantscope.core.targets.placement import (
    REMOVABLE,
    Placement,
    WeightPlacement,
    activation_tensors,
    find_placement,
    not_finite,
    shared_roots,
)
from quantscope.core.targets.table import (
    ANY_X86,
    ONNXRUNTIME_CPU,
    TARGETS,
    Granularity,
    Precision,
    Role,
    Target,
    target,
)

__all__ = [
    "ANY_X86",
    "ONNXRUNTIME_CPU",
    "REMOVABLE",
    "TARGETS",
    "Granularity",
    "Placement",
    "Precision",
    "Role",
    "Target",
    "WeightPlacement",
    "activation_tensors",
    "find_placement",
    "not_finite",
    "shared_roots",
    "target",
]
