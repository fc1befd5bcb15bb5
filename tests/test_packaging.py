"""What an installation holds: every file that the app needs, and dependencies with bounds."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.test_imports import imports, modules

PACKAGES = ("core", "ui", "sample_data")


@pytest.fixture(scope="module")
def project(repo_root: Path) -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))


def data_files(folder: Path) -> set[Path]:
    """Files that are no Python source and no by-product."""
    found = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    return {path for path in found if "__pycache__" not in path.parts and path.name != ".DS_Store"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_data_file_is_installed(repo_root: Path, project: dict[str, Any], package: str) -> None:
    patterns = project["tool"]["setuptools"]["package-data"]
    root = repo_root / package
    globs = patterns.get(package, []) + patterns["*"]
    # setuptools applies "*" in every package; its "**" passes over folders that begin with a dot.
    taken = {p for g in globs for p in root.glob(g) if g.startswith(".") or ".streamlit" not in p.parts}
    assert data_files(root) - taken == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_code_is_a_package(repo_root: Path, package: str) -> None:
    """Without `__init__.py` a folder is left out of an installation, though it works in a checkout."""
    folders = {path.parent for path in (repo_root / package).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_every_dependency_is_bounded(project: dict[str, Any]) -> None:
    lists = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    for requirement in (item for each in lists for item in each):
        assert re.fullmatch(r"[\w.-]+(\[[\w,]+\])?(>=[\d.]+,<[\d.]+|==[\d.]+)", requirement), requirement


def test_what_is_imported_is_declared(repo_root: Path, project: dict[str, Any]) -> None:
    """A package that is only there because another needs it may go away at any time."""
    trees = modules(repo_root)
    names = {"yaml": "pyyaml", "PIL": "pillow", "rich": "typer", "google": "onnx", "ml_dtypes": "onnx"}
    declared = {re.split(r"[<>=\[]", item)[0].lower() for item in project["project"]["dependencies"]}
    used = {
        target.split(".")[0]
        for name, tree in trees.items()
        if not name.startswith("sample_data")
        for target, _ in imports(name, ast.walk(tree), set(trees))
    }
    foreign = {n for n in used if n not in sys.stdlib_module_names and n not in PACKAGES}
    assert {n for n in foreign if names.get(n, n).lower() not in declared} == set()
