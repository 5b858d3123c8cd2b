"""Photographs for a network, brought to its size as torchvision does for its classifiers.

A picture is scaled, bilinearly, until its shorter side is 256/224 of the size (so 256 for 224); the
middle is cut out; values go from 0..255 to 0..1, less ImageNet's mean, over its deviation, by
channel. Where the size is no square the picture is scaled until it covers 256/224 of both sides.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcbench.errors import UsageError, cause

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# of the formats that Pillow reads those of photographs: to open an EPS would run Ghostscript
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")
# what torchvision resizes to, over what it cuts out
MARGIN = 256 / 224


@dataclass(frozen=True)
class Photo:
    """A picture by its name, opened when it is needed."""

    name: str
    open: Callable[[], "Image.Image"]
    path: Path | None = None


def gather(paths: Sequence[Path]) -> list[Photo]:
    """Find the pictures that files and folders name, each once, those of a folder in order.

    Of a folder are taken the files whose names end as those of pictures. Every one is looked at:
    raises UsageError, which names it, where one is missing, no picture, or beyond Pillow's limit,
    or where a folder has none.
    """
    files = dict.fromkeys(file for path in paths for file in _files(path))
    for file in files:
        with _opened(file) as picture:
            _require_range(file, picture)
    return [Photo(file.name, partial(_load, file), file) for file in files]


def samples() -> list[Photo]:
    """The two photographs that scikit-learn ships. Raises UsageError where it is not installed."""
    from PIL import Image

    data = shipped("--images: give a folder of photographs, or files; two come with")
    return [
        Photo(name, partial(Image.fromarray, data.load_sample_image(name)))
        for name in ("china.jpg", "flower.jpg")
    ]


def shipped(why: str) -> Any:
    """Import scikit-learn's data sets. Raises UsageError, which begins so, where it is missing."""
    before = dict(os.environ)
    try:
        from sklearn import datasets
    except ImportError as error:
        raise UsageError(f"{why} scikit-learn: pip install scikit-learn") from error
    finally:
        # it sets variables of OpenMP for itself, and a run would be recorded as made with them
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
    return datasets


def _files(path: Path) -> Iterable[Path]:
    from PIL import Image

    try:
        if path.is_file():
            return [path]
        if not path.is_dir():
            raise UsageError(f"--images {path}: there is no such file or folder")
        ends = [end for end, kind in Image.registered_extensions().items() if kind in FORMATS]
        named = [each for each in sorted(path.iterdir()) if each.suffix.lower() in ends]
        found = [each for each in named if each.is_file()]
    except OSError as error:
        raise UsageError(f"--images {path}: cannot read it: {cause(error)}") from error
    if not found:
        raise UsageError(
            f"--images {path}: there are no pictures in this folder (files such as .jpg or .png)"
        )
    return found


def _require_range(path: Path, picture: "Image.Image") -> None:
    """Raise UsageError where nothing says which value of a picture is white."""
    if picture.mode == "F" or (picture.mode == "I" and picture.format == "TIFF"):
        raise UsageError(
            f"--images {path}: its values are 32-bit numbers, and which of them is white nobody "
            "says: save it with 8 or 16 bits"
        )


def _load(path: Path) -> "Image.Image":
    with _opened(path) as picture:
        if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format != "TIFF"):
            # Pillow's own way to 8 bits cuts off what is above 255
            return picture.convert("I").point(lambda value: value * (255 / 65535)).convert("RGB")
        return picture.convert("RGB")


@contextmanager
def _opened(path: Path) -> Iterator["Image.Image"]:
    """Open a picture. Raises UsageError where that, or what is done with it, goes wrong."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # above its limit Pillow warns, and above twice that refuses: both are too many here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # of odd metadata: none of it is used
            warnings.filterwarnings("ignore", category=UserWarning)
            with Image.open(path, formats=FORMATS) as picture:
                yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UsageError(
            f"--images {path}: it has more pixels than the {Image.MAX_IMAGE_PIXELS:,} at which "
            "Pillow suspects a decompression bomb: make it smaller first"
        ) from error
    except UnidentifiedImageError as error:
        raise UsageError(
            f"--images {path}: this is no picture ({', '.join(FORMATS)} are read)"
        ) from error
    except OSError as error:
        why = cause(error) if error.errno else "the picture is damaged"
        raise UsageError(f"--images {path}: cannot read it: {why}") from error
    except (ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise UsageError(f"--images {path}: the picture is damaged") from error


def fitted(photo: Photo, size: tuple[int, int]) -> "Image.Image":
    """Scale a picture and cut out its middle of height x width. Raises UsageError."""
    from PIL import Image
    from torchvision.transforms import functional as F

    picture = photo.open()
    wide, high = picture.size
    scaled = [max(1, round(side * MARGIN)) for side in size]
    if scaled[0] / high >= scaled[1] / wide:
        to = [scaled[0], max(scaled[1], int(scaled[0] * wide / high))]
    else:
        to = [max(scaled[0], int(scaled[1] * high / wide)), scaled[1]]
    if to[0] * to[1] > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise UsageError(
            f"--images {photo.name}: {wide} x {high} pixels would become {to[1]} x {to[0]} before "
            f"the middle of {size[1]} x {size[0]} is cut out: cut it yourself, or make --size "
            "smaller"
        )
    cut: Image.Image = F.center_crop(F.resize(picture, to), list(size))
    return cut


def normalised(picture: "Image.Image") -> "Tensor":
    """Make (1, 3, H, W) of a picture, in float32."""
    from torchvision.transforms import functional as F

    tensor: Tensor = F.normalize(F.to_tensor(picture), MEAN, DEVIATION)
    return tensor.unsqueeze(0)
