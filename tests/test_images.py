"""What may come in as an image, what is kept of it, and how models get to see it."""

import base64
import io
import os
import resource
import socket
import struct
import sys
import time
import warnings
import zlib
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pixels
from PIL import ImageChops, PngImagePlugin

from iterreason.calls import View
from iterreason.errors import BadImage
from iterreason.images import Recent, data_url, decode, encode, load_image, pixel_box, plain_url
from iterreason.pixels import MAX_BYTES
from iterreason.records import Image, Region

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def scene(mode="RGB"):
    """16 x 8 pixels: the left half red, the right blue, and a green block at the top left."""
    picture = Pixels.new("RGB", (16, 8), RED)
    picture.paste(BLUE, (8, 0, 16, 8))
    picture.paste(GREEN, (0, 0, 4, 4))
    return picture.convert(mode)


def file_of(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation):
    block = Pixels.Exif()
    block[0x0112] = orientation
    return block


def seen(image):
    return decode(View(image))


def difference(one, other):
    """The largest difference of any channel."""
    return max(high for _, high in ImageChops.difference(one, other).getextrema())


def refusal(source, **options):
    with pytest.raises(BadImage) as caught:
        load_image(source, **options)
    text = str(caught.value)
    assert "; " in text, "what is wrong; the next step"
    assert "\n" not in text
    assert len(text) < 600
    return text


# ------------------------------------------------------------------ what is kept


KEPT = {
    "PNG": file_of(scene()),
    "JPEG": file_of(scene(), "JPEG", quality=95),
    "progressive JPEG": file_of(scene(), "JPEG", progressive=True),
    "upright by EXIF": file_of(scene(), "JPEG", exif=exif(1)),
    "WebP": file_of(scene(), "WEBP"),
    "lossless WebP": file_of(scene(), "WEBP", lossless=True),
}


@pytest.mark.parametrize("data", KEPT.values(), ids=KEPT)
def test_plain_files_are_kept_byte_for_byte(data):
    """A plain PNG, JPEG or WebP is not encoded again; its hash is that of the file."""
    image = load_image(data)
    assert (image.data, image.sha256, image.width, image.height) == (data, sha256(data).hexdigest(), 16, 8)
    assert encode(View(image)) == (data, image.media_type)
    assert image.media_type == "image/" + Pixels.open(io.BytesIO(data)).format.lower()


def png_chunk(kind, body):
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(depth, colour, rows, size=(2, 1), extra=b""):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + png_chunk(b"IEND", b"")


def moving(kind, **options):
    return file_of(scene(), kind, save_all=True, append_images=[Pixels.new("RGB", (16, 8), WHITE)], **options)


RGBA = Pixels.merge("RGBA", (*scene().split(), Pixels.new("L", (16, 8), 255)))
CHANGED = {  # file, largest difference from the scene
    "GIF": (file_of(scene(), "GIF"), 0),
    "BMP": (file_of(scene(), "BMP"), 0),
    "TIFF": (file_of(scene(), "TIFF"), 0),
    "TIFF, LZW": (file_of(scene(), "TIFF", compression="tiff_lzw"), 0),
    "PPM": (file_of(scene(), "PPM"), 0),
    "palette PNG": (file_of(scene("P")), 0),
    "opaque RGBA PNG": (file_of(RGBA), 0),
    "CMYK JPEG": (file_of(scene("CMYK"), "JPEG", quality=100), 12),
    "CMYK TIFF": (file_of(scene("CMYK"), "TIFF"), 0),
    "YCbCr TIFF": (file_of(scene("YCbCr"), "TIFF"), 4),
    "bytes after a PNG": (file_of(scene()) + b"<script>", 0),
    "bytes after a JPEG": (file_of(scene(), "JPEG", quality=100, subsampling=0) + file_of(scene("L"), "JPEG"), 4),
    "bytes after a WebP": (file_of(scene(), "WEBP", lossless=True) + b"\0", 0),
    "a PNG without its end": (file_of(scene())[:-12], 0),
}


