"""Imports point down only: the levels of the design, held by reading every module's syntax tree."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

# Lowest level first, an empty line between levels; a module may import from its own level and from those
# before it, never in a circle. A name stands for the module and everything inside it.
LAYOUT = """
    core.description core.errors core.files core.history core.home core.jit core.memo core.progress
    core.words

    core.binning core.bysample core.histogram core.quant

    core.metrics core.representable core.thresholds
    core.distributions core.playground

    core.model core.layers core.compound core.loading
    core.data core.samples core.sources
    core.machine core.optimized core.rawvalues core.runtime core.saturation core.session core.staged
    core.statcache core.statistics
    core.bias core.choice core.encodings core.passes.table core.placement core.precision core.recipe
    core.recipe_file core.tails core.targets core.weights

    core.calibrate core.export core.halves core.passes core.qdq

    core.autotune core.causes core.easyquant core.evaluate core.layeroutput core.lint core.outputcurve
    core.closeness core.evidence core.heldout core.mixed core.pipeline core.project core.remedies
    core.sensitivity core.sparing core.tune core.unseen core.verdicts

    sample_data

    ui.cached ui.components ui.disagreement ui.easymodel ui.easyruns ui.figures ui.fixes ui.lesson
    ui.memory ui.blame ui.columns ui.console ui.diagnosis ui.exporting ui.jobs ui.measure ui.measured
    ui.mixedruns ui.opening ui.pool ui.recent ui.remedyruns ui.rows ui.sensitivityruns ui.shells
    ui.state ui.toolruns ui.tuneruns
    ui.tensor_view ui.text ui.warm ui.workspace

    ui.views

    ui.anatomy ui.app ui.checking ui.cli ui.cli_options ui.cli_sensitivity ui.cli_thresholds
    ui.commands ui.doctor ui.launch ui.listing ui.mixing ui.one_tensor ui.options
    ui.sensitivity_command
"""
LEVELS = tuple(tuple(block.split()) for block in LAYOUT.split("\n\n"))
PACKAGES = ("core", "ui", "sample_data")
# Packages that a part of the project may not import, and why.
FORBIDDEN: tuple[tuple[str, frozenset[str], str], ...] = (
    (
        "core",
        frozenset({"streamlit", "plotly", "typer", "tqdm", "rich", "pandas", "ui", "sample_data", "tests"}),
        "the engine knows no front end",
    ),
    ("ui.figures", frozenset({"streamlit"}), "a figure is made without a page"),
    ("ui.views", frozenset({"numpy", "numba", "scipy", "onnx", "onnxruntime"}), "pages do no numerics"),
    ("ui", frozenset({"tests", "benchmarks", "torch", "sklearn"}), "not there in an installation"),
)
CACHES = "ui.cached"  # the one module that may use st.cache_*


def module_name(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path) -> dict[str, ast.Module]:
    files = (file for package in PACKAGES for file in sorted((root / package).rglob("*.py")))
    found = {
        module_name(root, file): ast.parse(file.read_text(encoding="utf-8"), str(file)) for file in files
    }
    return found


def within(name: str, families: tuple[str, ...]) -> bool:
    return any(name == family or name.startswith(family + ".") for family in families)


def level(name: str) -> int | None:
    return next((rank for rank, families in enumerate(LEVELS) if within(name, families)), None)


def deferred(tree: ast.Module) -> set[ast.AST]:
    """What does not run when the module is imported: function bodies, and imports for type checkers."""
    late: set[ast.AST] = set()
    for node in ast.walk(tree):
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if checking or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            late.update(ast.walk(node))
    return late


def imports(
    name: str, nodes: Iterable[ast.AST], known: set[str]
) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    """Absolute names of all that the statements of a module import."""
    is_package = any(other.startswith(name + ".") for other in known)
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parts = parts[: len(parts) - node.level + int(is_package)]
                base = ".".join([*parts, *filter(None, [node.module])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if full in known else base), node


def uses_cache(tree: ast.Module) -> Iterator[int]:
    """Lines where a Streamlit cache is named."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"cache_data", "cache_resource"}:
            yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "streamlit":
            yield from (node.lineno for alias in node.names if alias.name.startswith("cache_"))


def circles(graph: dict[str, set[str]]) -> Iterator[str]:
    """One line for each import circle; a package and its own modules count as one thing."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> Iterator[str]:
        if name in path:
            yield "circle: " + " -> ".join([*path[path.index(name) :], name])
        elif name not in done:
            for target in sorted(graph[name]):
                yield from visit(target, (*path, name))
            done.add(name)

    for name in sorted(graph):
        yield from visit(name, ())


def violations(root: Path) -> list[str]:
    """Every breach of the design's import rules below `root`, one line each."""
    trees = modules(root)
    known = set(trees)
    graph: dict[str, set[str]] = {name: set() for name in known}
    out: list[str] = []
    for name, tree in trees.items():
        own = level(name)
        if own is None and name not in PACKAGES:
            out.append(f"{name} has no level: give it a place in LEVELS")
        late = deferred(tree)
        for target, node in imports(name, ast.walk(tree), known):
            where = f"{name}:{node.lineno}"
            for part, banned, why in FORBIDDEN:
                if within(name, (part,)) and target.split(".")[0] in banned:
                    out.append(f"{where} imports {target}: {why}")
            if target in known and not target.startswith(name + "."):
                if target != name and not name.startswith(target + ".") and node not in late:
                    graph[name].add(target)
                theirs = level(target)
                if own is not None and theirs is not None and theirs > own:
                    out.append(f"{where} imports {target}, which stands above it")
        if not within(name, (CACHES,)):
            out += [f"{name}:{line} uses a Streamlit cache; only {CACHES} may" for line in uses_cache(tree)]
    return list(dict.fromkeys(out)) + list(circles(graph))


