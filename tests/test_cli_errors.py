"""How the `quantscope` command fails: one line that says what to do, and nothing half-written."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quantscope.sample_data import SAMPLES
from quantscope.ui.cli import command_line
from tests.sessions import session as open_session
from tests.support import ROOT, Run, command_env, process

MLP = SAMPLES["digits_mlp"]


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A quantized model."""
    out = tmp_path_factory.mktemp("quantized") / "q.onnx"
    words = ("quantize", MLP.model, "--random", 2, "--no-cache", "-o", out)
    assert command_line.run([str(word) for word in words]) == 0
    return out.read_bytes()


@pytest.fixture
def bad_files(tmp_path: Path, quantized: bytes) -> Path:
    """Files that are not what they seem."""
    (tmp_path / "text.onnx").write_text("hello", encoding="utf-8")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "cut.onnx").write_bytes(MLP.model.read_bytes()[:3000])
    (tmp_path / "text.npz").write_text("hello", encoding="utf-8")
    (tmp_path / "text.npy").write_text("hello", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text("{a: [", encoding="utf-8")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "model.onnx").write_bytes(MLP.model.read_bytes())
    np.savez(tmp_path / "wrong.npz", other=np.zeros((4, 3), np.float32))
    np.save(tmp_path / "words.npy", np.array(["a"]))
    np.save(tmp_path / "none.npy", np.zeros(0))
    np.save(tmp_path / "nan.npy", np.full(3, np.nan))
    np.save(tmp_path / "x.npy", np.arange(5.0))
    (tmp_path / "good.yaml").write_text("quantscope: 1\n", encoding="utf-8")
    (tmp_path / "preset.yaml").write_text("preset: [0-1]\n", encoding="utf-8")
    (tmp_path / "size.yaml").write_text("size: .inf\n", encoding="utf-8")
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "a.npz").write_bytes(MLP.calibration.read_bytes())
    (tmp_path / "q.onnx").write_bytes(quantized)
    return tmp_path


