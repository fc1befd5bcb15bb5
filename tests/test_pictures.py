"""The README's pictures are there, are small, and are all taken by the script."""

from __future__ import annotations

import re

from PIL import Image

from tests.pictures import FOLDER, PICTURES, SIZE
from tests.support import ROOT


def test_every_picture_of_the_readme_is_taken_by_the_script_and_is_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert [ROOT / path for path in named] == [FOLDER / name for name in PICTURES]
    assert {path.name for path in FOLDER.iterdir()} == set(PICTURES)
    for name in PICTURES:
        path = FOLDER / name
        assert path.stat().st_size < 100_000, name
        with Image.open(path) as drawn:
            assert drawn.size == SIZE, name
