import io
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from modeling_pamela.data import images
from modeling_pamela.data.files import DataError
from modeling_pamela.data.images import ImageError, find_images, open_image


RED, WHITE = (255, 0, 0), (255, 255, 255)


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in under 100 bytes, as its header says."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_plain_rgb_keeps_its_pixels(tmp_path):
    path = tmp_path / "画像.png"
    noise().save(path)
    for source in (path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(np.asarray(open_image(source)), np.asarray(noise()))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode):
    clear = open_image(encode(Image.new(mode, (16, 16), 0)))
    assert clear.mode == "RGB"
    assert clear.getpixel((3, 3)) == WHITE


def test_half_transparency_is_blended():
    assert open_image(encode(Image.new("RGBA", (16, 16), (0, 0, 0, 128)))).getpixel((0, 0)) == (127, 127, 127)


def test_palette():
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 255, *RED])
    assert open_image(encode(image)).getpixel((0, 0)) == RED
    assert open_image(encode(image, transparency=1)).getpixel((0, 0)) == WHITE


def test_greyscale_with_a_transparent_colour():
    assert open_image(encode(Image.new("L", (16, 16), 7), transparency=7)).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_is_scaled(form):
    values = np.full((16, 16), 257 * 100, dtype=np.uint16)
    values[0, 0] = 65535
    image = open_image(encode(Image.fromarray(values), form))
    assert image.mode == "RGB"
    assert image.getpixel((5, 5)) == (100, 100, 100)
    assert image.getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("values", [np.full((16, 16), 70_000, np.int32), np.full((16, 16), 0.5, np.float32)])
def test_pixels_without_a_known_range_are_refused(values):
    with pytest.raises(ImageError, match="no known range"):
        open_image(encode(Image.fromarray(values), "TIFF"))


def test_cmyk():
    image = open_image(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    assert image.mode == "RGB"
    red, green, blue = image.getpixel((8, 8))
    assert red > 200
    assert max(green, blue) < 60


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    assert open_image(encode(noise(), "JPEG", exif=exif)).size == (40, 48)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(form):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, (0, 0, 255))]
    options = {"lossless": True} if form == "WEBP" else {}
    image = open_image(encode(frames[0], form, save_all=True, append_images=frames[1:], **options))
    assert image.getpixel((8, 8)) == RED


@pytest.mark.parametrize(("form", "name"), [("WEBP", "a.webp"), ("AVIF", "a.avif"), ("HEIF", "a.HEIC")])
def test_pictures_as_phones_and_browsers_write_them(tmp_path, form, name):
    if form == "HEIF":
        pytest.importorskip("pillow_heif", reason="needs the extra `studio`").register_heif_opener()
    elif not features.check(form.lower()):
        pytest.skip(f"this Pillow was built without {form}")
    (tmp_path / "2024").mkdir()
    plain = Image.new("RGB", (64, 48), (200, 60, 30))
    plain.save(tmp_path / "2024" / name, form, quality=95)
    (file,) = find_images([tmp_path])
    image = open_image(file)
    assert (image.mode, image.size) == ("RGB", (64, 48))
    np.testing.assert_allclose(image.getpixel((30, 20)), (200, 60, 30), atol=6)
    with pytest.raises(ImageError, match=r"not a picture|cannot be decoded"):
        open_image(file.read_bytes()[: file.stat().st_size // 2])


def test_a_phones_rotation_is_applied_to_heic():
    pytest.importorskip("pillow_heif", reason="needs the extra `studio`").register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(encode(noise(), "HEIF", exif=exif.tobytes())).size == (40, 48)


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_avif_that_begins_with_a_general_brand_needs_no_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    images._reads_heic.cache_clear()
    content = encode(noise(), "AVIF")
    assert content[8:12] == b"avif"
    assert b"avif" in content[16:32]
    general = content[:8] + b"mif1" + content[12:]
    assert open_image(general).size == open_image(content).size
    images._reads_heic.cache_clear()


def test_heic_without_its_library_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # what an import finds where it is not installed
    images._reads_heic.cache_clear()
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(ImageError, match=r"a.heic: a HEIC picture, .*modeling-pamela\[studio\]"):
        open_image(tmp_path / "a.heic")
    images._reads_heic.cache_clear()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "not a picture"),
        (encode(Image.new("RGB", (1, 1))), "1 x 1 pixels is too small"),
        (encode(Image.new("RGB", (7, 400))), "7 x 400 pixels is too small"),
        (bomb(), "more than 89,478,485 pixels"),
    ],
)
def test_unusable_pictures_say_why(tmp_path, content, reason):
    with pytest.raises(ImageError, match=reason):
        open_image(content)
    path = tmp_path / "holiday.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=f"holiday.png: .*{reason}"):
        open_image(path)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_truncated(form):
    content = encode(noise(), form)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(ImageError):
            open_image(content[: int(share * len(content))])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF"]), st.data())
def test_damage_never_shows_a_decoders_own_error(form, data):
    content = bytearray(encode(noise(), form))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    try:
        image = open_image(bytes(content))
    except ImageError:
        return
    assert image.mode == "RGB"


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        open_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot be read"):
        open_image(tmp_path)


def test_find_images(tmp_path):
    for name in ("b.PNG", "a/2.jpg", "a/10.jpeg", "a/notes.txt", "a/.hidden.png", ".cache/x.png", "odd.data"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_images([tmp_path / "odd.data", tmp_path, tmp_path / "b.PNG"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["odd.data", "a/10.jpeg", "a/2.jpg", "b.PNG"]
    with pytest.raises(DataError, match="no file or folder"):
        find_images([tmp_path / "absent"])
