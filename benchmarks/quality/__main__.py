"""Top-1, agreement and output SQNR of every tool's int8 file, with per-channel and with per-tensor weights.

    python -m benchmarks.quality                                    all networks and tools
    python -m benchmarks.quality --network digits_vit --tool NNCF   some of them
    python -m benchmarks.quality --nncf PYTHON                      where another interpreter has NNCF

Samples that figures come from are seen by no tool; all tools get the same calibration samples. Networks
other than the samples need labelled data: `--shared` names the folder that holds `models` and `data`.
"""

import argparse
import importlib.util
import math
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.quality.judge import Figures, figures, latencies_ms, logits
from benchmarks.quality.networks import Network, networks
from benchmarks.quality.tools import OUTPUT, Make, Unavailable, tools, write_data

SHARED = Path(__file__).parents[3] / "shared"
OURS = "QuantScope auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    tool: str
    weights: str
    figures: Figures
    seconds: float
    path: Path
    note: str


def measured(network: Network, chosen: dict[str, Make], weights: list[str], folder: Path) -> list[Row]:
    """Make and judge every file; lines appear as they are done."""
    reference = logits(network.path, network)
    print(
        f"\n### {network.name}\n\n{network.data}: {len(network.calibration):,} calibration samples, "
        f"{len(network.held_out):,} held out.\n\n"
        "| weights | tool | top-1 % | agreement % | SQNR dB | kB | activations | seconds | settings found |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|---|"
    )
    own = figures(network.path, network, reference)
    print(f"| | float | {100 * own.top1:.2f} | 100.00 | | {own.size_bytes / 1e3:.0f} | | | |", flush=True)
    rows = []
    for granularity in weights:
        for number, (tool, make) in enumerate(chosen.items()):
            work = folder / f"{granularity}-{number}"
            work.mkdir()
            write_data(network, work)
            begin = time.perf_counter()
            try:
                note = make(network, granularity == "per channel", work)
            except Unavailable as reason:
                print(f"| {granularity} | {tool} | | | | | | | {reason} |", flush=True)
                continue
            seconds = time.perf_counter() - begin
            row = Row(
                tool=tool,
                weights=granularity,
                figures=figures(work / OUTPUT, network, reference),
                seconds=seconds,
                path=work / OUTPUT,
                note=note,
            )
            rows.append(row)
            print(_line(row), flush=True)
    return rows


def _line(row: Row) -> str:
    f = row.figures
    return (
        f"| {row.weights} | {row.tool} | {100 * f.top1:.2f} | {100 * f.agreement:.2f} | {_db(f)} "
        f"| {f.size_bytes / 1e3:.0f} | {f.quantized} | {row.seconds:.0f} | {row.note} |"
    )


def _db(found: Figures) -> str:
    return "exact" if math.isinf(found.sqnr_db) else f"{found.sqnr_db:.2f}"


def verdicts(network: str, rows: list[Row]) -> list[str]:
    """A sentence for each figure in which a file of another tool is better than QuantScope's tuned one."""
    said = []
    for own in (row for row in rows if row.tool == OURS):
        rivals = [r for r in rows if r.weights == own.weights and not r.tool.startswith("QuantScope")]
        for name, unit, factor in (
            ("top1", "% top-1", 100),
            ("agreement", "% agreement", 100),
            ("sqnr_db", "dB", 1),
        ):
            ours = factor * getattr(own.figures, name)
            better = [r for r in rivals if factor * getattr(r.figures, name) > ours]
            if better:
                best = max(better, key=lambda r: getattr(r.figures, name))
                theirs = factor * getattr(best.figures, name)
                said.append(f"{network}, {own.weights}: {best.tool} {theirs:.2f} {unit}, {OURS} {ours:.2f}")
    return said


def _nncf_python(given: str | None) -> str | None:
    if given is not None:
        return given if shutil.which(given) else None
    return sys.executable if importlib.util.find_spec("nncf") else None


def _arguments(known: list[str], makers: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=known, default=known)
    parser.add_argument("--tool", nargs="+", choices=makers, default=makers)
    parser.add_argument("--weights", nargs="+", choices=["channel", "tensor"], default=["channel", "tensor"])
    parser.add_argument("--nncf", metavar="PYTHON", help="an interpreter that has NNCF")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with models and labelled data")
    parser.add_argument("--latency", action="store_true", help="also time one sample on one thread")
    return parser.parse_args()


def main() -> int:
    before = argparse.ArgumentParser(add_help=False)
    before.add_argument("--shared", type=Path, default=SHARED)
    found = networks(before.parse_known_args()[0].shared)
    given = _arguments(list(found), list(tools(None)))
    makers = {name: make for name, make in tools(_nncf_python(given.nncf)).items() if name in given.tool}
    weights = [f"per {name}" for name in given.weights]
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}, "
        f"onnxruntime {version('onnxruntime')}, onnx {version('onnx')}"
    )
    worse: list[str] = []
    for name in given.network:
        network = found[name]()
        with tempfile.TemporaryDirectory() as folder:
            rows = measured(network, makers, weights, Path(folder))
            worse += verdicts(name, rows)
            if given.latency:
                files = {"float": network.path, **{f"{r.weights} {r.tool}": r.path for r in rows}}
                print("\n| file | ms |\n|---|---:|")
                for label, ms in latencies_ms(files, network).items():
                    print(f"| {label} | {ms:.3f} |")
    print("\nWhere another tool is better than QuantScope auto:\n")
    print("\n".join(f"- {sentence}" for sentence in worse) or "- nowhere")
    return 0


if __name__ == "__main__":
    sys.exit(main())
