"""Samples as pictures for a slide: small PNG files as data URIs, and signals as lines."""

import base64
import io
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from quantscope.ui.content.sample_parts import Part, PicturePart
from quantscope.ui.content.story_records import Shot

LEAST = 8  # pixels of an image, at least, each way
PLAIN = 20  # of one without channels: smaller tables are no images
THIN = 8  # times as wide as high, or as high as wide: a strip in which nothing is seen
MOST = 320  # more are left out: a slide shows several images
PLENTY = 40_000  # characters of a picture, beyond which it is made smaller
POINTS = 240  # of a line
CUT = (0.5, 99.5)  # percent: what is black and white; single broken pixels must not darken the rest


def png_of(values: npt.NDArray[np.float32], *, channels_last: bool) -> str:
    """A sample as an image; "" where it is none.

    Args:
        values: Without the batch: (channels, height, width), (height, width, channels) or (height, width),
            of any range.
        channels_last: Which of the first two it is.
    """
    image = _pixels(values, channels_last=channels_last)
    if image is None:
        return ""
    stride = max(1, -(-max(image.shape[:2]) // MOST))
    image = image[::stride, ::stride]
    low, high = np.percentile(image, CUT)
    if not high > low:
        low, high = float(image.min()), float(image.max())
    scaled = np.clip((image - low) / (high - low if high > low else 1.0), 0, 1)
    buffer = io.BytesIO()
    Image.fromarray((255 * scaled).round().astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def shots_of(parts: Iterable[Part], models: Sequence[str]) -> tuple[Shot, ...]:
    """What goes in and what each model makes of it, as small pictures; empty where outputs are no pictures.

    Args:
        parts: Of a sample's card.
        models: What models are called in the captions of the parts.
    """
    found = [part for part in parts if isinstance(part, PicturePart)]
    made = [part for part in found if part.caption.rpartition(" · ")[2] in models]
    if len(made) < len(models) or any(_thin(part.src) for part in made[: len(models)]):
        return ()
    given = [part for part in found[:1] if part not in made]
    return tuple(
        Shot(
            caption=part.caption,
            src=smaller(part.src, square=part.square),
            square=part.square,
            boxes=part.boxes,
        )
        for part in (*given, *made[: len(models)])
    )


def _thin(src: str) -> bool:
    width, height = Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2]))).size
    return max(width, height) > THIN * min(width, height)


def smaller(src: str, *, square: bool) -> str:
    """A picture as a data URI, no larger than a slide needs it.

    Args:
        src: Data URI of a picture.
        square: Whether its pixels must stay as they are.
    """
    if square and len(src) < PLENTY:
        return src
    image = Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2])))
    image.thumbnail((MOST, MOST), Image.Resampling.NEAREST if square else Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if square:
        image.save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    image.convert("RGB").save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def line_of(values: npt.NDArray[np.float32]) -> tuple[float, ...]:
    """A sample as a line, 0 to 1; empty where it is no signal.

    Args:
        values: Without the batch; one axis of more than one value.
    """
    signal = np.squeeze(values)
    if signal.ndim != 1 or signal.size < LEAST or not np.all(np.isfinite(signal)):
        return ()
    stride = max(1, -(-signal.size // POINTS))
    signal = signal[::stride].astype(np.float64)
    span = float(signal.max() - signal.min())
    return tuple(((signal - signal.min()) / span if span else np.full(signal.shape, 0.5)).round(3).tolist())


def _pixels(values: npt.NDArray[np.float32], *, channels_last: bool) -> npt.NDArray[np.float64] | None:
    """(height, width) or (height, width, 3)."""
    image = np.asarray(values, np.float64)
    if image.ndim == 2 and min(image.shape) < PLAIN:
        return None
    if image.ndim == 3 and not channels_last:
        image = np.moveaxis(image, 0, -1)
    if image.ndim == 3:
        if image.shape[2] == 4:
            image = image[:, :, :3]
        if image.shape[2] == 1:
            image = image[:, :, 0]
        elif image.shape[2] != 3:
            return None
    if image.ndim not in (2, 3) or min(image.shape[:2]) < LEAST or not np.all(np.isfinite(image)):
        return None
    return image
