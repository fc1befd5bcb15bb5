"""From a model file to the one form that the engine works on: read, checked, upgraded and cleaned."""

from quantscope.core.model.loading.editing import (
    add_initializer,
    is_made_by_loading,
    names_in_use,
    number_of,
    set_constant,
    unique_name,
)
from quantscope.core.model.loading.externaldata import all_graphs
from quantscope.core.model.loading.foreign import LFS_POINTER, foreign_format
from quantscope.core.model.loading.graphhash import graph_hash
from quantscope.core.model.loading.modelfile import read_model_file

__all__ = [
    "LFS_POINTER",
    "add_initializer",
    "all_graphs",
    "foreign_format",
    "graph_hash",
    "is_made_by_loading",
    "names_in_use",
    "number_of",
    "read_model_file",
    "set_constant",
    "unique_name",
]
