"""The documents say what is so: links and names lead somewhere, and every command does what is shown."""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantscope.core.errors import RecipeError
from quantscope.core.metrics import FORMULAS
from quantscope.core.quant import ScaleRule
from quantscope.core.recipe import PASSES, Recipe, recipe_from_yaml, recipe_to_yaml
from quantscope.core.targets import TARGETS, Granularity, Precision
from quantscope.core.thresholds import Method, WeightMethod
from quantscope.core.tuning.causes import Reason
from quantscope.sample_data import SAMPLES, gallery
from quantscope.ui.server import launch
from tests import markdown
from tests.emulator import processor
from tests.markdown import CODE, LINK, Command
from tests.support import ROOT, Run
from tests.test_imports import LEVELS

TEXTS = markdown.documents(ROOT)
GALLERY = "docs/gallery.md"
JSON = "docs/json.md"


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """All documents."""
    return TEXTS


# Links, paths and names


def broken_links(name: str, text: str, root: Path) -> list[str]:
    """Links within the repository that lead nowhere."""
    out = []
    for target in LINK.findall(markdown.prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (root / name).parent / path if path else root / name
        if not file.exists() or (anchor and anchor not in markdown.anchors(file.read_text(encoding="utf-8"))):
            out.append(f"{name}: {target}")
    return out


FOLDERS = ("api", "core", "ui", "tests", "docs", "benchmarks", "sample_data", ".ci")
PATH = re.compile(
    rf"({'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*(:[\w.]+)?$|[\w.-]+\.(md|toml)$|Makefile$"
)


def wrong_paths(name: str, text: str, root: Path) -> list[str]:
    """Paths in backticks that do not exist; behind a colon, what the file does not define."""
    out = []
    for code in CODE.findall(markdown.prose(text)):
        if not PATH.match(code):
            continue
        path, _, defined = code.partition(":")
        found = list(root.glob(path.rstrip("/"))) or list((root / name).parent.glob(path))
        if not found or (defined and defined not in definitions(found[0])):
            out.append(f"{name}: {code}")
    return out


def definitions(file: Path) -> set[str]:
    """What a source file defines: functions and classes, and their methods as Class.method."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return set(re.findall(r"(?:function|const|let)\s+(\w+)", text))
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)}
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def wrong_names(name: str, text: str) -> list[str]:
    """Dotted names below `quantscope` that cannot be imported, and modules to run that are not there."""
    run = re.findall(r"python -m ([\w.]+)", text)
    out = [f"{name}: {module}" for module in run if not runnable(module)]
    for code in re.findall(r"\bquantscope(?:\.\w+)+", " ".join(CODE.findall(markdown.prose(text)))):
        parts = code.split(".")
        for cut in range(len(parts), 0, -1):
            try:
                found: Any = importlib.import_module(".".join(parts[:cut]))
            except ModuleNotFoundError:
                continue
            if not has(found, parts[cut:]):
                out.append(f"{name}: {code}")
            break
    return out


def runnable(module: str) -> bool:
    """Whether `python -m` finds it, in the checkout or in the environment."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def has(thing: object, names: Sequence[str]) -> bool:
    for name in names:
        if not hasattr(thing, name):
            return False
        thing = getattr(thing, name)
    return True


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_path_and_name_is_there(texts: dict[str, str], name: str) -> None:
    assert broken_links(name, texts[name], ROOT) == []
    assert wrong_paths(name, texts[name], ROOT) == []
    assert wrong_names(name, texts[name]) == []


def test_the_index_lists_every_document(texts: dict[str, str]) -> None:
    linked = set(LINK.findall(texts["docs/README.md"]))
    assert {name.removeprefix("docs/") for name in texts if name.startswith("docs/")} - linked == {
        "README.md"
    }


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("[map](docs/mapp.md)", ["README.md: docs/mapp.md"]),
        ("[map](docs/map.md#no-such-room)", ["README.md: docs/map.md#no-such-room"]),
        ("`core/no_such_file.py`", ["README.md: core/no_such_file.py"]),
        ("`core/thresholds/kl.py:search_lk`", ["README.md: core/thresholds/kl.py:search_lk"]),
        ("`quantscope.core.thresholds.search_lk`", ["README.md: quantscope.core.thresholds.search_lk"]),
        ("    python -m benchmarks.bench_nothing", ["README.md: benchmarks.bench_nothing"]),
        ("![page](ui/assets/no_picture.png)", ["README.md: ui/assets/no_picture.png"]),
        ("[map](docs/map.md) `core/thresholds/kl.py:search_kl` `quantscope.core.thresholds.search`", []),
    ],
)
def test_what_leads_nowhere_is_found(planted: str, found: list[str]) -> None:
    wrong = broken_links("README.md", planted, ROOT) + wrong_paths("README.md", planted, ROOT)
    assert wrong + wrong_names("README.md", planted) == found


