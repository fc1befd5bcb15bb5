"""Images as model inputs: what preprocessing is, how it is guessed, and decoding with it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from quantscope.core.data.sources.inputs import Input
from quantscope.core.errors import DataError
from quantscope.core.model.loading import LFS_POINTER

Array = npt.NDArray[Any]

MAX_PIXELS = 80_000_000  # a larger image is a decompression bomb, or no calibration image
DEFAULT_SIZE = (224, 224)  # where the model leaves height and width open
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"})
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Resize(StrEnum):
    """How an image of any size becomes one of the model's size."""

    CROP = "crop"  # shorter side to size / crop_ratio, then the centre
    STRETCH = "stretch"  # exactly to size, changing the aspect ratio
    PAD = "pad"  # longer side to size, the rest grey around it
    NONE = "none"  # as it is; its size must fit


class Order(StrEnum):
    """Channels of an image."""

    RGB = "RGB"
    BGR = "BGR"
    GREY = "grey"


class Filter(StrEnum):
    """Interpolation used for resizing."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    NEAREST = "nearest"


_FILTERS = {
    Filter.BILINEAR: Image.Resampling.BILINEAR,
    Filter.BICUBIC: Image.Resampling.BICUBIC,
    Filter.NEAREST: Image.Resampling.NEAREST,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """From an 8-bit image to an input: resize, crop, channel order, (x * scale - mean) / std, layout."""

    size: tuple[int, int] | None = None  # (height, width); None = the model's
    resize: Resize = Resize.CROP
    crop_ratio: float = 0.875  # CROP: share of the shorter side that the crop keeps (224 of 256)
    filter: Filter = Filter.BILINEAR
    order: Order = Order.RGB
    scale: float = 1.0  # applied first, to values of 0..255
    mean: tuple[float, ...] = (0.0,)  # one value, or one a channel in `order`
    std: tuple[float, ...] = (1.0,)
    layout: str | None = None  # "NCHW" or "NHWC"; None = the model's

    def __post_init__(self) -> None:
        channels = 1 if self.order is Order.GREY else 3
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (1, channels) or not np.isfinite(values).all():
                raise DataError(f"preprocessing: {name} needs 1 or {channels} finite values, not {values}")
        if 0.0 in self.std or not 0.0 < self.crop_ratio <= 1.0 or not np.isfinite(self.scale):
            raise DataError("preprocessing: std must not be 0, crop_ratio lies in (0, 1], scale is finite")
        if self.layout not in (None, "NCHW", "NHWC"):
            raise DataError(f"preprocessing: layout is NCHW or NHWC, not {self.layout!r}")
        if self.size is not None and min(self.size) < 1:
            raise DataError(f"preprocessing: size needs positive height and width, not {self.size}")

    def describe(self) -> str:
        """One line for people: what happens to an image, in order."""
        size = "the model's size" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        how = {
            Resize.CROP: f"shorter side to {size} / {self.crop_ratio:g}, centre crop",
            Resize.STRETCH: f"stretched to {size}",
            Resize.PAD: f"padded to {size}",
            Resize.NONE: "not resized",
        }[self.resize]
        mean, std = (", ".join(f"{v:g}" for v in values) for values in (self.mean, self.std))
        return f"{how}; {self.order}; (x * {self.scale:.6g} - [{mean}]) / [{std}]"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for YAML and JSON."""
        return {
            key: list(value)
            if isinstance(value, tuple)
            else str(value)
            if isinstance(value, StrEnum)
            else value
            for key, value in asdict(self).items()
        }

    def to_text(self) -> str:
        """The preset that is closest and what differs from it, as `preprocessing` reads it."""

        def told(value: Any) -> str:
            return "/".join(repr(v) for v in value) if isinstance(value, tuple) else str(value)

        texts: list[list[str]] = []
        for name, base in PRESETS.items():
            others = [f.name for f in fields(self) if getattr(self, f.name) != getattr(base, f.name)]
            texts.append([name, *(f"{other}={told(getattr(self, other))}" for other in others)])
        shortest = min(texts, key=len)
        return ",".join(shortest)

    def key(self) -> bytes:
        """What the content digest of an image depends on besides the file."""
        return json.dumps(self.to_dict(), sort_keys=True).encode()


PRESETS: Mapping[str, Preprocessing] = {
    "imagenet-torch": Preprocessing(scale=1 / 255, mean=_IMAGENET_MEAN, std=_IMAGENET_STD),
    "imagenet-tf": Preprocessing(scale=1 / 127.5, mean=(1.0,)),
    "0-1": Preprocessing(scale=1 / 255),
    "0-255": Preprocessing(),
}


