"""Check types: mypy over the folders of the package, under the names that they are imported by.

mypy finds modules by folder names, and cannot see that an installation gives the folder `core` the name
`quantscope.core`. So it is told module by module. Usage: python tests/check_types.py
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from mypy.build import build
from mypy.errors import CompileError
from mypy.main import process_options
from mypy.modulefinder import BuildSource

ROOT = Path(__file__).resolve().parents[1]


def packages() -> dict[str, Path]:
    """Every package by its name: its folder."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = setuptools["package-dir"]
    found = {}
    for name in setuptools["packages"]:
        root = max((root for root in folders if f"{name}.".startswith(f"{root}.")), key=len)
        found[name] = ROOT / folders[root] / name[len(root) :].replace(".", "/").lstrip("/")
    return found


def sources() -> list[BuildSource]:
    """Every module of the package; the scripts that train the samples need what the tests do not install."""
    found = []
    for package, folder in packages().items():
        if package != "quantscope.sample_data":
            for file in sorted(folder.glob("*.py")):
                stem = "" if file.stem == "__init__" else f".{file.stem}"
                found.append(BuildSource(str(file), package + stem))
    init = ROOT / "sample_data" / "__init__.py"
    return [*found, BuildSource(str(init), "quantscope.sample_data")]


def main() -> int:
    """Print what mypy finds; 1 if it finds anything."""
    _, options = process_options(["--config-file", str(ROOT / "pyproject.toml"), "-c", ""])
    found = sources()
    try:
        errors = build(found, options).errors
    except CompileError as error:
        errors = error.messages
    last = f"{len(errors)} lines of errors" if errors else f"no errors in {len(found)} files"
    sys.stdout.write("\n".join([*errors, last, ""]))
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