@pytest.mark.parametrize(("data", "tolerance"), CHANGED.values(), ids=CHANGED)
def test_other_files_become_plain_png(data, tolerance):
    """Whatever is not plain is kept as an RGB PNG of the same picture."""
    image = load_image(data)
    assert image.media_type == "image/png"
    assert image.data != data
    assert Pixels.open(io.BytesIO(image.data)).mode == "RGB"
    assert image.sha256 == sha256(image.data).hexdigest()
    assert difference(seen(image), scene()) <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_rotation_is_applied(kind, orientation):
    """A picture that a camera stored turned or mirrored is seen upright."""
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that a viewer undoes
    stored = scene().transpose(Pixels.Transpose(turns[orientation]))
    image = load_image(file_of(stored, kind, exif=exif(orientation), quality=100))
    assert (image.width, image.height) == (16, 8)
    assert seen(image).getpixel((1, 1))[1] > 200
    assert seen(image).getpixel((14, 1))[2] > 200
    assert seen(image).getpixel((1, 6))[0] > 200


ASCII_ORIENTATION = b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHI4sI", 0x112, 2, 4, b"up!\0", 0)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("block", [b"Exif\0\0MM\0\x2a\xff\xff\xff\xff", ASCII_ORIENTATION, exif(99)])
def test_an_unreadable_orientation_is_ignored(block):
    """EXIF that no reader understands does not cost the picture."""
    assert load_image(file_of(scene(), "JPEG", exif=block)).width == 16


MOVING = {
    "moving GIF": moving("GIF"),
    "moving WebP": moving("WEBP", lossless=True),
    "APNG": moving("PNG"),
    "TIFF pages": moving("TIFF"),
}


@pytest.mark.parametrize("data", MOVING.values(), ids=MOVING)
def test_of_an_animation_the_first_frame_is_taken_and_said_so(data, tmp_path):
    """Frames are never dropped in silence."""
    path = tmp_path / "moving.bin"
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"moving.bin' has more than one frame; only the first") as said:
        image = load_image(path)
    assert [Path(s.filename) for s in said] == [Path(__file__)], "the warning points at the caller's line"
    assert difference(seen(image), scene()) == 0
    assert image.media_type == "image/png"
    assert not Pixels.open(io.BytesIO(image.data)).is_animated


def test_an_animation_of_one_frame_is_one_picture():
    """An APNG that moves nothing is no cause for a warning, but no plain PNG either."""
    one = png_chunk(b"acTL", struct.pack(">II", 1, 0)) + png_chunk(
        b"fcTL", struct.pack(">5I2H2B", 0, 2, 1, 0, 0, 1, 1, 0, 0)
    )
    data = png_of(8, 2, [bytes(6)], extra=one)
    image = load_image(data)
    assert image.data != data
    assert image.width == 2