# Commands


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantscope: Run) -> Path:
    """A current folder with the files that the documents speak of."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    gallery.write(work)
    mlp = SAMPLES["digits_mlp"]
    for name in ("MODEL", "MODEL.onnx", "FLOAT.onnx"):
        shutil.copy(mlp.model, name)
    some = {key: values[:32] for key, values in np.load(mlp.calibration).items()}
    Path("PATH").mkdir()
    np.savez("PATH/samples.npz", **some)
    np.savez("DATA.npz", **some)
    np.save("ARRAY.npy", some["pixels"][:4])
    for words in ("-o QUANT.onnx", "--save-recipe recipe.yaml -o OUT.onnx"):
        done = quantscope("quantize", "MODEL.onnx", "--data", "PATH", "--method", "minmax", *words.split())
        assert done.code == 0, done.err
    return work


class Failed(AssertionError):
    """A document shows what is not so."""


def run_document(text: str, quantscope: Run) -> int:
    """Run the commands of a document in order; how many there were.

    A block `yaml NAME` writes that file. In a block `console older-cpu`, default sessions are those of a
    processor without VNNI.
    """
    count = 0
    for block in markdown.blocks(text):
        if block.language == "yaml" and block.title:
            Path(block.title).write_text("\n".join(block.lines) + "\n", encoding="utf-8")
        for command in markdown.commands(block):
            if block.title == "older-cpu":
                with processor(saturating=True):
                    run_command(command, quantscope)
            else:
                run_command(command, quantscope)
            count += 1
    return count


def run_command(command: Command, quantscope: Run) -> None:
    """Run one command, and find the lines that are shown in its output, in their order."""
    line = " ".join(command.words)
    if command.words[0] == "python":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", list(command.words[2:]))
            patch.delitem(sys.modules, command.words[2], raising=False)
            runpy.run_module(command.words[2], run_name="__main__")
        return
    done = quantscope(*command.words[1:])
    if done.code != 0:
        raise Failed(f"{line}: exit code {done.code}\n{done.err}")
    lacking = not_shown(command.shown, done.err + "\n" + done.out)
    if lacking:
        raise Failed(f"{line}: its output lacks\n{lacking}\nit is\n{done.err}\n{done.out}")


NUMBER = re.compile(r"[(]?([-−+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)[),.;:]*$")


def not_shown(shown: Sequence[str], output: str) -> str:
    """The first shown line that does not occur in an output, where lines may be wrapped elsewhere.

    Lines come in the order of the output, but warnings, which go to stderr, may stand anywhere.
    """
    words = output.split()
    for line in joined(shown):
        wanted = line.split()
        places = range(len(words) - len(wanted) + 1)
        if not any(alike(wanted, words[at : at + len(wanted)]) for at in places):
            return line
    return ""


def joined(shown: Sequence[str]) -> Iterator[str]:
    """Shown lines; one that goes on where a sentence did not end is joined to it."""
    text = ""
    for line in shown:
        if (
            text
            and text.startswith(("warning:", "note:"))
            and not line.startswith(("warning:", "note:", "$"))
        ):
            text += " " + line
            continue
        if text:
            yield text
        text = line
    if text:
        yield text


def alike(wanted: Sequence[str], found: Sequence[str]) -> bool:
    units = [*wanted[1:], ""]
    return all(same(a, b, unit) for a, b, unit in zip(wanted, found, units, strict=True))


def same(wanted: str, found: str, unit: str) -> bool:
    """Whether two words are equal, or numbers that differ by no more than the gallery allows."""
    a, b = NUMBER.match(wanted), NUMBER.match(found)
    if a is None or b is None:
        return wanted.rstrip(",.;:") == found.rstrip(",.;:")
    x, y = (float(m[1].replace(",", "").replace("−", "-")) for m in (a, b))
    if unit.startswith("dB"):
        return abs(x - y) <= 0.5
    if unit.startswith("%"):
        return abs(x - y) <= 1.0
    if float(x).is_integer() and "." not in a[1] and "e" not in a[1]:
        return x == y
    return abs(x - y) <= 0.02 * abs(x)


COMMANDED = [
    name for name, text in TEXTS.items() if any(map(list, map(markdown.commands, markdown.blocks(text))))
]
QUICK = [name for name in COMMANDED if name not in (GALLERY, JSON, "sample_data/README.md")]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_commands_run(
    texts: dict[str, str], folder: Path, quantscope: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    served: list[list[str]] = []
    monkeypatch.setattr(launch, "serve", lambda arguments, **_: served.append(arguments) or 0)
    assert run_document(texts[name], quantscope) > 0
    assert bool(served) == (name == "README.md")


def test_documents_with_commands_are_known() -> None:
    assert {"README.md", GALLERY, JSON, "docs/recipe-file.md"} <= set(COMMANDED)


@pytest.mark.slow
def test_the_gallery_shows_what_is_measured(texts: dict[str, str], folder: Path, quantscope: Run) -> None:
    assert run_document(texts[GALLERY], quantscope) > 15


def figures(text: str) -> set[tuple[str, str]]:
    """Figures with a unit, as (number, unit); numbers as they are written."""
    return set(re.findall(r"([-−+]?\d[\d,.]*\d|\d) (dB|%)", text))


def untold(text: str) -> list[str]:
    """Figures in the prose of a gallery's section that no output in it shows."""
    out = []
    for heading, body in markdown.sections(text):
        lines = [
            line for block in markdown.blocks(body) for c in markdown.commands(block) for line in c.shown
        ]
        if lines:
            shown = [(float(n.replace(",", "")), unit) for n, unit in figures("\n".join(lines))]
            for number, unit in sorted(figures(markdown.prose(body))):
                step = 0.5 * 10.0 ** -len(number.partition(".")[2]) + 1e-9
                if not any(unit == u and abs(value - float(number)) <= step for value, u in shown):
                    out.append(f"{heading}: {number} {unit}")
    return out


