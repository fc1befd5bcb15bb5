"""What an installation holds: every file that the app needs, and dependencies with bounds."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.check_types import packages
from tests.test_imports import imports, modules

PACKAGES = ("api", "core", "ui", "sample_data")


@pytest.fixture(scope="module")
def project(repo_root: Path) -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))


def data_files(folder: Path) -> set[Path]:
    """Files that are no Python source and no by-product."""
    found = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    return {path for path in found if "__pycache__" not in path.parts and path.name != ".DS_Store"}


@pytest.mark.parametrize("folder", PACKAGES)
def test_every_data_file_is_installed(repo_root: Path, project: dict[str, Any], folder: str) -> None:
    patterns = project["tool"]["setuptools"]["package-data"]
    package = "quantscope" if folder == "api" else f"quantscope.{folder}"
    root = repo_root / folder
    taken = {path for glob in patterns.get(package, []) for path in root.glob(glob)}
    assert data_files(root) - taken == set()


def test_every_folder_with_code_is_listed(repo_root: Path, project: dict[str, Any]) -> None:
    """A folder that the list lacks is left out of an installation, though it works in a checkout."""
    listed = packages()
    assert set(listed) == set(project["tool"]["setuptools"]["packages"])
    assert [name for name, folder in listed.items() if not (folder / "__init__.py").is_file()] == []
    folders = {path.parent for package in PACKAGES for path in (repo_root / package).rglob("*.py")}
    assert folders == set(listed.values())
    assert not [name for name in listed if name != "quantscope" and not name.startswith("quantscope.")]


def test_every_dependency_is_bounded(project: dict[str, Any]) -> None:
    lists = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    assert all(lists)
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