def test_a_preview_behind_a_photo_is_no_animation():
    """A phone's JPEG with a second picture behind the first (MPO) is seen as the first, without a warning."""
    data = file_of(scene(), "MPO", save_all=True, append_images=[Pixels.new("RGB", (16, 8))], quality=100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert seen(load_image(data)).getpixel((14, 6))[2] > 200


def half_clear(mode, clear):
    """Black on the left, see-through on the right."""
    picture = Pixels.new("RGBA", (2, 1), (0, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, clear))
    return picture.convert(mode)


CLEAR = {
    "RGBA": file_of(half_clear("RGBA", 0)),
    "LA": file_of(half_clear("LA", 0)),
    "WebP": file_of(half_clear("RGBA", 0), "WEBP", lossless=True, exact=True),
    "TIFF": file_of(half_clear("RGBA", 0), "TIFF"),
    "palette": png_of(8, 3, [b"\0\1"], extra=png_chunk(b"PLTE", bytes(6)) + png_chunk(b"tRNS", b"\xff\0")),
    "one colour": png_of(8, 2, [b"\0\0\0\1\1\1"], extra=png_chunk(b"tRNS", struct.pack(">HHH", 1, 1, 1))),
    "one grey": png_of(8, 0, [b"\0\1"], extra=png_chunk(b"tRNS", struct.pack(">H", 1))),
    "1 bit": png_of(1, 0, [b"\x40"], extra=png_chunk(b"tRNS", struct.pack(">H", 1))),
}


@pytest.mark.parametrize("data", CLEAR.values(), ids=CLEAR)
def test_transparency_is_laid_on_white(data):
    """What cannot be seen in a viewer with a white page cannot be seen by a model."""
    assert seen(load_image(data)).tobytes() == bytes(3) + bytes(WHITE)


def test_half_transparency_is_mixed_with_white():
    """Black at half opacity is grey."""
    assert seen(load_image(half_clear("RGBA", 128))).getpixel((1, 0)) == (127, 127, 127)


def pgm(high, *values):
    shape = ">H" if high > 255 else ">B"
    return b"P5 %d 1 %d\n" % (len(values), high) + b"".join(struct.pack(shape, v) for v in values)


def tiff_of(array):
    return file_of(Pixels.fromarray(np.array([array])), "TIFF")


GREYS = {
    "1 bit": (png_of(1, 0, [b"\x40"]), [0, 255]),
    "2 bits": (png_of(2, 0, [b"\x40"]), [85, 0]),
    "16-bit PNG": (png_of(16, 0, [struct.pack(">HH", 32_896, 65_535)]), [128, 255]),
    "16-bit PNG, dark": (png_of(16, 0, [struct.pack(">HH", 257, 100)]), [1, 0]),
    "16-bit RGB PNG": (png_of(16, 2, [struct.pack(">HHHHHH", *[32_896] * 3, *[65_535] * 3)]), [128, 255]),
    "16-bit TIFF": (tiff_of(np.array([32_896, 65_535], "uint16")), [128, 255]),
    "16-bit PGM": (pgm(65_535, 32_896, 257), [128, 1]),
    "10-bit PGM": (pgm(1023, 0, 1023), [0, 255]),
    "32-bit TIFF of bytes": (tiff_of(np.array([7, 255], "int32")), [7, 255]),
    "32-bit TIFF of 16 bits": (tiff_of(np.array([257, 65_535], "int32")), [1, 255]),
    "float TIFF in [0, 1]": (tiff_of(np.array([0.5, 1.0], "float32")), [128, 255]),
    "float TIFF of bytes": (tiff_of(np.array([0.0, 200.4], "float32")), [0, 200]),
}


@pytest.mark.parametrize(("data", "expected"), GREYS.values(), ids=GREYS)
def test_greys_of_any_depth_are_scaled_not_clipped(data, expected):
    """Middle grey stays middle grey, whatever the number of bits."""
    assert list(seen(load_image(data)).tobytes()[::3]) == expected


@pytest.mark.parametrize("values", [[-1.0, 0.5], [0.0, 300.0], [float("nan"), 1.0]])
def test_brightness_that_nobody_agreed_on_is_refused(values):
    """A range that cannot be known is asked for, not guessed."""
    assert "8 bits a channel" in refusal(tiff_of(np.array(values, "float32")))


def test_integers_beyond_16_bits_are_refused():
    """A range that cannot be known is asked for, not guessed."""
    assert "from 0 to 70000" in refusal(tiff_of(np.array([0, 70_000], "int32")))


def test_a_mode_without_a_way_to_rgb_is_refused():
    """The mode is named, and no wrong colours are shown."""
    assert "conversion from La" in refusal(Pixels.new("La", (2, 2)))


def test_colour_profiles_are_not_carried_over():
    """What is encoded again holds pixels only."""
    data = file_of(scene(), "TIFF", icc_profile=b"profile " * 20)
    assert b"iCCP" not in load_image(data).data


# ------------------------------------------------------------------ what is refused


def test_files_that_are_none_are_refused_at_once(tmp_path):
    """Missing, empty, a directory, a pipe, a device, a socket: each said in its own words, and nothing hangs."""
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        cases = {
            "none.png": "does not exist",
            "empty.png": "is empty",
            ".": "is a directory",
            "empty.png/x.png": "Not a directory",
            "pipe.png": "not a regular file",
            "s": "not a regular file",
            "/dev/zero": "not a regular file",
            "nul\0.png": "null",
            "long" * 2000: "too long",
        }
        began = time.monotonic()
        for name, reason in cases.items():
            assert reason in refusal(tmp_path / name)
            assert reason in refusal(str(tmp_path / name))
        assert time.monotonic() - began < 5
    assert "is empty" in refusal(b"")
    assert "path of the image is empty" in refusal("")


def test_a_file_without_permission_is_refused(tmp_path):
    """The reason that the system gives is passed on."""
    path = tmp_path / "secret.png"
    path.write_bytes(KEPT["PNG"])
    path.chmod(0)
    root = os.geteuid() == 0
    try:
        os.seteuid(65_534 if root else os.geteuid())
        assert "Permission denied" in refusal(path)
    finally:
        os.seteuid(0 if root else os.geteuid())


def test_a_file_of_more_than_64_mib_is_refused_unread(tmp_path):
    """The size is looked at before the bytes are."""
    path = tmp_path / "huge.png"
    path.touch()
    os.truncate(path, 2**33)
    assert "8,192.0 MiB" in refusal(path)
    assert "64.0 MiB" in refusal(bytes(MAX_BYTES + 1))


@pytest.mark.parametrize("data", [b"hello, world", b"<svg/>", b"%PDF-1.7", b"P7\n", b"\0" * 100, b"RIFF1234WAVE"])
def test_what_is_no_image_is_told_the_formats(data):
    """The allowed formats are named."""
    assert "not a PNG, JPEG, WebP, GIF, BMP, TIFF or PPM" in refusal(data)


WHOLE = {**KEPT, **{name: data for name, (data, _) in CHANGED.items()}, **MOVING}


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF", "PPM", "CMYK JPEG", "palette PNG"])
def test_a_truncated_file_is_refused(name):
    """Half a picture is no picture."""
    data = WHOLE[name]
    for share in (0.3, 0.6):
        assert "damaged or truncated" in refusal(data[: int(len(data) * share)])


def header(kind, width, height):
    """A file of this kind whose header claims a size that its pixels do not have."""
    data = bytearray(WHOLE[kind])
    if kind == "PNG":
        chunk = png_chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29])
        data[8:33] = chunk
    elif kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif kind == "TIFF":
        for tag, value in ((256, width), (257, height)):
            at = next(
                i
                for i in range(8, len(data), 2)
                if data[i : i + 4] in (b"%c\1\3\0" % (tag & 255), b"%c\1\4\0" % (tag & 255))
            )
            data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    else:
        data = bytearray(b"P6 %d %d 255\n" % (width, height) + bytes(100))
    return bytes(data)


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


