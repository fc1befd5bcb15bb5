"""Compiled loops: nothing is compiled at import, and a missing cache directory is no obstacle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
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
