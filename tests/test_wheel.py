"""A wheel, built as a release would be and installed beside other packages: one name, and nothing missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.slow

LEFT_OUT = (
    ".git",
    ".venv",
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "*.egg-info",
    "build",
)
# Run in an interpreter that sees the installed package and the other packages, and not the checkout.
LOOK = """
import importlib, importlib.util, json, sys
import quantscope as qs
from quantscope.sample_data import SAMPLES

sample = SAMPLES["digits_mlp"]
model = qs.load(sample.model)
quantized = qs.quantize(model, qs.open_data(sample.calibration, model, limit=8), qs.recipe(), cache=False)
print(json.dumps({
    "from": qs.__file__,
    "ours": [name for name in ("api", "core", "ui", "sample_data", "tests", "benchmarks")
             if importlib.util.find_spec(name) is not None],
    "version": qs.__version__,
    "quantized": quantized.size_bytes < model.size_bytes,
    "script": importlib.util.find_spec("quantscope.ui.server.page.quantscope_page") is not None,
}))
"""


def run(*arguments: object, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from what the sdist holds."""
    folder = tmp_path_factory.mktemp("dist")
    checkout = folder / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*LEFT_OUT))  # building writes beside it
    run("-m", "build", "--no-isolation", "--outdir", folder / "out", checkout, cwd=folder)
    return folder / "out"


def test_the_wheel_owns_one_name(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"quantscope"}
    assert "quantscope/py.typed" in names


def test_the_sdist_holds_what_the_wheel_needs(built: Path) -> None:
    """The wheel above came from it; the licence and the tests' own list of files are there as well."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "api/__init__.py", "core/__init__.py"} <= names


def test_an_installation_works_beside_other_packages(built: Path, tmp_path: Path) -> None:
    """`import quantscope` finds the wheel; `core`, `ui` and the others are nobody's names."""
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel, cwd=tmp_path)
    assert sorted(path.name for path in site.iterdir() if path.suffix != ".dist-info") == [
        "bin",
        "quantscope",
    ]
    # -I keeps the checkout and the current folder off the path; the editable install's finder is taken out.
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); "
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in getattr(f, '__module__', '')]; "
        "sys.path_hooks[:] = [h for h in sys.path_hooks if 'editable' not in getattr(h, '__module__', '')]\n"
    )
    said = run("-I", "-c", code + LOOK, cwd=tmp_path, QUANTSCOPE_CACHE=str(tmp_path / "cache"))
    found = json.loads(said.splitlines()[-1])
    assert Path(found["from"]).is_relative_to(site)
    assert found["ours"] == []
    assert found["version"] == "0.1.0"
    assert found["quantized"]
    assert found["script"]