def test_imports_point_down(repo_root: Path) -> None:
    assert violations(repo_root) == []


ABOVE = "which stands above it"
FRONT = "the engine knows no front end"


@pytest.mark.parametrize(
    ("file", "text", "found", "why"),
    [
        ("core/quant.py", "from core.metrics import cosine", "core.quant:1 imports core.metrics", ABOVE),
        ("core/quant.py", "from core import qdq", "core.quant:1 imports core.qdq", ABOVE),
        ("core/quant.py", "from . import qdq", "core.quant:1 imports core.qdq", ABOVE),
        (
            "core/thresholds/kl.py",
            "from ..recipe import R",
            "core.thresholds.kl:1 imports core.recipe",
            ABOVE,
        ),
        ("core/errors.py", "def f():\n    import core.model", "core.errors:2 imports core.model", ABOVE),
        ("core/data.py", "import streamlit as st", "core.data:1 imports streamlit", FRONT),
        ("core/data.py", "from tqdm.auto import tqdm", "core.data:1 imports tqdm.auto", FRONT),
        ("core/data.py", "import ui.state", "core.data:1 imports ui.state", FRONT),
        ("ui/figures/curve.py", "import streamlit", "ui.figures.curve:1 imports streamlit", "without a page"),
        ("ui/views/layers.py", "import numpy as np", "ui.views.layers:1 imports numpy", "no numerics"),
        ("ui/state.py", "import ui.views.layers", "ui.state:1 imports ui.views.layers", ABOVE),
        (
            "ui/state.py",
            "@st.cache_data\ndef f(): ...",
            "ui.state:1 uses a Streamlit cache",
            "only ui.cached",
        ),
        ("ui/state.py", "from streamlit import cache_data", "ui.state:1 uses a Streamlit", "only ui.cached"),
        ("core/novelty.py", "", "core.novelty has no level", "give it a place in LEVELS"),
    ],
)
def test_a_planted_breach_is_found(tmp_path: Path, file: str, text: str, found: str, why: str) -> None:
    clean_tree(tmp_path)
    assert violations(tmp_path) == []
    target = tmp_path / file
    target.write_text(text, encoding="utf-8")
    assert any(line.startswith(found) and why in line for line in violations(tmp_path))


def test_a_circle_within_a_level_is_found(tmp_path: Path) -> None:
    clean_tree(tmp_path)
    (tmp_path / "core/model.py").write_text("from core.data import Samples", encoding="utf-8")
    (tmp_path / "core/data.py").write_text("from core.model import Model", encoding="utf-8")
    assert violations(tmp_path) == ["circle: core.data -> core.model -> core.data"]
    (tmp_path / "core/model.py").write_text("def f():\n    import core.data", encoding="utf-8")
    assert violations(tmp_path) == []


def clean_tree(root: Path) -> None:
    """A project of the right shape, in which every import is allowed."""
    files = {
        "core/__init__.py": "",
        "core/errors.py": "import dataclasses",
        "core/quant.py": "import numpy as np\nfrom core.errors import DataError",
        "core/metrics.py": "from core.quant import Range",
        "core/thresholds/__init__.py": "from core.thresholds.kl import search",
        "core/thresholds/kl.py": "from core import quant\nfrom . import grid",
        "core/thresholds/grid.py": "",
        "core/model.py": "import onnx_ir",
        "core/data.py": "from core.model import Model",
        "core/recipe.py": "from .thresholds import search",
        "core/qdq.py": "from core.recipe import Recipe",
        "ui/__init__.py": "",
        "ui/cached.py": "import streamlit as st\n@st.cache_data\ndef f(): ...",
        "ui/figures/__init__.py": "",
        "ui/figures/curve.py": "import plotly.graph_objects as go\nimport numpy as np",
        "ui/state.py": "from ui import cached",
        "ui/views/layers.py": "from ui import state\nfrom ui.figures import curve",
        "ui/app.py": "import streamlit as st\nfrom ui.views import layers",
        "sample_data/__init__.py": "from core.errors import DataError",
    }
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def test_help_loads_nothing_heavy(repo_root: Path) -> None:
    """`quantscope --help` must answer at once, so no command module may load an engine at import."""
    heavy = ("numba", "onnx", "onnxruntime", "onnx_ir", "pandas", "plotly", "streamlit")
    code = f"import sys, ui.cli; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
