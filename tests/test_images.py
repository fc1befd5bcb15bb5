"""Images: preprocessing against other implementations, folders, zip files, labels, broken files."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantscope.core.data import check_samples, open_samples
from quantscope.core.data.opening import Preprocessing
from quantscope.core.data.sources import PRESETS, preprocessing
from quantscope.core.data.sources.images import Order, Resize
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from tests.interfaces import image_model, model_with

RNG = np.random.default_rng(1)


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, channels), np.uint8).squeeze()


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write(folder: Path, files: dict[str, np.ndarray]) -> Path:
    for name, pixels in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(pixels))
    return folder


@pytest.fixture(scope="module")
def model() -> Model:
    return image_model(size=8)


# --- preprocessing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("0-255", lambda x: x),
        ("0-1", lambda x: x / 255),
        ("imagenet-tf", lambda x: x / 127.5 - 1),
        ("imagenet-torch", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("0-255,order=BGR,mean=103.94/116.78/123.68", lambda x: x[..., ::-1] - [103.94, 116.78, 123.68]),
        ("scale=1/128,mean=0.5,std=2", lambda x: (x / 128 - 0.5) / 2),
    ],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_values_and_layout(tmp_path: Path, text: str, formula: object, layout: str) -> None:
    pixels = picture(8, 8)
    dims = ("N", 3, 8, 8) if layout == "NCHW" else ("N", 8, 8, 3)
    write(tmp_path, {"a.png": pixels})
    samples = open_samples(
        tmp_path, model_with({"x": (np.float32, dims)}), preprocessing=f"{text},resize=stretch"
    )
    expected = formula(pixels.astype(np.float64))  # type: ignore[operator]
    expected = expected.transpose(2, 0, 1) if layout == "NCHW" else expected
    got = samples[0]["x"]
    assert (got.shape, got.dtype) == ((1, *expected.shape), np.float32)
    np.testing.assert_allclose(got[0], expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(("height", "width"), [(300, 500), (500, 301), (256, 256), (90, 160), (7, 1000)])
def test_crop_has_the_geometry_of_torchvision(tmp_path: Path, height: int, width: int) -> None:
    """Resize(256), CenterCrop(224): the longer side is truncated, offsets are rounded half to even."""
    pixels = picture(height, width)
    short, longer = min(height, width), max(height, width)
    size = {short: 256, longer: int(256 * longer / short)}
    inner = (256, 256) if height == width else (size[height], size[width])
    resized = Image.fromarray(pixels).resize((inner[1], inner[0]), Image.Resampling.BILINEAR)
    top, left = round((inner[0] - 224) / 2), round((inner[1] - 224) / 2)
    expected = np.asarray(resized)[top : top + 224, left : left + 224].transpose(2, 0, 1)
    write(tmp_path, {"a.png": pixels})
    got = open_samples(tmp_path, image_model(size=224), preprocessing="0-255")[0]["x"][0]
    np.testing.assert_array_equal(got, expected)


def test_other_ways_to_resize(tmp_path: Path) -> None:
    pixels = np.full((10, 20, 3), 200, np.uint8)
    write(tmp_path, {"a.png": pixels})
    model = image_model(size=8)
    padded = open_samples(tmp_path, model, preprocessing="0-255,resize=pad")[0]["x"][0, 0]
    assert (padded[2:6] == 200).all()
    assert (padded[[0, 1, 6, 7]] == 114).all()
    with pytest.raises(DataError, match="becomes"):
        open_samples(tmp_path, model, preprocessing="0-255,resize=none")[0]
    free = image_model(size="S")
    as_is = open_samples(tmp_path, free, preprocessing="0-255,resize=none")[0]["x"]
    assert as_is.shape == (1, 3, 10, 20)
    sized = open_samples(tmp_path, free, preprocessing="0-255,size=4x6,resize=stretch")
    assert sized[0]["x"].shape == (1, 3, 4, 6)
    guessed = open_samples(tmp_path, free)
    assert guessed[0]["x"].shape == (1, 3, 224, 224)
    assert any("leaves the size of 'x' open" in warning for warning in guessed.warnings)


def test_guesses_are_said_aloud(tmp_path: Path, model: Model) -> None:
    write(tmp_path, {"a.png": picture(8, 8), "b.png": picture(8, 8)})
    for made, preset in (
        (model, "imagenet-torch"),
        (model_with({"x": (np.float32, (1, 8, 8, 3))}), "imagenet-tf"),
        (model_with({"x": (np.uint8, (1, 8, 8, 3))}), "0-255"),
        (image_model(channels=1), "0-1,order=grey"),
    ):
        guessed = open_samples(tmp_path, made)
        assert "guessed" in guessed.warnings[0]
        np.testing.assert_array_equal(
            guessed[0]["x"], open_samples(tmp_path, made, preprocessing=preset)[0]["x"]
        )
    assert not open_samples(tmp_path, model, preprocessing="imagenet-torch").warnings


def test_integer_inputs_are_rounded_and_clipped(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": np.array([[[0, 100, 255]] * 8] * 8, np.uint8)})
    model = model_with({"x": (np.uint8, (1, 3, 8, 8))})
    got = open_samples(tmp_path, model, preprocessing="scale=1.5")[0]["x"]
    assert got.dtype == np.uint8
    assert got[0, :, 0, 0].tolist() == [0, 150, 255]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imagenet", "unknown preprocessing preset 'imagenet'"),
        ("0-255,colour=BGR", "unknown preprocessing setting 'colour'"),
        ("0-255,order=RBG", "order cannot be 'RBG'"),
        ("0-255,mean=a", "mean cannot be 'a'"),
        ("0-255,mean=1/2", "mean needs 1 or 3"),
        ("0-255,std=0", "std must not be 0"),
        ("0-255,size=0", "positive height"),
        ("0-255,scale=1/0", "scale cannot be"),
        ("0-255,scale=nan", "scale is finite"),
        ("0-255,crop_ratio=1.5", "crop_ratio lies in"),
        ("0-255,layout=CHWN", "layout is NCHW or NHWC"),
        ("0-255,size=9", "does not fit the model's 8x8"),
        ("0-255,order=grey", "takes 3 channels"),
    ],
)
def test_bad_preprocessing_is_explained(tmp_path: Path, model: Model, text: str, message: str) -> None:
    write(tmp_path, {"a.png": picture(8, 8)})
    with pytest.raises(DataError, match=message):
        open_samples(tmp_path, model, preprocessing=text)


def test_descriptions_round_trip() -> None:
    for how in (
        *PRESETS.values(),
        preprocessing("imagenet-tf,size=12x34,order=BGR,resize=pad,filter=bicubic"),
    ):
        assert preprocessing(how.to_dict()) == how
    assert preprocessing({"preset": "0-1", "std": 2}) == Preprocessing(scale=1 / 255, std=(2.0,))
    assert preprocessing("0-1,resize=Stretch").resize is Resize.STRETCH
    assert Preprocessing(order=Order.GREY).describe().startswith("shorter side to the model's size / 0.875")


# --- files -------------------------------------------------------------------------------------------


def test_folder_and_zip_agree(tmp_path: Path, model: Model) -> None:
    files = {f"{name}/img{number}.png": picture(9, 12) for name in ("cat", "ant") for number in (1, 2, 10)}
    folder = write(tmp_path / "images", files)
    (folder / ".hidden.png").write_bytes(b"junk")
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, pixels in files.items():
            archive.writestr(name, encoded(pixels))
        archive.writestr("__MACOSX/cat/._img1.png", b"junk")
        archive.writestr("../../evil.txt", b"never written")
    one, other = (
        open_samples(tmp_path / name, model, preprocessing="0-1") for name in ("images", "images.zip")
    )
    assert (one.kind, len(one)) == ("images", 6)
    np.testing.assert_array_equal(one.labels, [0, 0, 0, 1, 1, 1])
    assert one.label_names == ("ant", "cat")
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.fingerprint == other.fingerprint
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a["x"], b["x"])
    np.testing.assert_array_equal(
        one[2]["x"], open_samples(folder / "ant/img10.png", model, preprocessing="0-1")[0]["x"]
    )
    assert {path.name for path in tmp_path.iterdir()} == {"images", "images.zip"}


def test_fingerprint_depends_on_preprocessing_and_is_known_after_a_run(tmp_path: Path, model: Model) -> None:
    write(tmp_path, {"a.png": picture(8, 8), "b.png": picture(8, 8)})
    first = open_samples(tmp_path, model, preprocessing="0-1")
    assert first.fingerprint != open_samples(tmp_path, model, preprocessing="0-255").fingerprint
    second = open_samples(tmp_path, model, preprocessing="0-1")
    for position, sample in enumerate(second):
        second.digest(position, sample)
    for file in tmp_path.iterdir():
        file.unlink()
    assert second.fingerprint == first.fingerprint


def test_grey_images_for_a_colour_model_are_counted(tmp_path: Path, model: Model) -> None:
    def said(*shapes: tuple[int, ...]) -> str:
        folder = write(tmp_path / str(len(list(tmp_path.iterdir()))), {})
        for number, shape in enumerate(shapes):
            write(folder, {f"{number}.png": picture(*shape)})
        (warning,) = open_samples(folder, model, preprocessing="0-1").warnings or ("",)
        return warning

    grey, colour = (8, 8, 1), (8, 8, 3)
    assert said(colour, colour) == ""
    assert said(grey, grey).startswith("the images are grey; all three channels of the model's RGB input")
    assert said(grey, colour, colour).startswith("of the 3 images looked at, 1 is grey; all three")
    assert said(colour, grey, grey).startswith("of the 3 images looked at, 2 are grey")
    assert "of the 16 images looked at, 16 are grey" in said(*[grey] * 40)


def test_frames_and_turned_photographs_are_pointed_out(tmp_path: Path, model: Model) -> None:
    frames = [Image.fromarray(picture(8, 8)) for _ in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    frames[0].save(tmp_path / "b.jpg", exif=exif)
    frames[0].save(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(b"junk")
    said = " | ".join(open_samples(tmp_path, model, preprocessing="0-1").warnings)
    assert "of the 3 images looked at, 1 has several frames; of each the first one is used" in said
    assert "of the 3 images looked at, 1 is to be turned by EXIF" in said


def test_numbered_folders_are_class_numbers(tmp_path: Path, model: Model) -> None:
    write(tmp_path, {"10/a.png": picture(8, 8), "2/b.png": picture(8, 8)})
    np.testing.assert_array_equal(open_samples(tmp_path, model).labels, [2, 10])
    flat = write(tmp_path / "2", {"c.png": picture(8, 8)})
    assert open_samples(flat, model).labels is None


def test_labels_beside_the_images(tmp_path: Path, model: Model) -> None:
    write(tmp_path, {"img2.png": picture(8, 8), "img10.png": picture(8, 8)})
    np.save(tmp_path / "labels.npy", [5, 6])
    np.testing.assert_array_equal(open_samples(tmp_path, model).labels, [5, 6])
    (tmp_path / "labels.csv").write_text("img10.png,1\nimg2.png,0\n", encoding="utf-8")
    np.testing.assert_array_equal(open_samples(tmp_path, model).labels, [0, 1])


@pytest.mark.parametrize("header", ["", "file,label\n", "\ufefffilename;x,label\n"])
def test_labels_from_csv(tmp_path: Path, model: Model, header: str) -> None:
    write(tmp_path / "data", {"a.png": picture(8, 8), "sub/b.png": picture(8, 8)})
    table = tmp_path / "labels.csv"
    table.write_text(header.replace(";x", "") + "sub\\b.png,7\n./a.png, 3\n", encoding="utf-8")
    np.testing.assert_array_equal(open_samples(tmp_path / "data", model, labels=table).labels, [3, 7])
    table.write_text("a.png,zebra\nb.png,ant\n", encoding="utf-8")
    named = open_samples(tmp_path / "data", model, labels=table)
    np.testing.assert_array_equal(named.labels, [1, 0])
    assert named.label_names == ("ant", "zebra")
    table.write_text("a.png,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no label for sub/b\.png \(1 of 2"):
        open_samples(tmp_path / "data", model, labels=table)
    table.write_text("a.png\n", encoding="utf-8")
    with pytest.raises(DataError, match="file,label"):
        open_samples(tmp_path / "data", model, labels=table)


def test_formats_and_modes(tmp_path: Path, model: Model) -> None:
    pixels = picture(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    Image.fromarray(pixels).save(tmp_path / "b.webp", lossless=True)
    Image.fromarray(np.dstack([pixels, picture(8, 8, 1)])).save(tmp_path / "c.png")
    Image.fromarray(pixels).save(tmp_path / "d.tiff")
    palette = Image.fromarray(pixels).quantize(200)
    palette.save(tmp_path / "e.gif", save_all=True, append_images=[Image.new("P", (8, 8))])
    samples = open_samples(tmp_path, model, preprocessing="0-255,resize=none")
    got = [sample["x"][0].transpose(1, 2, 0) for sample in samples]
    for array in got[:4]:
        np.testing.assert_array_equal(array, pixels)
    np.testing.assert_array_equal(got[4], np.asarray(palette.convert("RGB")))


def test_sixteen_bit_greys_keep_their_range(tmp_path: Path) -> None:
    wide = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(wide).save(tmp_path / "a.png")
    got = open_samples(tmp_path, image_model(channels=1), preprocessing="0-255,order=grey,resize=none")[0][
        "x"
    ]
    np.testing.assert_allclose(got[0, 0], wide / 257, atol=1)


def test_pixel_arrays_are_preprocessed_like_files(tmp_path: Path, model: Model) -> None:
    pixels = RNG.integers(0, 256, (3, 10, 12, 3), np.uint8)
    folder = write(tmp_path / "files", {f"{i}.png": image for i, image in enumerate(pixels)})
    expected = [sample["x"] for sample in open_samples(folder, model, preprocessing="imagenet-tf")]
    np.savez(tmp_path / "a.npz", images=pixels, labels=[1, 2, 3])
    np.save(tmp_path / "b.npy", pixels.transpose(0, 3, 1, 2))
    for name in ("a.npz", "b.npy"):
        samples = open_samples(tmp_path / name, model, preprocessing="imagenet-tf")
        for sample, wanted in zip(samples, expected, strict=True):
            np.testing.assert_array_equal(sample["x"], wanted)
    np.testing.assert_array_equal(
        open_samples(tmp_path / "a.npz", model, preprocessing="0-1", limit=2).labels, [1, 2]
    )


def test_preprocessing_that_is_not_applied_is_said(tmp_path: Path, model: Model) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3, 8, 8), np.float32))
    assert "not applied" in open_samples(tmp_path / "a.npz", model, preprocessing="0-1").warnings[-1]


def test_fixed_batches_of_images(tmp_path: Path) -> None:
    write(tmp_path, {f"{number}.png": picture(8, 8) for number in range(3)})
    samples = open_samples(tmp_path, image_model(batch=2), preprocessing="0-1")
    assert [sample["x"].shape for sample in samples] == [(2, 3, 8, 8)] * 2
    last = samples[1]["x"]
    np.testing.assert_array_equal(last[0], last[1])
    assert samples.valid(1) == 1


# --- what cannot be used --------------------------------------------------------------------------------


def test_broken_images(tmp_path: Path, model: Model) -> None:
    good = encoded(RNG.integers(0, 256, (64, 64, 3), np.uint8))
    for content, message in (
        (good[:3000], "broken"),
        (b"GIF89a junk", "not an image"),
        (b"", "not an image"),
    ):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            check_samples(open_samples(tmp_path, model, preprocessing="0-1"), model)
        assert "bad.png" in str(caught.value)


def test_images_for_a_model_that_takes_none(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": picture(8, 8)})
    for inputs in (
        {"x": (np.float32, ("N", 8))},
        {"a": (np.float32, (1, 3, 8, 8)), "b": (np.float32, (1, 3, 8, 8))},
    ):
        with pytest.raises(DataError, match="images fit a model with one image input"):
            open_samples(tmp_path, model_with(inputs))


def test_huge_images_are_refused_before_they_are_unpacked(tmp_path: Path, model: Model) -> None:
    with Image.new("1", (20_000, 20_000)) as flat:  # 400 million pixels in 50 kB
        flat.save(tmp_path / "bomb.png", optimize=False)
    with pytest.raises(DataError, match="too large"):
        open_samples(tmp_path, model, preprocessing="0-1")


def test_zip_members_that_cannot_be_read(tmp_path: Path, model: Model) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", encoded(picture(8, 8)))
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF  # inside the member: its checksum no longer fits
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip: a\.png cannot be read"):
        open_samples(path, model, preprocessing="0-1")
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="not a readable zip"):
        open_samples(path, model)