def test_the_prose_of_the_gallery_repeats_only_what_is_shown(texts: dict[str, str]) -> None:
    assert untold(texts[GALLERY]) == []


def test_a_figure_that_is_not_shown_is_found() -> None:
    block = "```console\n$ quantscope doctor\noutput SQNR 16.26 dB\n```\n"
    assert untold(f"## A\n\n{block}\nIt keeps 16.3 dB.\n") == []
    assert untold(f"## A\n\n{block}\nIt keeps 17.3 dB.\n") == ["A: 17.3 dB"]


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        ("$ quantscope inspekt digits_mlp.onnx", "exit code 2"),
        ("$ quantscope inspect digits_mlp.onnx --no-such-option", "exit code 2"),
        ("$ quantscope inspect no_such_model.onnx", "exit code 2"),
        ("$ quantscope inspect digits_mlp.onnx\n4 of 4 layers can be quantized", "lacks\n4 of 4 layers"),
    ],
)
def test_a_wrong_command_is_found(folder: Path, quantscope: Run, planted: str, complaint: str) -> None:
    with pytest.raises(Failed, match=complaint):
        run_document(f"```console\n{planted}\n```\n", quantscope)


def test_a_right_command_is_run(folder: Path, quantscope: Run) -> None:
    shown = "$ quantscope inspect digits_mlp.onnx\n3 of 3 layers can be quantized"
    assert run_document(f"```console\n{shown}\n```\n", quantscope) == 1


@pytest.mark.parametrize(
    ("shown", "output", "ok"),
    [
        ("output SQNR 16.3 dB", "cosine 0.9\noutput SQNR   16.7 dB\n", True),
        ("output SQNR 16.3 dB", "output SQNR 17.0 dB", False),
        ("top-1 98.7 % 99 %", "top-1  98.7 %  98.1 %", True),
        ("top-1 98.7 % 99 %", "top-1  98.7 %  97.1 %", False),
        ("3 of 7 channels", "3 of\n  7 channels", True),
        ("3 of 7 channels", "4 of 7 channels", False),
        ("size 150.6 kB", "size 151.0 kB", True),
        ("size 150.6 kB", "size 155.0 kB", False),
        ("a cosine", "a sine", False),
    ],
)
def test_the_tolerances_of_the_gallery(shown: str, output: str, ok: bool) -> None:
    assert (not_shown([shown], output) == "") is ok


# The JSON of each command

Key = tuple[str, ...]  # names; "[]" for the items of a list


def nodes(value: object, at: Key = ()) -> Iterator[Key]:
    """Every key below a value of JSON."""
    if at:
        yield at
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from nodes(item, (*at, name))
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item, (*at, "[]"))


def key(text: str) -> Key:
    return tuple(part for name in text.split(".") for part in name.replace("[]", "\n[]").split("\n"))