@pytest.mark.parametrize("size", [(40_000, 40_000), (10_000, 10_000), (8_001, 8_000)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM"])
def test_a_decompression_bomb_is_refused_by_its_header(kind, size):
    """Nothing is allocated for a picture of more than 64 megapixels, and PIL's own warning does not leak."""
    data, memory, began = header(kind, *size), peak_memory(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = refusal(data)
    assert f"{size[0]:,} x {size[1]:,} pixels" in text
    assert "64 megapixels" in text
    assert peak_memory() - memory < 32
    assert time.process_time() - began < 1


def test_a_deflate_bomb_is_refused_by_its_header():
    """The pixels of a real 40,000 x 40,000 file are not inflated either."""
    squeeze, packed = zlib.compressobj(), b""
    for _ in range(50):
        packed += squeeze.compress(bytes(2**20))
    data = header("PNG", 40_000, 40_000)[:33] + png_chunk(b"IDAT", packed + squeeze.flush()) + png_chunk(b"IEND", b"")
    memory = peak_memory()
    assert "40,000 x 40,000" in refusal(data)
    assert peak_memory() - memory < 32


def test_a_webp_bomb_is_refused_by_its_header():
    """34 bytes of WebP that claim 169 megapixels allocate nothing."""
    data = bytes.fromhex("524946461a000000574542505650384c0e0000002fc7f2b10c071011fd0f4444ff03")
    memory = peak_memory()
    assert "13,000 x 13,000" in refusal(data)
    assert peak_memory() - memory < 32


def test_a_png_of_compressed_text_without_end_is_refused():
    """A text chunk that inflates to gigabytes is not inflated."""
    bombs = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK * 4))) * 100
    memory = peak_memory()
    assert "damaged" in refusal(png_of(8, 2, [bytes(6)], extra=bombs))
    assert peak_memory() - memory < 64


def test_a_jpeg_of_endless_scans_is_refused():
    """A progressive JPEG may not ask for thousands of passes over its pixels."""
    data = KEPT["progressive JPEG"]
    at = data.rindex(b"\xff\xda")
    assert "scans" in refusal(data[:at] + data[at:-2] * 200 + b"\xff\xd9")


def test_a_picture_of_one_pixel_is_fine():
    """The smallest picture is a picture."""
    image = load_image(Pixels.new("RGB", (1, 1), RED))
    assert (image.width, image.height) == (1, 1)
    assert seen(image).getpixel((0, 0)) == RED


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(
    data=st.sampled_from(sorted(WHOLE.values())),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
)
def test_damaged_files_raise_nothing_but_bad_image(data, cut, changes):
    """Whatever bytes are cut off or changed, it is an image or a BadImage."""
    damaged = bytearray(data[: round(len(data) * cut)])
    for place, value in changes:
        if damaged:
            damaged[int(place * len(damaged))] = value
    try:
        image = load_image(bytes(damaged))
    except BadImage:
        return
    assert seen(image).size == (image.width, image.height)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=100, deadline=None)