def preprocessing(value: "str | Mapping[str, Any] | Preprocessing") -> Preprocessing:
    """A preprocessing from a preset's name, from `name,key=value,…`, or from a mapping as in a YAML file.

    Texts: `imagenet-tf,size=128,resize=stretch,order=BGR,mean=104/117/124`. A mapping may name a `preset`
    to start from. Raises `DataError` for unknown names and values.
    """
    if isinstance(value, Preprocessing):
        return value
    if isinstance(value, str):
        first, *rest = (part.strip() for part in value.split(","))
        pairs = [part.partition("=") for part in ([first, *rest] if "=" in first else rest)]
        given: dict[str, Any] = {key.strip(): text.strip() for key, _, text in pairs}
        name = None if "=" in first else first
    else:
        given = dict(value)
        name = given.pop("preset", None)
    if name is not None and (not isinstance(name, str) or name not in PRESETS):
        raise DataError(f"unknown preprocessing preset {name!r}; there are {', '.join(PRESETS)}")
    known = [field.name for field in fields(Preprocessing)]
    unknown = [key for key in given if key not in known]
    if unknown:
        raise DataError(f"unknown preprocessing setting {unknown[0]!r}; there are {', '.join(known)}")
    return replace(
        PRESETS[name] if name else Preprocessing(), **{key: _parse(key, text) for key, text in given.items()}
    )


def _parse(key: str, value: Any) -> Any:
    """One setting from text or plain values."""
    if value is None and key in ("size", "layout"):
        return None
    try:
        if key in ("mean", "std", "size"):
            parts = value.replace("x", "/").split("/") if isinstance(value, str) else value
            numbers = [float(part) for part in (parts if isinstance(parts, list | tuple) else [parts])]
            if key != "size":
                return tuple(numbers)
            height, width = numbers * 2 if len(numbers) == 1 else numbers
            return int(height), int(width)
        if key in ("scale", "crop_ratio"):
            top, _, bottom = str(value).partition("/")
            return float(top) / float(bottom or 1)
        if key == "layout":
            return value
        kind = {"resize": Resize, "order": Order, "filter": Filter}[key]
        return next(member for member in kind if member.lower() == str(value).lower())
    except (ValueError, TypeError, StopIteration, ArithmeticError) as error:
        raise DataError(f"preprocessing: {key} cannot be {value!r}") from error


def image_input(inputs: tuple[Input, ...]) -> Input | None:
    """The one input that takes an image: four axes, of which one holds 1, 3 or 4 channels."""
    images = [info for info in inputs if len(info.shape) == 4 and layout_of(info)]
    return images[0] if len(images) == 1 == len(inputs) else None


def layout_of(info: Input) -> str | None:
    """NCHW or NHWC by where the model has 1, 3 or 4 channels; None if neither."""
    if info.shape[1] in (1, 3):
        return "NCHW"
    return "NHWC" if info.shape[3] in (1, 3) else None


def guess(info: Input) -> Preprocessing:
    """A likely preprocessing for an input: what models of that layout are usually trained with."""
    layout = layout_of(info)
    channels = info.shape[1] if layout == "NCHW" else info.shape[3]
    if info.dtype.kind != "f":
        base = PRESETS["0-255"]
    elif channels == 1:
        base = PRESETS["0-1"]
    else:
        base = PRESETS["imagenet-torch" if layout == "NCHW" else "imagenet-tf"]
    return replace(base, order=Order.GREY, mean=base.mean[:1], std=base.std[:1]) if channels == 1 else base


