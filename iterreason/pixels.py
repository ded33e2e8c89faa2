"""From untrusted bytes to RGB pixels, and back to PNG."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO

from PIL import BmpImagePlugin, GifImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL import Image as Pixels
from PIL.ExifTags import Base as Exif
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from iterreason.errors import BadImage

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000
MAX_SCANS = 100  # of a progressive JPEG: photos have about ten, and each costs a pass over all pixels

# Not `Image.open(formats=...)`: that warns of a decompression bomb before its size can be refused here, silencing the
# warning is unsafe in threads, and a phone's JPEG with a preview behind it would pass for an animation (MPO).
READERS: tuple[tuple[bytes, Callable[[BytesIO], ImageFile]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (rb"\xff\xd8\xff", JpegImageFile),
    (rb"(?s:RIFF....WEBP)", WebPImagePlugin.WebPImageFile),
    (rb"GIF8[79]a", GifImagePlugin.GifImageFile),
    (rb"BM", BmpImagePlugin.BmpImageFile),
    (rb"II[*+]\0|MM\0[*+]", TiffImagePlugin.TiffImageFile),
    (rb"P[1-6fF]\s", PpmImagePlugin.PpmImageFile),
)
UPRIGHT = {  # by EXIF orientation; `ImageOps.exif_transpose` would also rewrite the EXIF block, which can fail
    2: Pixels.Transpose.FLIP_LEFT_RIGHT,
    3: Pixels.Transpose.ROTATE_180,
    4: Pixels.Transpose.FLIP_TOP_BOTTOM,
    5: Pixels.Transpose.TRANSPOSE,
    6: Pixels.Transpose.ROTATE_270,
    7: Pixels.Transpose.TRANSVERSE,
    8: Pixels.Transpose.ROTATE_90,
}
JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")


def opened(data: bytes, label: str) -> ImageFile:
    """The picture in `data`, of which only the header was read; its size is within bounds.

    label: what errors call it. Raises BadImage.
    """
    if not data:
        raise BadImage(f"{label} is empty (0 bytes); save or download it again")
    check_bytes(len(data), label)
    reader = next((reader for magic, reader in READERS if re.match(magic, data)), None)
    if reader is None:
        raise BadImage(f"{label} is not a PNG, JPEG, WebP, GIF, BMP, TIFF or PPM image; convert it to PNG")
    try:
        picture = reader(BytesIO(data))
    except Exception as error:  # decoders raise whatever they trip over
        raise damaged(label, "image", error) from error
    check_size(picture.size, label)
    if picture.format == "JPEG" and _jpeg_extent(data)[1] > MAX_SCANS:
        raise BadImage(f"{label} is a JPEG of more than {MAX_SCANS} scans; save it again as an ordinary JPEG or PNG")
    return picture


def check_bytes(count: int, label: str) -> None:
    """Raise BadImage where an encoded image is too long."""
    if count > MAX_BYTES:
        raise BadImage(f"{label} has {count / 2**20:,.1f} MiB, and {MAX_BYTES // 2**20} are allowed; save it smaller")


def check_size(size: tuple[int, int], label: str) -> None:
    """Raise BadImage where a picture has no pixels, or too many."""
    width, height = size
    if not (width >= 1 and height >= 1 and width * height <= MAX_PIXELS):
        bounds = f"1 x 1 to {MAX_PIXELS // 10**6} megapixels"
        raise BadImage(f"{label} has {width:,} x {height:,} pixels, and {bounds} are allowed; resize it")


def damaged(label: str, kind: str | None, error: Exception) -> BadImage:
    """The error for a picture of this kind (a format) that a decoder choked on."""
    reason = str(error).partition("\n")[0][:200] or type(error).__name__
    return BadImage(f"{label} is a damaged or truncated {kind or 'image'} ({reason}); save or download it again")


def rgb_pixels(picture: Pixels.Image, label: str) -> Pixels.Image:
    """Upright, 8 bits a channel, transparency laid on white; colour profiles are ignored. Raises BadImage."""
    kind = picture.format
    try:
        picture.load()
        turn = UPRIGHT.get(_orientation(picture))
        if picture.mode[0] in "IF":
            picture = _eight_bits(picture, label)
        if picture.has_transparency_data:
            above = picture.convert("RGBA")
            picture = Pixels.alpha_composite(Pixels.new("RGBA", above.size, "white"), above)
        rgb = picture.convert("RGB")
        rgb = rgb if turn is None else rgb.transpose(turn)
    except BadImage:
        raise
    except Exception as error:  # decoders raise whatever they trip over
        raise damaged(label, kind, error) from error
    rgb.info = {}
    return rgb


def _eight_bits(picture: Pixels.Image, label: str) -> Pixels.Image:
    """Grey of 16 bits, 32 bits or floats as 8 bits: scaled where the range is known or plain to see, never clipped."""
    numbers = picture if picture.mode == "F" else picture.convert("I")
    low, high = numbers.getextrema()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    sixteen = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM")
    if sixteen:
        scale = 1 / 257
    elif picture.mode == "F" and 0 <= low <= high <= 1:
        scale = 255
    elif 0 <= low <= high <= 255:
        scale = 1
    elif picture.mode == "I" and 0 <= low <= high <= 65_535:
        scale = 1 / 257
    else:
        raise BadImage(f"{label} holds values from {low:g} to {high:g}; save it with 8 bits a channel")
    grey = numbers.point(lambda value: value * scale + 0.5).convert("L")
    grey.info = {}
    return grey


def _orientation(picture: Pixels.Image) -> int:
    try:
        return int(picture.getexif().get(Exif.Orientation, 1))
    except Exception:  # an EXIF block that cannot be read says nothing, as in any viewer
        return 1


def is_plain(picture: ImageFile, data: bytes) -> bool:
    """Whether `data`, which `picture` was loaded from, can be kept: it shows the same upright RGB to any reader.

    So: PNG, JPEG or WebP, one frame, 8 bits a channel, no transparency or rotation, and nothing after the picture.
    """
    if picture.mode != "RGB" or picture.has_transparency_data or _orientation(picture) in UPRIGHT:
        return False
    if picture.format == "PNG":
        return data[24:26] == b"\x08\x02" and _png_extent(data) == len(data)
    if picture.format == "JPEG":
        return _jpeg_extent(data)[0] == len(data)
    one_frame = not getattr(picture, "is_animated", False)
    return picture.format == "WEBP" and one_frame and 8 + int.from_bytes(data[4:8], "little") == len(data)


def _png_extent(data: bytes) -> int:
    """Where a PNG ends; 0 where it has no end, or holds an animation."""
    place = 8
    while kind := data[place + 4 : place + 8]:
        place += 12 + int.from_bytes(data[place : place + 4], "big")
        if kind == b"IEND":
            return place
        if kind == b"acTL":
            break
    return 0


def _jpeg_extent(data: bytes) -> tuple[int, int]:
    """Where a JPEG ends (0 where it has no end), and how many scans it has."""
    place, scans = 2, 0
    while marker := JPEG_MARKER.search(data, place):
        place = marker.end()
        if marker[1] == b"\xd9":
            return place, scans
        scans += marker[1] == b"\xda"
        place += int.from_bytes(data[place : place + 2], "big")
    return 0, scans


def png(rgb: Pixels.Image) -> bytes:
    """The picture as a PNG file."""
    file = BytesIO()
    rgb.save(file, "PNG", compress_level=1)  # a third of the default's time for a fifth more bytes; crops are many
    return file.getvalue()