@given(start=st.sampled_from([b"", *(data[:12] for data in WHOLE.values())]), rest=st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_bad_image(start, rest):
    """Noise behind any format's signature is refused, not crashed on."""
    with suppress(BadImage):  # a PPM of noise is a picture
        load_image(start + rest)


# ------------------------------------------------------------------ the other sources


def test_names_come_from_the_source(tmp_path):
    """An image is named after its file, else 'image'; the name does not take part in equality."""
    path = tmp_path / "scene.png"
    path.write_bytes(KEPT["PNG"])
    opened = Pixels.open(path)
    images = [load_image(s) for s in (path, str(path), opened, KEPT["PNG"], scene(), np.asarray(scene()))]
    assert [i.name for i in images] == ["scene.png"] * 3 + ["image"] * 3
    assert images[0] == images[1] == images[3]
    assert load_image(images[0]) is images[0]


UINT8 = np.asarray(scene())
ARRAYS = {
    "RGB": UINT8,
    "RGBA": np.dstack([UINT8, np.full((8, 16), 255, "uint8")]),
    "floats": UINT8 / 255,
    "half floats": (UINT8 / 255).astype("float16"),
    "big-endian floats": (UINT8 / 255).astype(">f4"),
    "a strided view": np.repeat(UINT8, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_are_pictures(array):
    """uint8 and floats in [0, 1], with three or four channels."""
    assert difference(seen(load_image(array)), scene()) == 0


@pytest.mark.parametrize("array", [UINT8[:, :, 0], UINT8[:, :, :1]])
def test_arrays_of_one_channel_are_grey(array):
    """HxW and HxWx1 are the same."""
    assert difference(seen(load_image(array)), scene().getchannel("R").convert("RGB")) == 0


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 8, 16), "uint8"), "shape (3, 8, 16) and type uint8 is no picture"),
        (np.zeros((8, 16, 2), "uint8"), "no picture"),
        (np.zeros(5, "uint8"), "no picture"),
        (np.zeros((1, 8, 16, 3), "uint8"), "no picture"),
        (np.zeros((8, 0, 3), "uint8"), "0 x 8 pixels"),
        (np.zeros((8, 16), "uint16"), "type uint16 has no agreed brightness"),
        (np.zeros((8, 16), bool), "no agreed brightness"),
        (np.zeros((8, 16), object), "no agreed brightness"),
        (np.full((8, 16), 1.5), "outside [0, 1]"),
        (np.full((8, 16), np.nan), "outside [0, 1]"),
        (np.broadcast_to(np.uint8(0), (40_000, 40_000)), "40,000 x 40,000"),
    ],
)
def test_other_arrays_are_refused_with_shape_and_type(array, reason):
    """What an array is, and what it should be, is in the error."""
    text = refusal(array)
    assert reason in text
    assert str(array.shape) in text


def test_a_pil_image_is_bounded_and_left_alone(tmp_path):
    """An image that PIL opened lazily is checked like a file, and never changed."""
    assert "0 x 5" in refusal(Pixels.new("RGB", (0, 5)))
    path = tmp_path / "cut.png"
    path.write_bytes(KEPT["PNG"][:60])
    with Pixels.open(path) as opened:
        assert "the PIL image is a damaged or truncated PNG" in refusal(opened)
    mine = Pixels.new("LA", (2, 2))
    mine.info["note"] = "kept"
    load_image(mine)
    assert mine.mode == "LA"
    assert mine.info == {"note": "kept"}


@pytest.mark.parametrize("source", [None, 3, ["a.png"], io.BytesIO(b"x")])
def test_other_types_are_refused_by_name(source):
    """The type is named, and what to give instead."""
    assert type(source).__name__ in refusal(source)


def test_a_url_is_refused_unless_allowed():
    """The flag that allows it is named, and the address is shown without what is secret in it."""
    text = refusal("HTTPS://bob:secret@example.org/a.png?token=secret#secret")
    assert "--allow-url" in text
    assert "allow_url=True" in text
    assert "example.org/a.png" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "file:/etc/passwd", "ftp://example.org/a.png", "data:image/png;base64,iVBO", "s3://b/a"],
)
@pytest.mark.parametrize("allow_url", [False, True])
def test_other_schemes_are_refused_by_name(url, allow_url):
    """No flag opens anything but http and https."""
    assert f"'{url.split(':')[0]}:'" in refusal(url, allow_url=allow_url)


