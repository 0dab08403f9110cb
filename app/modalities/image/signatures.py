"""First bytes and suffixes of files of the accepted formats, without a decoder: cheap enough for the process that
listens.
"""

import re

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Of the files that are taken from a folder or an archive."""
SIGNATURES = re.compile(
    rb"\x89PNG\r\n\x1a\n"
    rb"|\xff\xd8\xff"  # JPEG
    rb"|RIFF.{4}WEBP"
    rb"|GIF8[79]a"
    rb"|BM.{13}\0\0\0"  # BMP: two letters alone are too few, so its second header is under 256 bytes long
    rb"|II[\x2a\x2b]\0|MM\0[\x2a\x2b]",  # TIFF and BigTIFF
    re.DOTALL,
)


def looks_like_picture(data: bytes) -> bool:
    """Return whether ``data`` begins as a file of an accepted format does."""
    return SIGNATURES.match(data) is not None
