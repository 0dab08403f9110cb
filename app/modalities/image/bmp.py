"""BMP files: their layout, palettes that Pillow takes for something else, and colour profiles."""

from typing import Final, cast

from PIL import Image, ImageFile

from app.modalities.image.layouts import ALPHA, NO_EXTRA, Layout

OLDEST_HEADER_BYTES: Final = 12
"""Of OS/2 1.x: short fields, palette entries of three bytes."""
MASKS: Final = {
    (16, 0xF800, 0x07E0, 0x001F, 0): "RGB 5:6:5",
    (16, 0x7C00, 0x03E0, 0x001F, 0): "RGB 5:5:5",
    (24, 0xFF0000, 0xFF00, 0xFF, 0): "RGB",
    (32, 0xFF0000, 0xFF00, 0xFF, 0): "RGB",
    (32, 0xFF000000, 0xFF0000, 0xFF00, 0): "RGB",
    (32, 0xFF0000, 0xFF00, 0xFF, 0xFF000000): "RGB",
    (32, 0xFF, 0xFF00, 0xFF0000, 0xFF000000): "RGB",
    (32, 0xFF000000, 0xFF0000, 0xFF00, 0xFF): "RGB",
}
"""Names of colours by bits of a pixel and where red, green, blue and alpha are in them."""
WITHOUT_MASKS: Final = {16: "RGB 5:5:5", 24: "RGB", 32: "RGB"}
UNCOMPRESSED, BIT_FIELDS = 0, 3
COMPRESSIONS: Final = {1: "RLE", 2: "RLE", 4: "JPEG", 5: "PNG"}
RAW_MODES: Final = {1: "P;1", 4: "P;4", 8: "P"}
EMBEDDED_PROFILE: Final = int.from_bytes(b"MBED", "big")
V5_HEADER_BYTES: Final = 124


def layout_of(data: bytes) -> Layout:
    """Return the layout that the header says."""
    oldest = _number(data, 14) == OLDEST_HEADER_BYTES
    bits = int.from_bytes(data[24:26] if oldest else data[28:30], "little")
    compression = UNCOMPRESSED if oldest else _number(data, 30)
    colours, extra = "palette" if bits <= 8 else WITHOUT_MASKS.get(bits, "RGB"), NO_EXTRA
    if compression == BIT_FIELDS:
        masks = _masks(data)
        colours = MASKS.get((bits, *masks), "unusual bit fields")
        extra = ALPHA if masks[3] else NO_EXTRA
    name = (
        "uncompressed"
        if compression in (UNCOMPRESSED, BIT_FIELDS)
        else COMPRESSIONS.get(compression, f"compression {compression}")
    )
    return Layout("BMP", colours, bits, name, extra)


def _masks(data: bytes) -> tuple[int, int, int, int]:
    """Return where red, green, blue and alpha are; the shortest header, of 40 bytes, has no alpha."""
    red, green, blue, alpha = (_number(data, place) for place in (54, 58, 62, 66))
    return red, green, blue, alpha if _number(data, 14) >= 56 else 0


def palette_picture(opened: ImageFile.ImageFile, data: bytes, bits: int) -> Image.Image:
    """Decode a picture of up to 8 bits by its palette.

    Pillow takes a palette of grey steps for no palette whatever the bits of a pixel are, and then unpacks
    4 bits as 8, or 8 as 1.
    """
    header_bytes = _number(data, 14)
    short = header_bytes == OLDEST_HEADER_BYTES
    tile = opened.tile[0]
    _, stride, direction = cast("tuple[str, int, int]", tile.args)
    image = Image.frombytes("P", opened.size, data[tile.offset :], "raw", RAW_MODES[bits], stride, direction)
    start = 14 + header_bytes
    entry_bytes = 3 if short else 4
    used = 2**bits if short else _number(data, 46) or 2**bits
    image.putpalette(data[start : start + entry_bytes * min(used, 2**bits)], "BGR" if short else "BGRX")
    return image


def profile_of(data: bytes) -> bytes | None:
    """Return the ICC profile that the header says is in the file; ``None`` without one."""
    if _number(data, 14) != V5_HEADER_BYTES or _number(data, 70) != EMBEDDED_PROFILE:
        return None
    start, length = 14 + _number(data, 126), _number(data, 130)
    return data[start : start + length]


def _number(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 4], "little")
