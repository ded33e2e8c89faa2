"""Images, which are untrusted: what may come in, what is kept of it, and how models get to see it."""

from __future__ import annotations

import math
import os
import re
import stat
import sys
import warnings
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from PIL import Image as Pixels

from iterreason.calls import View
from iterreason.errors import BadImage
from iterreason.pixels import MAX_BYTES, check_bytes, check_size, damaged, is_plain, opened, png, rgb_pixels
from iterreason.records import Image, Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

CACHE_BYTES = 256 * 2**20
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}  # the formats that are kept
SCHEME = re.compile(r"(data|file|[a-z][a-z0-9+.-]+(?=://)):", re.IGNORECASE)

Source = str | Path | bytes | Pixels.Image | Image


def load_image(
    source: Source | NDArray[Any], *, allow_url: bool = False, permitted: Callable[[str], bool] | None = None
) -> Image:
    """The image in a file, a URL, bytes, a PIL image or an array; of an animation, the first frame, with a warning.

    source: PNG, JPEG, WebP, GIF, BMP, TIFF or PPM, at most 64 MiB and 64 megapixels; arrays are HxW, HxWx1, HxWx3 or
        HxWx4, uint8 or floats in [0, 1].
    allow_url: whether a `source` that starts with http:// or https:// is fetched.
    permitted: which IP addresses may be fetched from; None permits public ones only.
    Raises BadImage where it cannot be read, or is refused.
    """
    if isinstance(source, Image):
        return source
    if isinstance(source, Pixels.Image):
        check_size(source.size, "the PIL image")
        return _as_png(rgb_pixels(source, "the PIL image"), _name(getattr(source, "filename", "")) or "image")
    if isinstance(source, bytes):
        return _from_bytes(source, "the image (bytes)", "image")
    if isinstance(source, str) and (scheme := SCHEME.match(source)):
        name = plain_url(source)
        return _from_bytes(_fetched(source, scheme[1].lower(), allow_url, permitted), repr(name), name)
    if isinstance(source, str | Path):
        label = repr(_short(str(source)))
        return _from_bytes(_file_bytes(source, label), label, _name(source))
    numpy = sys.modules.get("numpy")  # where nobody imported it, nothing is an array
    if numpy and isinstance(source, numpy.ndarray):
        return _as_png(rgb_pixels(_from_array(source), "the array"), "image")
    raise BadImage(f"no image can be made of {type(source).__name__!r}; give a path, bytes, a PIL image or an array")


def decode(view: View) -> Pixels.Image:
    """The view's pixels, RGB, the caller's own; raises BadImage where the image has no data."""
    image = view.image
    label = f"image {image.name!r}"
    if not image.data:
        raise BadImage(f"{label} has no pixels here, only its hash (a replay); load it from its file to look at it")
    picture = _recent.get(image.data, lambda: rgb_pixels(opened(image.data, label), label))
    return picture.crop(pixel_box(view.region, picture.size)) if view.region else picture.copy()


def encode(view: View) -> tuple[bytes, str]:
    """The view as a file and its media type: the image's own bytes, or a PNG of the region."""
    if view.region or not view.image.data:
        return png(decode(view)), "image/png"
    return view.image.data, view.image.media_type


def data_url(view: View) -> str:
    """The view as a base64 `data:` URL."""
    data, media_type = encode(view)
    return f"data:{media_type};base64,{b64encode(data).decode()}"


