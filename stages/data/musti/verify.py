"""Whether a fetched file is a picture that the next step can read, found out without falling for a bomb."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from stages.data.pictures import read_picture

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")  # as on the web; some others start further programs
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif"}  # MPO: what some cameras write, opened as JPEG
_SIDE = 8  # pixels: the picture is read as for a data set, but as small as possible


class Unusable(Exception):
    """A file that cannot be used as a picture; its text is the reason in a few words."""

    cut = False
    """Whether the file starts as a picture and then breaks off, as one does whose transfer was cut."""


class Broken(Unusable):
    """A picture that does not decode to its end."""

    cut = True


def verify_picture(path: Path, max_pixels: int) -> str:
    """Decodes the picture file; returns the suffix that its name should have.

    Raises:
        Unusable: it is no picture, too large (told from its header, before anything is decoded), or broken.
    """
    suffix = _read_header(path, max_pixels)
    try:
        read_picture(path, _SIDE, "stretch", (0, 0, 0))
    except Exception:  # Pillow's plugins raise anything on a broken file
        raise Broken("broken picture") from None
    return suffix


def _read_header(path: Path, max_pixels: int) -> str:
    """The suffix for the file, after a look at its first bytes."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise Unusable("too many pixels")
            name = image.format or ""
            return _SUFFIXES.get(name, f".{name.lower()}")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unusable("too many pixels") from None
    except UnidentifiedImageError:
        raise Unusable("HTML page" if _is_html(path) else "not a picture") from None
    except Unusable:
        raise
    except Exception:  # as above
        raise Broken("broken picture") from None


def _is_html(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith(b"<!doctype html") or b"<html" in start