DATA = ("--data", str(MLP.calibration))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("inspect missing.onnx", "missing.onnx"),
        ("inspect text.onnx", "text.onnx"),
        ("inspect empty.onnx", "empty"),
        ("inspect cut.onnx", "cut.onnx"),
        ("inspect folder.onnx", "folder"),
        ("inspect", "MODEL"),
        ("inspekt model.onnx", "inspekt"),
        ("inspect model.onnx --nope", "--nope"),
        ("missing.onnx", "missing.onnx"),
        ("app --data x.npy", "model"),
        ("app --eval x.npy", "model"),
        ("app model.onnx --eval nothing.npz", "nothing.npz"),
        ("demo nothing", "digits_mlp"),
        ("app --port 0", "--port"),
        ("app --port x", "--port"),
        ("app --host 203.0.113.7", "--host"),
        ("quantize model.onnx -o out.onnx", "--data"),
        ("quantize model.onnx -o out.onnx --random 0", "--random"),
        ("quantize model.onnx -o out.onnx --random 4 DATA", "--random"),
        ("quantize model.onnx -o out.onnx --random 4 --labels x.npy", "--labels"),
        ("quantize model.onnx -o out.onnx --data missing.npz", "missing.npz"),
        ("quantize model.onnx -o out.onnx --data text.npz", "text.npz"),
        ("quantize model.onnx -o out.onnx --data wrong.npz", "wrong.npz"),
        ("quantize model.onnx -o out.onnx DATA --limit 0", "--limit"),
        ("quantize model.onnx -o out.onnx DATA --preprocess nope", "nope"),
        ("quantize model.onnx -o out.onnx DATA --preprocess recipe.yaml", "YAML"),
        ("quantize model.onnx -o out.onnx DATA --preprocess preset.yaml", "imagenet-torch"),
        ("quantize model.onnx -o out.onnx DATA --preprocess size.yaml", "size"),
        ("quantize model.onnx -o out.onnx DATA --preprocess words.npy", "preset"),
        ("quantize model.onnx -o out.onnx DATA --method nope", "minmax"),
        ("quantize model.onnx -o out.onnx DATA --method manual", "--recipe"),
        ("quantize model.onnx -o out.onnx DATA --method kl --percentile 99", "--percentile"),
        ("quantize model.onnx -o out.onnx DATA --method auto --percentile 99", "auto"),
        ("quantize model.onnx -o out.onnx DATA --percentile 20", "percentile"),
        ("quantize model.onnx -o out.onnx DATA --precision int2", "int8"),
        ("quantize model.onnx -o out.onnx DATA --weights per-row", "per-channel"),
        ("quantize model.onnx -o out.onnx DATA --weight-method kl", "mse"),
        ("quantize model.onnx -o out.onnx DATA --target toaster", "onnxruntime-cpu"),
        ("quantize model.onnx -o out.onnx DATA --float-layer nope", "nope"),
        ("quantize model.onnx -o out.onnx DATA --recipe missing.yaml", "missing.yaml"),
        ("quantize model.onnx -o out.onnx DATA --recipe recipe.yaml", "YAML"),
        ("quantize model.onnx -o out.onnx DATA --recipe binary.yaml", "binary.yaml"),
        ("quantize model.onnx -o out.onnx DATA --recipe recipe.yaml --method kl", "--method"),
        ("quantize model.onnx -o out.onnx --stats text.npz", "text.npz"),
        ("quantize model.onnx -o out.onnx --stats missing.npz", "missing.npz"),
        ("quantize model.onnx -o out.onnx --stats wrong.npz", "wrong.npz"),
        ("quantize model.onnx -o out.onnx --stats model.onnx", "statistics"),
        ("quantize model.onnx -o out.onnx --stats wrong.npz --limit 3", "--limit"),
        ("quantize model.onnx -o out.onnx --stats wrong.npz --labels x.npy", "--labels"),
        ("quantize model.onnx -o out.onnx --stats wrong.npz --preprocess 0-1", "--preprocess"),
        ("quantize model.onnx -o out.onnx --random 4 --seed -1", "--seed"),
        ("quantize model.onnx -o out.onnx DATA --auto --method kl", "--method"),
        ("quantize model.onnx -o out.onnx DATA --auto --percentile 99", "--percentile"),
        ("quantize model.onnx -o out.onnx DATA --scale-rule nope", "power-of-two-up"),
        ("quantize model.onnx -o out.onnx DATA --recipe recipe.yaml", "recipe.yaml"),
        ("quantize model.onnx -o out.onnx DATA --recipe good.yaml --save-recipe good.yaml", "good.yaml"),
        ("quantize model.onnx -o out.onnx DATA --preprocess good.yaml --save-recipe good.yaml", "good.yaml"),
        ("quantize model.onnx -o . DATA", "name"),
        ("quantize model.onnx -o .onnx DATA", "name"),
        ("quantize q.onnx -o out.onnx DATA", "already quantized"),
        ("tune model.onnx DATA --recipe good.yaml -o good.yaml", "good.yaml"),
        ("tune model.onnx DATA -o out.txt", ".yaml"),
        ("tune model.onnx DATA -o out.yaml --max-drop -1", "--max-drop"),
        ("tune model.onnx DATA -o out.yaml --min-sqnr nan", "--min-sqnr"),
        ("tune model.onnx DATA -o out.yaml --budget -5kB", "--budget"),
        ("tune model.onnx DATA -o out.yaml --cost size", "--budget"),
        ("tune model.onnx DATA -o out.yaml --precisions int8 --budget 60%", "two or more"),
        ("sensitivity model.onnx", "--data"),
        ("sensitivity model.onnx DATA --kind nope", "op-type"),
        ("sensitivity model.onnx DATA --metric nope", "cosine"),
        ("sensitivity model.onnx DATA --samples 0", "--samples"),
        ("quantize model.onnx -o model.onnx DATA", "model.onnx"),
        ("quantize model.onnx -o no/such/folder/out.onnx DATA", "folder"),
        ("quantize model.onnx -o folder.onnx DATA", "folder"),
        ("quantize model.onnx -o out.data DATA", ".onnx"),
        ("quantize model.onnx -o out.onnx DATA --save-recipe out.onnx", ".yaml"),
        ("calibrate model.onnx -o out.onnx DATA", ".npz"),
        ("calibrate model.onnx DATA", "--output"),
        ("calibrate model.onnx --data samples -o samples/stats.npz", "samples"),
        ("compare model.onnx missing.onnx DATA", "missing.onnx"),
        ("compare model.onnx text.onnx DATA", "text.onnx"),
        ("compare model.onnx model.onnx", "--data"),
        ("compare q.onnx model.onnx DATA", "already quantized"),
        ("thresholds missing.npy", "missing.npy"),
        ("thresholds text.npy", "text.npy"),
        ("thresholds words.npy", "words.npy"),
        ("thresholds none.npy", "none.npy"),
        ("thresholds nan.npy", "nan.npy"),
        ("thresholds wrong.npz", "wrong.npz"),
        ("thresholds x.npy --type int17", "uint16"),
        ("thresholds x.npy --percentile 101", "--percentile"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    quantscope: Run, bad_files: Path, monkeypatch: pytest.MonkeyPatch, line: str, says: str
) -> None:
    monkeypatch.chdir(bad_files)
    before = sorted(bad_files.iterdir())
    words = [part for word in line.split() for part in (DATA if word == "DATA" else (word,))]
    done = quantscope(*words)
    assert done.code == 2, done.err
    assert done.out == ""
    errors = [text for text in done.err.splitlines() if not text.startswith("warning: ")]
    assert len(errors) == 1, done.err
    assert errors[0].startswith("error: ")
    assert says in errors[0]
    assert "Traceback" not in done.err
    assert [path for path in sorted(bad_files.iterdir()) if path.suffix == ".onnx"] == [
        path for path in before if path.suffix == ".onnx"
    ]


