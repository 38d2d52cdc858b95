"""Finding and opening pictures, whatever form they come in."""

import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..processing_pamela import to_rgb
from .files import DataError


__all__ = ["IMAGE_EXTENSIONS", "MAX_PIXELS", "MIN_SIDE", "ImageError", "find_images", "open_image"]

IMAGE_EXTENSIONS = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
# Brands, in the first box of a file, of pictures that are coded as HEVC, which Pillow does not read by itself ...
_HEVC_BRANDS = frozenset({b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevs", b"hevx"})
# ... and of any coding: AVIF, which Pillow reads, may begin with these, too.
_ANY_BRANDS = frozenset({b"mif1", b"msf1"})
# Pillow's own threshold for a decompression bomb: 256 MiB of decoded RGB. Read from the header, before decoding.
MAX_PIXELS = 89_478_485
# Below this nothing can be seen; in practice a tracking pixel or a placeholder.
MIN_SIDE = 8


class ImageError(DataError):
    """
    A picture that cannot be used.

    Attributes:
        name (`str`): The file, or the number of bytes where the picture did not come from a file.
        reason (`str`): Why, without the name.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def open_image(source: str | Path | bytes) -> Image.Image:
    """
    Opens a picture as a person would see it: upright, opaque, 8-bit RGB.

    EXIF rotation is applied; transparency is laid over white; 16-bit greyscale is scaled to 8 bits (0..65535 to 0..255);
    CMYK, palette and greyscale are converted; of an animation the first frame is taken. Colour profiles are not applied.
    WebP and AVIF are read as Pillow was built to; HEIC, which phones write, where pillow-heif is installed.

    Args:
        source (`str`, `Path` or `bytes`): A file, or the content of one.

    Returns:
        `PIL.Image.Image`: Mode `"RGB"`, fully decoded, at least [`MIN_SIDE`] pixels a side and at most [`MAX_PIXELS`] pixels.

    Raises:
        ImageError: The file cannot be read, is empty, is not a picture or is cut off, or is too small or too large to use.

    Example:

    ```python
    >>> import io
    >>> buffer = io.BytesIO()
    >>> Image.new("RGBA", (32, 16), (0, 0, 0, 0)).save(buffer, "PNG")
    >>> open_image(buffer.getvalue()).getpixel((0, 0))
    (255, 255, 255)

    ```
    """
    if isinstance(source, bytes):
        name, content = f"picture of {len(source)} bytes", source
    else:
        name = str(source)
        try:
            content = Path(source).read_bytes()
        except FileNotFoundError as error:
            raise ImageError(name, "there is no such file") from error
        except OSError as error:
            raise ImageError(name, f"the file cannot be read ({error.strerror})") from error
    if not content:
        raise ImageError(name, "the file is empty")
    if _is_heic(content) and not _reads_heic():
        raise ImageError(name, "a HEIC picture, which needs pillow-heif: pip install 'modeling-pamela[studio]'")
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if min(width, height) < MIN_SIDE:
                raise ImageError(
                    name, f"{width} x {height} pixels is too small; at least {MIN_SIDE} a side are needed"
                )
            image.load()
            return to_rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(name, "not a picture in a known format") from error
    except Image.DecompressionBombError as error:
        raise ImageError(name, f"more than {MAX_PIXELS:,} pixels; scale it down first") from error
    except (
        Exception
    ) as error:  # decoders raise OSError, SyntaxError, struct.error, EOFError and more on a damaged file
        raise ImageError(name, f"cannot be decoded ({error})") from error


def _is_heic(content: bytes) -> bool:
    if content[4:8] != b"ftyp":
        return False
    major, box = content[8:12], content[: min(int.from_bytes(content[:4], "big"), 256)]
    compatible = {box[start : start + 4] for start in range(16, len(box), 4)}
    return major in _HEVC_BRANDS or (major in _ANY_BRANDS and not compatible & {b"avif", b"avis"})


@cache
def _reads_heic() -> bool:
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        return False
    register_heif_opener()
    return True


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """
    Finds pictures in files and folders.

    Args:
        paths (iterable of `str` or `Path`):
            Files, taken whatever their extension, and folders, searched recursively for [`IMAGE_EXTENSIONS`]
            (hidden files and folders are passed over).

    Returns:
        `list[Path]`: In the order of `paths`, sorted inside each folder, each file once.

    Raises:
        DataError: A path does not exist.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = (
                file
                for file in path.rglob("*")
                if file.suffix.lower() in IMAGE_EXTENSIONS
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
                and file.is_file()
            )
            found.update(dict.fromkeys(sorted(inside)))
        elif path.exists():
            found[path] = None
        else:
            raise DataError(f"There is no file or folder {path}. Check the path.")
    return list(found)