def documented(text: str) -> dict[str, dict[Key, str]]:
    """For each section with a table of keys: what its rows name, tables that they refer to included."""
    raw = {
        heading: {key(row[0].strip("`")): row[1] for table in markdown.tables(body) for row in table}
        for heading, body in markdown.sections(text)
        if "| key | type | meaning |" in body
    }

    def expanded(heading: str) -> dict[Key, str]:
        out: dict[Key, str] = {}
        for at, kind in raw[heading].items():
            out[at] = kind
            other = re.match(r"\[(\w+)\]\(#\1\)", kind)
            if other:
                out |= {(*at, *below): what for below, what in expanded(other[1]).items()}
        return out

    return {heading: expanded(heading) for heading in raw}


def matches(pattern: Key, at: Key) -> bool:
    return len(pattern) == len(at) and all(
        p in ("*", a) and (a != "[]" or p == a) for p, a in zip(pattern, at, strict=True)
    )


def disagreement(described: Mapping[Key, str], found: set[Key]) -> tuple[set[Key], set[Key]]:
    """Keys that no row describes, and rows that no key is described by."""
    lists = {row[: n + 1] for row in described for n, part in enumerate(row) if part == "[]"}
    above = {row[:-1] for row in lists}  # a list itself has no row; its items have
    rows = {*described, *lists, *above} - {()}
    open_ = {row for row, kind in described.items() if kind == "any"}
    unknown = {
        at
        for at in found
        if not any(matches(row, at) for row in rows)
        and not any(matches(row, at[: len(row)]) for row in open_)
    }
    return unknown, {row for row in described if not any(matches(row, at) for at in found)}


# Run beside what the document itself runs, for keys that this does not show.
MLP = "digits_mlp.onnx --data digits_mlp_calib.npz --limit 24 --method minmax"
MORE_JSON: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect QUANT.onnx", "inspect digits_mobilenet.onnx"),
    "calibrate": (),
    "quantize": (
        f"quantize {MLP} --save-recipe a.yaml --easyquant -o a.onnx",
        "quantize MODEL.onnx --data DATA.npz --recipe passes.yaml -o b.onnx",
        "quantize attention.onnx --data attention_calib.npz --limit 8 --method minmax -o c.onnx",
        "quantize detector.onnx --data detector_calib.npz --limit 16 --method minmax --report -o d.onnx",
    ),
    "compare": ("compare detector.onnx detector.int8.onnx --data detector_eval.npz --limit 16",),
    "tune": (),
    "sensitivity": (
        "sensitivity digits_mobilenet.onnx --data digits_mobilenet_calib.npz --limit 12 --samples 4",
    ),
    "thresholds": ("thresholds constant.npy --reference",),
    "doctor": (),
}
RARE = {
    # A warning that is left after tuning, and a remedy that does not run: these small models have none.
    "tune": {("warnings", "[]")},
    "sensitivity": {("layers", "[]", "causes", "[]", "remedies", "[]", "measured", "error")},
}


def own_runs(text: str, command: str) -> list[str]:
    """The command lines in a command's section of the document."""
    body = dict(markdown.sections(text))[command]
    found = [c.words for block in markdown.blocks(body) for c in markdown.commands(block)]
    return [" ".join(word for word in words[1:] if word != "--json") for words in found]


@pytest.mark.slow
@pytest.mark.parametrize("command", MORE_JSON)
def test_every_key_of_the_json_is_described(
    texts: dict[str, str], folder: Path, quantscope: Run, command: str
) -> None:
    """Comparisons on a processor that saturates, where they have the most to say."""
    np.save("constant.npy", np.full(100, 3.0, np.float32))
    Path("passes.yaml").write_text("quantscope: 1\npasses: [bias_correction]\n", encoding="utf-8")
    own = own_runs(texts[JSON], command)
    assert len(own) == 1
    if command == "compare":
        detector = "quantize detector.onnx --data detector_calib.npz --method minmax -o detector.int8.onnx"
        assert quantscope(*detector.split()).code == 0
    found: set[Key] = set()
    saturating = [w for w in (*own, *MORE_JSON[command]) if w.startswith("compare") or "--report" in w]
    for words in (*own, *MORE_JSON[command]):
        with processor(saturating=True) if words in saturating else nullcontext():
            done = quantscope(*words.split(), "--json")
        assert done.code == 0, done.err
        found |= set(nodes(done.json))
    described = documented(texts[JSON])[command]
    assert len(described) > 5
    unknown, unseen = disagreement(described, found)
    assert unknown == set()
    assert unseen - RARE.get(command, set()) == set()


