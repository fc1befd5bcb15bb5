"""Files that appear complete or not at all, and models beyond one file's limit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantscope.core.errors import ExportError
from quantscope.core.export import write_onnx
from quantscope.core.files import write_atomic
from quantscope.sample_data import SAMPLES
from tests.sessions import session as open_session


def test_content_replaces_content(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"one")
    write_atomic(path, [b"t", b"wo"])
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="permission bits of POSIX systems")
def test_others_may_read_what_any_new_file_lets_them(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_atomic(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"old")

    def parts() -> object:
        yield b"new"
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        write_atomic(path, parts())  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_one_file_below_the_limit(tmp_path: Path) -> None:
    model = onnx.load(SAMPLES["digits_mlp"].model)
    size = write_onnx(model, tmp_path / "m.onnx")
    assert size == (tmp_path / "m.onnx").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_two_files_beyond_the_limit_run_alike(tmp_path: Path) -> None:
    sample = SAMPLES["digits_mlp"]
    model = onnx.load(sample.model)
    before = model.SerializeToString(deterministic=True)
    size = write_onnx(model, tmp_path / "m.onnx", limit=1000)
    assert model.SerializeToString(deterministic=True) == before
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["m.onnx", "m.onnx.data"]
    assert size == sum((tmp_path / name).stat().st_size for name in files)
    assert (tmp_path / "m.onnx").stat().st_size < 5000
    sessions = [open_session(path) for path in (sample.model, tmp_path / "m.onnx")]
    name = sessions[0].get_inputs()[0].name
    x = np.load(sample.evaluation)[name][:4]
    for row in x:
        a, b = (session.run(None, {name: row[None]})[0] for session in sessions)
        np.testing.assert_array_equal(a, b)


def test_a_missing_folder_is_an_export_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be written"):
        write_onnx(onnx.load(SAMPLES["digits_mlp"].model), tmp_path / "no" / "m.onnx")