def test_nothing_but_the_error_reaches_a_terminal(tmp_path: Path) -> None:
    """Also ONNX Runtime, which logs from C++, keeps quiet."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(MLP.model.read_bytes()[:-2000])
    done = process("inspect", broken, home=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_an_unwritable_folder_is_noticed_before_any_work(
    quantscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    done = quantscope("quantize", tmp_path / "not even there.onnx", *DATA, "-o", tmp_path / "q.onnx")
    assert done.code == 2
    assert "permission" in done.err


def test_a_full_disk_is_one_line_and_leaves_the_old_file(
    quantscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "q.onnx"
    out.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = quantscope("quantize", MLP.model, "--random", 2, "-o", out, "--no-cache")
    assert done.code == 2
    assert "No space left on device" in done.err
    assert out.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*.tmp"))


def test_the_unexpected_is_one_line_and_code_1(quantscope: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by\nsurprise")

    monkeypatch.setattr("quantscope.ui.cli.commands.inspect.work.inspection", fail)
    done = quantscope("inspect", MLP.model)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("error: unexpected ZeroDivisionError: by surprise; run it again with --debug")
    shown = quantscope("inspect", MLP.model, "--debug")
    assert shown.code == 1
    assert "Traceback" in shown.err


def test_control_c_ends_quietly_and_writes_nothing(
    quantscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quantscope.ui.cli.activations.calibrate", interrupt)
    done = quantscope("quantize", MLP.model, *DATA, "-o", tmp_path / "q.onnx")
    assert (done.code, done.err) == (130, "interrupted\n")
    assert not (tmp_path / "q.onnx").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_control_c_in_a_real_process(tmp_path: Path) -> None:
    reader = tmp_path / "slow.py"
    reader.write_text(
        "import time, numpy as np\n"
        "def samples():\n"
        "    for i in range(10_000):\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(0.05)\n"
        f"        yield {{'{input_name()}': np.zeros({input_shape()}, np.float32)}}\n",
        encoding="utf-8",
    )
    interrupt(reader, tmp_path)


@pytest.mark.slow
def test_control_c_that_gets_lost_is_repeated(tmp_path: Path) -> None:
    """As an interrupt is lost that comes while a finalizer or a callback from C runs."""
    reader = tmp_path / "deaf.py"
    reader.write_text(
        "import time, numpy as np\n"
        "def samples():\n"
        "    lost = False\n"
        "    for i in range(10_000):\n"
        "        if i == 0:\n"
        "            print('ready', flush=True)\n"
        "        try:\n"
        "            time.sleep(0.05)\n"
        "        except KeyboardInterrupt:\n"
        "            if lost:\n"
        "                raise\n"
        "            lost = True\n"
        f"        yield {{'{input_name()}': np.zeros({input_shape()}, np.float32)}}\n",
        encoding="utf-8",
    )
    interrupt(reader, tmp_path)


def interrupt(reader: Path, folder: Path) -> None:
    """Quantize with a user's reader, press Ctrl-C once it is asked, and see that the command ends well."""
    command = [sys.executable, "-m", "quantscope.ui.cli", "quantize", str(MLP.model), "--data", str(reader)]
    command += ["-o", str(folder / "q.onnx"), "--no-cache"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=command_env(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        said = list(itertools.takewhile(lambda line: "ready" not in line, running.stderr))
        assert running.poll() is None, said  # it was the reader who spoke, and it goes on
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "interrupted"
    assert not (folder / "q.onnx").exists()


def input_name() -> str:
    return str(open_session(MLP.model).get_inputs()[0].name)


def input_shape() -> tuple[int, ...]:
    return tuple(int(n) for n in np.load(MLP.calibration)[input_name()].shape[1:])


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    line = f'"{sys.executable}" -m quantscope.ui.cli inspect "{SAMPLES["digits_vit"].model}" | head -n 1'
    done = subprocess.run(
        line,
        shell=True,
        cwd=ROOT,
        env=command_env(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