def settle(wanted: Preprocessing, info: Input) -> tuple[Preprocessing, list[str]]:
    """Fill in layout and size from the model's input; `DataError` where they contradict it."""
    layout = wanted.layout or layout_of(info)
    if layout is None:
        raise DataError(f"input '{info.name}' has no axis of 1 or 3 channels: state the layout, NCHW or NHWC")
    axes = info.shape[2:] if layout == "NCHW" else info.shape[1:3]
    channels = info.shape[1] if layout == "NCHW" else info.shape[3]
    order, warnings = wanted.order, []
    if channels == 1 and order is not Order.GREY:
        order, warnings = Order.GREY, [f"input '{info.name}' has one channel: images are converted to grey"]
    if isinstance(channels, int) and channels != (1 if order is Order.GREY else 3):
        raise DataError(f"input '{info.name}' takes {channels} channels, but {order} was asked for")
    size = wanted.size
    if size is None and wanted.resize is not Resize.NONE:
        size = tuple(dim if isinstance(dim, int) else DEFAULT_SIZE[0] for dim in axes)  # type: ignore[assignment]
        if any(not isinstance(dim, int) for dim in axes):
            warnings.append(
                f"the model leaves the size of '{info.name}' open: images become {size[0]}x{size[1]}; "  # type: ignore[index]
                "state size= if it should be another"
            )
    elif size is not None and any(isinstance(d, int) and d != s for d, s in zip(axes, size, strict=True)):
        raise DataError(
            f"preprocessing size {size[0]}x{size[1]} does not fit the model's {axes[0]}x{axes[1]}"
        )
    one = order is Order.GREY
    return replace(
        wanted,
        layout=layout,
        size=size,
        order=order,
        mean=(float(np.mean(wanted.mean)),) if one else wanted.mean,
        std=(float(np.mean(wanted.std)),) if one else wanted.std,
    ), warnings


def decode(source: IO[bytes], label: str) -> Image.Image:
    """The first frame of an image file, 8 bits a channel; `DataError` if it is broken or too large."""
    try:
        with Image.open(source) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{label} has {image.width}x{image.height} pixels, which is too large")
            if image.mode.startswith(("I", "F")):  # 16-bit greys; `convert` would clip them
                high = max(float(np.max(wide := np.asarray(image, np.float64))), 1.0)
                return Image.fromarray((wide * (255 / (65535 if high > 255 else 255))).astype(np.uint8))
            image.load()
            return image.copy()
    except UnidentifiedImageError as error:
        source.seek(0)
        if source.read(len(LFS_POINTER)) == LFS_POINTER:
            raise DataError(
                f"{label} is a Git LFS pointer, not the image: run `git lfs pull` in its repository"
            ) from error
        raise DataError(f"{label} is not an image that can be read: remove or replace it") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{label} is too large to be an image for calibration") from error
    except DataError:
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise DataError(f"{label} is broken ({str(error)[:120]}): remove or replace it") from error


def apply(image: Image.Image, how: Preprocessing, dtype: np.dtype[Any]) -> Array:
    """One sample from an image: (1, C, H, W) or (1, H, W, C) of `dtype`. `how` must be settled."""
    image = _resized(image.convert("L" if how.order is Order.GREY else "RGB"), how)
    pixels = np.asarray(image)
    pixels = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    if how.order is Order.BGR:
        pixels = pixels[..., ::-1]
    values = normalized(pixels, how, dtype)
    return np.ascontiguousarray(values.transpose(2, 0, 1) if how.layout == "NCHW" else values)[np.newaxis]


def normalized(pixels: Array, how: Preprocessing, dtype: np.dtype[Any]) -> Array:
    """(x * scale - mean) / std along the last axis, in float32; integer types are rounded and clipped."""
    factor = np.asarray(how.scale / np.asarray(how.std), np.float32)
    shift = np.asarray(np.asarray(how.mean) / np.asarray(how.std), np.float32)
    values = pixels.astype(np.float32)
    values *= factor
    values -= shift
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype, copy=False)


def _resized(image: Image.Image, how: Preprocessing) -> Image.Image:
    if how.resize is Resize.NONE or how.size is None or image.size == how.size[::-1]:
        return image
    (height, width), method = how.size, _FILTERS[how.filter]
    if how.resize is Resize.STRETCH:
        return image.resize((width, height), method)
    if how.resize is Resize.PAD:
        share = min(width / image.width, height / image.height)
        inner = (max(1, round(image.width * share)), max(1, round(image.height * share)))
        canvas = Image.new(image.mode, (width, height), 114 if image.mode == "L" else (114, 114, 114))
        canvas.paste(image.resize(inner, method), ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return canvas
    # Truncated length and half-to-even offsets are what torchvision's Resize and CenterCrop do.
    target = max(height, round(height / how.crop_ratio)), max(width, round(width / how.crop_ratio))
    if target[0] * image.width <= target[1] * image.height:
        inner = (target[1], max(target[0], target[1] * image.height // image.width))
    else:
        inner = (max(target[1], target[0] * image.width // image.height), target[0])
    left, top = round((inner[0] - width) / 2), round((inner[1] - height) / 2)
    return image.resize(inner, method).crop((left, top, left + width, top + height))
