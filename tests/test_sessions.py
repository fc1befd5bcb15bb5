"""Sessions are made in one place, exact, and integer products are the same on every processor."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAKERS = {"core/runtime/sessions.py", "tests/sessions.py"}  # the product's, and the tests' own
MADE = {"InferenceSession", "SessionOptions"}


def test_sessions_are_made_in_one_place() -> None:
    found = set()
    for package in ("api", "core", "ui", "sample_data", "benchmarks", "tests"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in MADE
                ):
                    found.add(file.relative_to(ROOT).as_posix())
    assert found == MAKERS
