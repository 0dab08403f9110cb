"""How a picture file is built: bounded here, before any decoder walks it in Python.

Pillow reads the chunks of a PNG, the segments of a JPEG, the sub-blocks of a GIF and the entries of
a TIFF one by one, and libjpeg goes over the whole picture once per scan. A small file can hold so
many of them that it costs seconds. Honest files stay far below every limit of this page.
"""

import re
import struct

from app.errors import UnreadableImageError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_FRAME_CHUNKS = frozenset({b"IDAT", b"fdAT", b"fcTL"})  # pixels, and the frames of an animated PNG
PNG_CHUNKS = 10_000
PNG_OTHER_CHUNKS = 256

JPEG_SIGNATURE = b"\xff\xd8\xff"
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)  # neither stuffing, restart nor fill
JPEG_BARE = frozenset({0xC8, 0xD8, *range(0xF0, 0xFE)})  # Pillow takes them to have no length
JPEG_END, JPEG_SCAN = 0xD9, 0xDA
JPEG_SEGMENTS = 1024
JPEG_SCANS = 32  # a progressive JPEG has about ten; each costs 30 ms at 25 MP, however short it is
JPEG_JUNK_BYTES = 4096

GIF_SIGNATURES = (b"GIF87a", b"GIF89a")
GIF_BLOCKS = 65_536  # 25 MP of noise fill half of them

TIFF_SIGNATURES = {
    b"II*\0": ("<", 4, "L", "H"),  # byte order, where the first directory's offset is, its type, its count's
    b"MM\0*": (">", 4, "L", "H"),
    b"II+\0": ("<", 8, "Q", "Q"),
    b"MM\0+": (">", 8, "Q", "Q"),
}
TIFF_ENTRIES = 1024


def png_pixels(data: bytes) -> int:
    """Pixels that a PNG's header speaks of, 0 for any other file. Pillow wants more than the header to tell."""
    if not data.startswith(PNG_SIGNATURE) or data[12:16] != b"IHDR":
        return 0
    return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")


def check_container(data: bytes) -> None:
    """Refuse a file of too many parts, or one that ends before its last part, in milliseconds.

    What begins like none of these formats is left to the decoder. Raises UnreadableImageError.
    """
    if data.startswith(PNG_SIGNATURE):
        _check_png(data)
    elif data.startswith(JPEG_SIGNATURE):
        _check_jpeg(data)
    elif data.startswith(GIF_SIGNATURES):
        _check_gif(data)
    elif data[:4] in TIFF_SIGNATURES:
        _check_tiff(data)


def _check_png(data: bytes) -> None:
    """Count chunks: 4 bytes of length, 4 of type, the content, 4 of checksum."""
    position, others = len(PNG_SIGNATURE), 0
    for _ in range(PNG_CHUNKS):
        kind = data[position + 4 : position + 8]
        others += kind not in PNG_FRAME_CHUNKS
        if others > PNG_OTHER_CHUNKS:
            raise _too_many("PNG", "chunks")
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        if position > len(data):
            raise _cut_short("PNG")
        if kind == b"IEND":
            return
    raise _too_many("PNG", "chunks")


def _check_jpeg(data: bytes) -> None:
    """Count segments, scans and the bytes that belong to neither, up to the end marker."""
    position, junk, scans, in_scan = len(JPEG_SIGNATURE) - 1, 0, 0, False
    for _ in range(JPEG_SEGMENTS):
        marker = JPEG_MARKER.search(data, position)
        if marker is None:
            return  # the decoder says whether pixels are missing: some cameras leave the end marker out
        junk += 0 if in_scan else marker.start() - position
        code = data[marker.end() - 1]
        scans += code == JPEG_SCAN
        if junk > JPEG_JUNK_BYTES or scans > JPEG_SCANS:
            raise _too_many("JPEG", "scans or stray bytes")
        if code == JPEG_END:
            return
        length = 0 if code in JPEG_BARE else int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        if length < 2 and code not in JPEG_BARE:
            raise _cut_short("JPEG")  # a length counts its own two bytes
        position, in_scan = marker.end() + length, code == JPEG_SCAN
    raise _too_many("JPEG", "segments")


def _check_gif(data: bytes) -> None:
    """Count sub-blocks up to the second frame, which is as far as we let the decoder look."""
    position, blocks, frames = 13 + _gif_palette_bytes(data[10:11]), 0, 0
    while frames < 2:
        introducer = data[position : position + 1]
        if introducer in (b";", b""):
            return
        if introducer == b"!":
            position, passed = _after_sub_blocks(data, position + 2)
        elif introducer == b",":
            frames += 1
            palette_bytes = _gif_palette_bytes(data[position + 9 : position + 10])
            position, passed = _after_sub_blocks(data, position + 11 + palette_bytes)
        else:
            position, passed = position + 1, 1  # stray bytes are skipped one by one: as dear as blocks
        blocks += passed
        if blocks > GIF_BLOCKS:
            raise _too_many("GIF", "blocks")


def _after_sub_blocks(data: bytes, position: int) -> tuple[int, int]:
    """Where a GIF's list of sub-blocks ends, and how many it has; it is left once they are too many."""
    passed, length = 0, 1
    while length and passed <= GIF_BLOCKS:
        length = int.from_bytes(data[position : position + 1], "big")
        position, passed = position + 1 + length, passed + 1
    return position, passed


def _gif_palette_bytes(flags: bytes) -> int:
    """Size of the palette that follows a descriptor with these flags (one byte, or none at the end)."""
    packed = int.from_bytes(flags, "big")
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _check_tiff(data: bytes) -> None:
    """Look at how many entries the first directory says that it has."""
    order, where, offset_type, count_type = TIFF_SIGNATURES[data[:4]]
    try:
        (offset,) = struct.unpack_from(order + offset_type, data, where)
        (entries,) = struct.unpack_from(order + count_type, data, offset)
    except (struct.error, OverflowError) as error:
        raise _cut_short("TIFF") from error
    if entries > TIFF_ENTRIES:
        raise _too_many("TIFF", "tags")


def _too_many(name: str, parts: str) -> UnreadableImageError:
    return UnreadableImageError(
        f"This {name} file is made of too many {parts} to be an ordinary picture. "
        "Save it again with another program and send that."
    )


def _cut_short(name: str) -> UnreadableImageError:
    return UnreadableImageError(f"This {name} file is cut short or damaged. Send the whole file again.")
