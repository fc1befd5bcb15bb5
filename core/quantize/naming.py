"""Names of what quantizing adds to a graph: short, unique, and told by the tensor that they belong to."""

import re
from dataclasses import dataclass, field

from quantscope.core.model.loading import unique_name

LONGEST = 28  # characters of a tensor's name that the names made of it repeat
_SHORTEST = 6  # a part of a name that says anything
_SEPARATORS = re.compile(r"[/:;.]")


@dataclass(slots=True, kw_only=True)
class Names:
    """The names in use in one graph.

    A quantized tensor's name is written about ten times: in the names of its scale and of the nodes and
    tensors behind it, each where it is made and wherever it is read. Exporters that write a whole path into
    every name would so make files larger than the float ones; of such names only the end is repeated.
    """

    tensors: set[str]
    nodes: set[str]
    stems: dict[str, str] = field(default_factory=dict)  # name → what stands for it in other names

    def of(self, tensor: str, suffix: str) -> str:
        """A new name of a tensor: that of another one, or the end of it, and a suffix."""
        return self.free(f"{self._stem(tensor)}{suffix}")

    def free(self, wanted: str) -> str:
        """A new name of a tensor."""
        return unique_name(wanted, self.tensors)

    def node(self, wanted: str) -> str:
        """A new name of a node."""
        return unique_name(wanted, self.nodes)

    def _stem(self, tensor: str) -> str:
        if tensor not in self.stems:
            self.stems[tensor] = shortened(tensor)
        return self.stems[tensor]


def shortened(name: str) -> str:
    """A name of at most `LONGEST` characters: the last ones, from the beginning of a part if there is one."""
    if len(name) <= LONGEST:
        return name
    end = name[-LONGEST:]
    starts = [match.end() for match in _SEPARATORS.finditer(end) if match.end() <= LONGEST - _SHORTEST]
    return end[starts[0] :] if starts else end