def pixel_box(region: Region, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The region in whole pixels (left, top, right, bottom), at least one pixel wide and high."""
    width, height = size
    left, top = min(round(region.x0 * width), width - 1), min(round(region.y0 * height), height - 1)
    return left, top, max(round(region.x1 * width), left + 1), max(round(region.y1 * height), top + 1)


def plain_url(url: str) -> str:
    """A URL fit to be shown and stored: without the user's name, password, query and fragment."""
    return _short(re.split(r"[?#]", re.sub(r"//[^/]*@", "//…@", url))[0])


# ------------------------------------------------------------------ where it comes from


def _name(path: object) -> str:
    """A file's name as text that can be written anywhere, whatever bytes it holds on disk."""
    return Path(str(path)).name.encode("utf-8", "replace").decode()


def _from_bytes(data: bytes, label: str, name: str) -> Image:
    picture = opened(data, label)
    try:
        animated = getattr(picture, "is_animated", False)
        picture.load()
        kept = is_plain(picture, data)
    except Exception as error:  # decoders raise whatever they trip over
        raise damaged(label, picture.format, error) from error
    width, height = picture.size
    media_type = MEDIA_TYPES.get(picture.format or "", "")
    image = Image(sha256(data).hexdigest(), width, height, media_type, name, data) if kept else None
    image = image or _as_png(rgb_pixels(picture, label), name)
    if animated:
        warnings.warn(f"{label} has more than one frame; only the first is looked at", UserWarning, stacklevel=3)
    return image


def _as_png(rgb: Pixels.Image, name: str) -> Image:
    data = png(rgb)
    return Image(sha256(data).hexdigest(), rgb.width, rgb.height, "image/png", name, data)


def _fetched(url: str, scheme: str, allowed: bool, permitted: Callable[[str], bool] | None) -> bytes:
    label, instead = repr(plain_url(url)), "download the image and give the file's path"
    if scheme not in ("http", "https"):
        raise BadImage(f"{label} is a '{scheme}:' address, and only http and https can be allowed; {instead}")
    if not allowed:
        raise BadImage(f"{label} is a URL; to fetch it give --allow-url (in Python allow_url=True), or {instead}")
    from iterreason.fetch import fetch, is_public

    return fetch(url, permitted=permitted or is_public)


def _file_bytes(path: str | Path, label: str) -> bytes:
    if not str(path).strip():
        raise BadImage("the path of the image is empty; name an image file")
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise BadImage(f"{label} is a directory; name one image file in it")
        if not stat.S_ISREG(status.st_mode):
            raise BadImage(f"{label} is not a regular file but a device, pipe or socket; copy the image to a file")
        check_bytes(status.st_size, label)
        with open(path, "rb", opener=_open_at_once) as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise BadImage(f"{label} does not exist; check the path and the folder that it starts from") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadImage(f"{label} cannot be read ({reason}); check the path and its permissions") from error


def _open_at_once(path: str, flags: int) -> int:
    # Should the file turn into a pipe after it was looked at, opening it must not wait for a writer.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _from_array(array: NDArray[Any]) -> Pixels.Image:
    label = f"the array of shape {array.shape} and type {array.dtype}"
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        raise BadImage(f"{label} is no picture; give HxW, HxWx1, HxWx3 (RGB) or HxWx4 (RGBA)")
    check_size((array.shape[1], array.shape[0]), label)
    if array.dtype.kind == "f":
        if not ((array >= 0) & (array <= 1)).all():
            raise BadImage(f"{label} holds values outside [0, 1]; scale them to it, or give uint8")
        array = (array * 255).round().astype("uint8")
    if array.dtype != "uint8":
        raise BadImage(f"{label} has no agreed brightness; give uint8, or floats in [0, 1]")
    return Pixels.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"


# ------------------------------------------------------------------ decoded pixels, for a while


class Recent:
    """The pictures decoded last, so that many questions about one image decode it once; bounded by bytes.

    The key is the encoded bytes themselves: a record's hash is only a claim about them. Python hashes them once.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._held: OrderedDict[bytes, Pixels.Image] = OrderedDict()
        self._lock = Lock()

    def get(self, data: bytes, decoded: Callable[[], Pixels.Image]) -> Pixels.Image:
        """The picture of `data`, decoded now where it is not held."""
        with self._lock:
            if data in self._held:
                self._held.move_to_end(data)
                return self._held[data]
        picture = decoded()
        with self._lock:
            self._drop(data)  # another thread may have been as quick
            self._held[data] = picture
            self.bytes += _cost(data, picture)
            while self.bytes > self.limit:
                self._drop(next(iter(self._held)))
        return picture

    def _drop(self, data: bytes) -> None:
        if data in self._held:
            self.bytes -= _cost(data, self._held.pop(data))


def _cost(data: bytes, picture: Pixels.Image) -> int:
    return len(data) + 4 * math.prod(picture.size)  # PIL holds RGB in 4 bytes a pixel


_recent = Recent(CACHE_BYTES)
