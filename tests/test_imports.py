"""Imports point down only: the levels of the design, held by reading every module's syntax tree."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

# One line a room, in the way the data goes: a room imports from those on the lines before its own.
LAYOUT = """
    core.errors core.progress core.files core.memo core.words core.jit core.quant core.metrics
    core.methods
    core.runtime
    core.model
    core.data
    core.targets
    core.calibration
    core.thresholds
    core.recipe
    core.quantize
    core.passes
    core.evaluate
    core.export
    core.pipeline
    core.sensitivity
    core.tuning
    core.playground
    core.project
    sample_data
    ui.terminal
    ui.content
    ui.session
    ui.runs
    ui.figures
    ui.components
    ui.views
    ui.app
    ui.server
    ui.cli
    api
"""
LEVELS = tuple(tuple(line.split()) for line in LAYOUT.strip().splitlines())
PACKAGES = ("api", "core", "ui", "sample_data")
# Packages that a part of the project may not import, and why.
FORBIDDEN: tuple[tuple[str, frozenset[str], str], ...] = (
    (
        "core",
        frozenset(
            {"streamlit", "plotly", "typer", "tqdm", "rich", "pandas", "api", "ui", "sample_data", "tests"}
        ),
        "the engine knows no front end",
    ),
    ("ui.figures", frozenset({"streamlit"}), "a figure is made without a page"),
    ("ui.views", frozenset({"numpy", "numba", "scipy", "onnx", "onnxruntime"}), "pages do no numerics"),
    ("ui", frozenset({"tests", "benchmarks", "torch", "sklearn"}), "not there in an installation"),
)
CACHES = "ui.session.cached"  # the one module that may use st.cache_*


def in_repository(name: str) -> str:
    """The folders of what is imported as `quantscope...`; the public face lies in `api`."""
    first, _, rest = name.partition(".")
    if first != "quantscope":
        return name
    return rest if rest.split(".")[0] in PACKAGES[1:] else ".".join(filter(None, ("api", rest)))


def module_name(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path) -> dict[str, ast.Module]:
    files = (file for package in PACKAGES for file in sorted((root / package).rglob("*.py")))
    return {module_name(root, file): parsed(file.read_text(encoding="utf-8"), str(file)) for file in files}


@cache
def parsed(text: str, name: str) -> ast.Module:
    """The tree of a file, once for all tests that look at it."""
    return ast.parse(text, name)


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
    """Names of all that the statements of a module import; ours as they lie in the repository."""
    is_package = any(other.startswith(name + ".") for other in known)
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield in_repository(alias.name), node
        elif isinstance(node, ast.ImportFrom):
            base = in_repository(node.module or "")
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


def doors(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """What each package of the engine offers to other rooms: its `__all__`."""
    found: dict[str, set[str]] = {}
    for name, tree in trees.items():
        if name.startswith("core.") and any(other.startswith(name + ".") for other in trees):
            listed = [
                node.value
                for node in tree.body
                if isinstance(node, ast.Assign) and names(node) == ["__all__"]
            ]
            found[name] = {str(text) for value in listed for text in ast.literal_eval(value)}
    return found


def names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def room(name: str) -> str:
    return ".".join(name.split(".")[:2])


def around_the_door(root: Path) -> list[str]:
    """Imports from inside another room of the engine, or of what its door does not list."""
    trees = modules(root)
    offered = doors(trees)
    out = []
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or node.level:
                continue
            package = in_repository(node.module or "")
            modules_only = all(f"{package}.{alias.name}" in trees for alias in node.names)
            if package in offered and name.startswith(package + ".") and not modules_only:
                out.append(f"{name}:{node.lineno} imports from its own door, which is not open yet")
            if package == "core" or room(package) == room(name) or not within(package, tuple(offered)):
                continue
            lacking = [alias.name for alias in node.names if alias.name not in offered.get(package, set())]
            if lacking:
                out.append(
                    f"{name}:{node.lineno} imports {', '.join(lacking)} from {package}, not from a door"
                )
    return out


def test_rooms_are_entered_by_their_doors(repo_root: Path) -> None:
    assert around_the_door(repo_root) == []
    empty = [name for name, offered in doors(modules(repo_root)).items() if not offered]
    assert empty == []


@pytest.mark.parametrize("what", ["thresholds.kl import search", "thresholds import hidden"])
def test_a_way_around_a_door_is_found(tmp_path: Path, what: str) -> None:
    clean_tree(tmp_path)
    assert around_the_door(tmp_path) == []
    (tmp_path / "core/quantize/qdq.py").write_text(f"from quantscope.core.{what}", encoding="utf-8")
    (found,) = around_the_door(tmp_path)
    assert found.startswith("core.quantize.qdq:1 imports")


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses(root: Path) -> list[str]:
    """Names with an underscore that a module takes from another one, one line each."""
    trees = modules(root)
    out = []
    for name, tree in trees.items():
        known: dict[str, str] = {}  # what modules of ours are called here
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for alias, (target, _) in zip(node.names, imports(name, [node], set(trees)), strict=True):
                    if target.split(".")[0] in PACKAGES and private(alias.name):
                        out.append(f"{name}:{node.lineno} imports {alias.name} from {target}")
                    known[alias.asname or alias.name] = target
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and private(node.attr) and isinstance(node.value, ast.Name):
                module = known.get(node.value.id, "")
                if module in trees:
                    out.append(f"{name}:{node.lineno} uses {node.attr} of {module}")
    return out


def test_what_has_an_underscore_stays_in_its_module(repo_root: Path) -> None:
    assert private_uses(repo_root) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from quantscope.core.quant import _exact", "core.quantize.qdq:1 imports _exact from core.quant"),
        ("from ..quant import _exact", "core.quantize.qdq:1 imports _exact from core.quant"),
        (
            "from quantscope.core import quant\nquant._exact()",
            "core.quantize.qdq:2 uses _exact of core.quant",
        ),
    ],
)
def test_a_private_name_used_elsewhere_is_found(tmp_path: Path, text: str, found: str) -> None:
    clean_tree(tmp_path)
    assert private_uses(tmp_path) == []
    (tmp_path / "core/quantize/qdq.py").write_text(text, encoding="utf-8")
    assert private_uses(tmp_path) == [found]


def test_every_room_is_there(repo_root: Path) -> None:
    known = set(modules(repo_root))
    assert [name for line in LEVELS for name in line if name not in known] == []


ABOVE = "which stands above it"
FRONT = "the engine knows no front end"


@pytest.mark.parametrize(
    ("file", "text", "found", "why"),
    [
        (
            "core/quant.py",
            "from quantscope.core.recipe import Recipe",
            "core.quant:1 imports core.recipe",
            ABOVE,
        ),
        (
            "core/quant.py",
            "from quantscope.core.quantize import qdq",
            "core.quant:1 imports core.quantize.qdq",
            ABOVE,
        ),
        ("core/quant.py", "from .quantize import qdq", "core.quant:1 imports core.quantize.qdq", ABOVE),
        (
            "core/thresholds/kl.py",
            "from ..recipe import R",
            "core.thresholds.kl:1 imports core.recipe",
            ABOVE,
        ),
        (
            "core/errors.py",
            "def f():\n    import quantscope.core.model",
            "core.errors:2 imports core.model",
            ABOVE,
        ),
        ("core/data/opening.py", "import streamlit as st", "core.data.opening:1 imports streamlit", FRONT),
        (
            "core/data/opening.py",
            "from tqdm.auto import tqdm",
            "core.data.opening:1 imports tqdm.auto",
            FRONT,
        ),
        (
            "core/data/opening.py",
            "import quantscope.ui.session.state",
            "core.data.opening:1 imports ui.session.state",
            FRONT,
        ),
        ("ui/figures/curve.py", "import streamlit", "ui.figures.curve:1 imports streamlit", "without a page"),
        ("ui/views/layers.py", "import numpy as np", "ui.views.layers:1 imports numpy", "no numerics"),
        (
            "ui/session/state.py",
            "import quantscope.ui.views.layers",
            "ui.session.state:1 imports ui.views.layers",
            ABOVE,
        ),
        (
            "ui/session/state.py",
            "@st.cache_data\ndef f(): ...",
            "ui.session.state:1 uses a Streamlit cache",
            "only ui.session.cached",
        ),
        (
            "ui/session/state.py",
            "from streamlit import cache_data",
            "ui.session.state:1 uses a Streamlit",
            "only ui.session.cached",
        ),
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
    errors = tmp_path / "core/errors.py"
    errors.write_text("from quantscope.core.quant import Range", encoding="utf-8")
    assert violations(tmp_path) == ["circle: core.errors -> core.quant -> core.errors"]
    errors.write_text("def f():\n    import quantscope.core.quant", encoding="utf-8")
    assert violations(tmp_path) == []


def clean_tree(root: Path) -> None:
    """A project of the right shape, in which every import is allowed."""
    files = {
        "core/__init__.py": "",
        "core/errors.py": "import dataclasses",
        "core/quant.py": "import numpy as np\nfrom quantscope.core.errors import DataError",
        "core/metrics.py": "from quantscope.core.quant import Range",
        "core/thresholds/__init__.py": (
            "from quantscope.core.thresholds.kl import search\n__all__ = ['search']"
        ),
        "core/thresholds/kl.py": "from quantscope.core import quant\nfrom . import grid",
        "core/thresholds/grid.py": "",
        "core/model/__init__.py": "__all__ = ['Model']",
        "core/model/model.py": "import onnx_ir",
        "core/data/__init__.py": "",
        "core/data/opening.py": "from quantscope.core.model import Model",
        "core/recipe/__init__.py": "__all__ = ['Recipe']",
        "core/recipe/recipe.py": "from ..thresholds import search",
        "core/quantize/__init__.py": "",
        "core/quantize/qdq.py": "from quantscope.core.recipe import Recipe",
        "ui/__init__.py": "",
        "ui/session/cached.py": "import streamlit as st\n@st.cache_data\ndef f(): ...",
        "ui/figures/__init__.py": "",
        "ui/figures/curve.py": "import plotly.graph_objects as go\nimport numpy as np",
        "ui/session/state.py": "from quantscope.ui.session import cached",
        "ui/views/layers.py": "from quantscope.ui.figures import curve",
        "ui/app.py": "import streamlit as st\nfrom quantscope.ui.views import layers",
        "sample_data/__init__.py": "from quantscope.core.errors import DataError",
    }
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def test_help_loads_nothing_heavy(repo_root: Path) -> None:
    """`quantscope --help` must answer at once, so no command module may load an engine at import."""
    heavy = ("numba", "onnx", "onnxruntime", "onnx_ir", "pandas", "plotly", "streamlit")
    code = "import sys, quantscope.ui.cli.command_line; "
    code += f"print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
