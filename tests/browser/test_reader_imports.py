"""A user's reader in the app's process: what it imports from its own folder is its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantscope.sample_data import SAMPLES
from tests.support import App, ready, until

pytestmark = pytest.mark.browser

# Modules of ours, by names that the files of a user may well have.
NAMES = ("text", "state", "jobs", "app", "recipe", "project", "common", "streamlit_app")
READER = """
import sys
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
sys.path.append(str(here))  # after everything else: a folder of ours before it would be seen

def samples():
    import app, common, jobs, project, recipe, state, streamlit_app, text

    found = (app, common, jobs, project, recipe, state, streamlit_app, text)
    (here / "found.txt").write_text("\\n".join(module.__file__ for module in found))
    for row in np.load(here / "rows.npy"):
        yield {"pixels": row}
"""


def test_a_reader_gets_its_own_modules(serve: Callable[..., App], tmp_path: Path, page: Any) -> None:
    sample = SAMPLES["digits_mlp"]
    with np.load(sample.calibration) as arrays:
        np.save(tmp_path / "rows.npy", arrays["pixels"][:16])
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    reader = tmp_path / "reader.py"
    reader.write_text(READER, encoding="utf-8")
    page.goto(serve("app", sample.model, "--data", reader).url)
    ready(page)
    until((tmp_path / "found.txt").exists, seconds=60)
    found = (tmp_path / "found.txt").read_text(encoding="utf-8").split("\n")
    assert sorted(Path(file) for file in found) == sorted(tmp_path / f"{name}.py" for name in NAMES)