def test_a_key_that_is_not_described_is_found() -> None:
    text = "## a\n\n| key | type | meaning |\n|---|---|---|\n| `x.y[]` | [b](#b) | |\n\n### b\n\n"
    text += "| key | type | meaning |\n|---|---|---|\n| `z` | number | |\n| `w` | number | |\n"
    described = documented(text)["a"]
    assert disagreement(described, set(nodes({"x": {"y": [{"z": 1, "w": 2}]}}))) == ({("x",)}, set())
    unknown, unseen = disagreement(described, set(nodes({"x": {"y": [{"z": 1, "v": 2}]}})))
    assert unknown == {("x",), ("x", "y", "[]", "v")}
    assert unseen == {("x", "y", "[]", "w")}


def test_every_command_with_json_is_described(texts: dict[str, str], quantscope: Run) -> None:
    commands = re.findall(r"^  (\w+)  ", quantscope("--help").out, re.MULTILINE)
    with_json = {name for name in commands if "--json" in quantscope(name, "--help").out}
    assert len(with_json) > 5
    assert with_json == set(MORE_JSON)
    assert with_json <= set(documented(texts[JSON]))


# The recipe file and the lists of what there is


def rows(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    return next(iter(markdown.tables(dict(markdown.sections(text))[heading])))


def coded(cell: str) -> list[str]:
    return CODE.findall(cell)


def known_keys(text: str) -> set[str]:
    """The keys that reading a recipe offers where one is misspelt."""
    with pytest.raises(RecipeError, match="known are") as caught:
        recipe_from_yaml(text)
    return set(str(caught.value).split("known are ")[1].split(", "))


def test_the_recipe_file_describes_every_key(texts: dict[str, str]) -> None:
    text = texts["docs/recipe-file.md"]
    assert {coded(row[0])[0] for row in rows(text, "The document")} == known_keys(
        "quantscope: 1\nno_such: 1\n"
    )
    fields = {coded(row[0])[0]: coded(row[2]) for row in rows(text, "A choice")}
    assert set(fields) == known_keys("quantscope: 1\ndefault: {no_such: 1}\n")
    written = recipe_to_yaml(Recipe())
    for name, default in fields.items():
        assert (f"  {name}: {default[0]}\n" in written) if default else f"  {name}:" not in written


def test_the_recipe_file_lists_every_value(texts: dict[str, str]) -> None:
    kinds: dict[str, Sequence[str]] = {
        "target": tuple(TARGETS),
        "method": tuple(Method),
        "precision": tuple(Precision),
        "weights": tuple(Granularity),
        "weight_method": tuple(WeightMethod),
        "scale_rule": tuple(ScaleRule),
    }
    listed = {coded(row[0])[0]: coded(row[1]) for row in rows(texts["docs/recipe-file.md"], "Values")}
    assert {name: sorted(values) for name, values in listed.items()} == {
        n: sorted(v) for n, v in kinds.items()
    }


def test_the_recipe_file_lists_every_fix(texts: dict[str, str]) -> None:
    found = {
        (coded(row[0])[0], *coded(row[1]), *((row[2], row[3]) if row[2] else ()))
        for row in rows(texts["docs/recipe-file.md"], "Model fixes")
    }
    wanted: set[tuple[str, ...]] = set()
    for entry in PASSES.values():
        for name, option in entry.options.items():
            wanted.add((entry.name, name, f"{option.default:g}", f"{option.low:g} to {option.high:g}"))
        if not entry.options:
            wanted.add((entry.name,))
    assert found == wanted


def test_the_algorithms_describe_every_method_fix_metric_and_cause(texts: dict[str, str]) -> None:
    text = texts["docs/algorithms.md"]
    headings = {heading for heading, _ in markdown.sections(text)}
    assert {method.value for method in Method} <= {h.strip("`") for h in headings}
    assert {entry.label for entry in PASSES.values()} <= headings
    assert {coded(row[0])[0] for row in rows(text, "Causes and remedies")} == set(Reason)
    assert {coded(row[0])[0] for row in rows(text, "Metrics")} >= set(FORMULAS)


def test_the_map_names_every_room_from_bottom_to_top(texts: dict[str, str], repo_root: Path) -> None:
    named: list[str] = []
    for heading in ("The engine, bottom to top", "The front ends, bottom to top"):
        named += [path.rstrip("/") for row in rows(texts["docs/map.md"], heading) for path in coded(row[0])]
    levels = {name.replace(".", "/"): rank for rank, line in enumerate(LEVELS) for name in line}
    ranks = {path: levels[path.removesuffix(".py")] for path in named}
    assert set(levels) == {path.removesuffix(".py") for path in ranks}
    assert list(ranks.values()) == sorted(ranks.values())
