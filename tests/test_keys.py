"""What a browser session keeps is declared in one module, and reached through nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantscope.core.recipe import Choice, ChoiceChanges
from quantscope.ui import app
from quantscope.ui.session import keys
from quantscope.ui.session.keys import Page
from quantscope.ui.session.memory import Key, Parameter

ONLY = {  # names, and the one module below ui/ that may use them
    "session_state": "session/memory.py",
    "query_params": "session/memory.py",
    "Key": "session/keys.py",
    "Parameter": "session/keys.py",
}


def elsewhere(folder: Path) -> Iterator[str]:
    """Uses of Streamlit's mappings, and keys that are made, outside of the module for it."""
    for file in sorted(folder.rglob("*.py")):
        module = file.relative_to(folder).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = ""
            if isinstance(node, ast.Attribute):
                name = node.attr if node.attr in ("session_state", "query_params") else ""
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
            if name in ONLY and module not in (ONLY[name], "session/memory.py"):
                yield f"{module}:{node.lineno} {name}"


def test_keys_are_made_in_one_module(repo_root: Path) -> None:
    assert list(elsewhere(repo_root / "ui")) == []


@pytest.mark.parametrize(
    "line", ["st.session_state['a'] = 1", "st.query_params.clear()", "Key('a', 1).set(2)"]
)
def test_a_key_that_is_made_elsewhere_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "views").mkdir()
    (tmp_path / "views/page.py").write_text(f"import streamlit as st\n{line}\n", encoding="utf-8")
    (found,) = elsewhere(tmp_path)
    assert found.startswith("views/page.py:2")


def test_no_two_keys_have_one_name() -> None:
    declared = [value for value in vars(keys).values() if isinstance(value, Key)]
    assert len(declared) > 40
    assert len({key.name for key in declared}) == len(declared)
    there = [value.name for value in vars(keys).values() if isinstance(value, Parameter)]
    assert len(there) > 1
    assert len(set(there)) == len(there)


def test_every_page_has_a_view() -> None:
    assert list(app.VIEWS) == list(Page)


def test_changes_of_a_layer_are_fields_of_a_choice() -> None:
    assert ChoiceChanges.__annotations__.keys() <= Choice.__dataclass_fields__.keys()