def test_a_long_source_is_not_repeated_in_full():
    """Somebody's megabyte of base64 does not fill the screen."""
    assert len(refusal("data:image/png;base64," + "A" * 10**6)) < 400


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a.org/x.png?key=1#top", "http://a.org/x.png"),
        ("http://bob:pw@a.org/x.png", "http://…@a.org/x.png"),
        ("http://bob:p?w#@a.org/x.png", "http://…@a.org/x.png"),
        ("http://a.org/@me/x.png", "http://a.org/@me/x.png"),
    ],
)
def test_urls_are_shown_without_secrets(url, shown):
    """User name, password, query and fragment are never shown nor stored."""
    assert plain_url(url) == shown


# ------------------------------------------------------------------ how models see it


def test_a_region_is_cropped():
    """A view of a region holds those pixels only, as a PNG."""
    image = load_image(KEPT["JPEG"])
    view = View(image, Region(0.5, 0, 1, 1))
    assert decode(view).size == (8, 8)
    data, media_type = encode(view)
    assert media_type == "image/png"
    assert Pixels.open(io.BytesIO(data)).size == (8, 8)
    assert difference(Pixels.open(io.BytesIO(data)), decode(view)) == 0


@given(
    edges=st.tuples(*[st.floats(0, 1)] * 4).filter(lambda e: e[0] < e[1] and e[2] < e[3]),
    size=st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
)
def test_a_region_always_has_a_pixel(edges, size):
    """However small a region is, its box lies in the picture and is not empty."""
    x0, x1, y0, y1 = edges
    left, top, right, bottom = pixel_box(Region(x0, y0, x1, y1), size)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]


def test_a_data_url_holds_the_file():
    """Servers get the very bytes that the hash is of."""
    head, _, body = data_url(View(load_image(KEPT["JPEG"]))).partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(body) == KEPT["JPEG"]


@pytest.mark.parametrize("look", [decode, encode, data_url])
def test_an_image_known_by_hash_alone_cannot_be_looked_at(look):
    """A replayed image says that its pixels are not here, even when its twin with pixels was just decoded."""
    image = load_image(KEPT["PNG"])
    seen(image)
    with pytest.raises(BadImage, match=r"'scene' has no pixels here, only its hash \(a replay\); load it"):
        look(View(Image(image.sha256, 16, 8, name="scene")))


def test_a_false_hash_does_not_show_another_picture():
    """Decoded pixels are remembered by the bytes, not by what a record claims of them."""
    image = load_image(KEPT["PNG"])
    seen(image)
    other = Image(image.sha256, 1, 1, data=file_of(Pixels.new("RGB", (1, 1), BLUE)))
    assert seen(other).getpixel((0, 0)) == BLUE
    with pytest.raises(BadImage, match="not a PNG"):
        seen(Image(image.sha256, 1, 1, data=b"nonsense"))


def test_decoded_pixels_are_the_callers_own():
    """Painting on a decoded picture changes nobody else's."""
    image = load_image(KEPT["PNG"])
    seen(image).paste(WHITE, (0, 0, 16, 8))
    assert difference(seen(image), scene()) == 0


def test_many_questions_decode_once_and_memory_stays_bounded():
    """The pictures used last are held while their bytes fit; the others are decoded anew."""
    recent, decodings = Recent(limit=3 * (4 * 100 + 1)), []

    def look(key):
        def decoded():
            decodings.append(key)
            return Pixels.new("RGB", (10, 10))

        return recent.get(key, decoded)

    for key in (b"a", b"b", b"c", b"a", b"a", b"d", b"a", b"b"):
        look(key)
        assert recent.bytes <= recent.limit
    assert decodings == [b"a", b"b", b"c", b"d", b"b"]
    recent.get(b"huge", lambda: Pixels.new("RGB", (100, 100)))
    assert recent.bytes <= recent.limit, "a picture larger than the bound is not held at all"


def test_two_threads_that_decode_the_same_picture_count_it_once():
    """A decoding that was overtaken by another does not count twice."""
    recent = Recent(limit=10_000)
    picture = Pixels.new("RGB", (10, 10))
    recent.get(b"a", lambda: recent.get(b"a", lambda: picture))
    assert recent.bytes == 401
