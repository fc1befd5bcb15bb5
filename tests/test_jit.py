"""Compiled loops: nothing is compiled at import, and a missing cache directory is no obstacle."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from quantscope.core.jit import compiled

IMPORT_ONLY = """
import sys
import quantscope.core.calibration.histogram, quantscope.core.metrics, quantscope.core.thresholds
from numba.core.registry import CPUDispatcher
loops = [v for m in list(sys.modules.values()) if getattr(m, "__name__", "").startswith("quantscope.core.")
         for v in vars(m).values() if isinstance(v, CPUDispatcher)]
assert len(loops) > 10, loops
assert not any(loop.signatures for loop in loops)
"""


def test_importing_compiles_nothing(repo_root: Path) -> None:
    subprocess.run([sys.executable, "-c", IMPORT_ONLY], cwd=repo_root, check=True, timeout=60)


def test_without_a_place_for_the_cache_loops_still_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = numba.njit, []

    def njit(**options: Any) -> Any:
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    def double(x: float) -> float:
        return 2.0 * x

    with monkeypatch.context() as patch:
        patch.setattr(numba, "njit", njit)
        loop = compiled(double)
    assert loop(21.0) == 42.0
    assert [options.get("cache", False) for options in asked] == [True, False]
    assert all(options["nogil"] for options in asked)


def test_division_by_zero_is_that_of_numpy() -> None:
    @compiled
    def divide(a: float, b: float) -> float:
        return a / b

    assert divide(1.0, 0.0) == float("inf")


TOTAL = """
from quantscope.core.jit import compiled

@compiled
def total(x):
    found = 0.0
    for i in range(x.size):
        found += x[i]
    return found
"""


def test_processes_may_compile_a_loop_for_different_types_at_once(tmp_path: Path) -> None:
    """The index is that of the process that wrote it last, which saw nothing of the other."""
    source = tmp_path / "total_of_values.py"
    source.write_text(TOTAL)

    def total() -> Any:
        """The loop as a process has it that was just started."""
        spec = importlib.util.spec_from_file_location(source.stem, source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.total

    ones = {kind: np.ones(4, kind) for kind in ("int32", "float32")}
    first, second = total(), total()
    assert first(ones["int32"]) == 4.0
    (index,) = Path(first.stats.cache_path).glob("total_of_values.total-*.nbi")
    kept = index.read_bytes()
    index.unlink()  # for the second, which had looked before the first wrote it
    assert second(ones["float32"]) == 4.0
    for content in (index.read_bytes(), kept):
        index.write_bytes(content)
        later = total()
        assert {kind: later(values) for kind, values in ones.items()} == {"int32": 4.0, "float32": 4.0}
        assert sum(later.stats.cache_hits.values()) == 1
    again = total()
    assert {kind: again(values) for kind, values in ones.items()} == {"int32": 4.0, "float32": 4.0}
    assert sum(again.stats.cache_hits.values()) == 2
