"""Checks of a picture file's structure, before Pillow parses it.

Pillow reads the chunks of a PNG, the segments of a JPEG, the sub-blocks of a GIF, the runs of a BMP and the
entries, values and strips of a TIFF one by one in Python, and libjpeg decodes the whole picture once per scan. A
small file can contain so many of them that it takes seconds. Ordinary files stay far below all limits here.

Why not resource limits of the worker instead: measured with the hostile files of
tests/modalities/image/test_decoding.py and valid pictures made like them, these checks refuse each within 22 ms.
Without them, eight of the files take 1.4 to 5.4 s of processor time, and ordinary pictures of 25 megapixels 0.2
to 1.1 s. `RLIMIT_CPU` has a resolution of one second. At 2 s it stopped four of the eight, each by killing the
worker, which takes 0.7 s to replace (2 s under load); the others ran to their end. `RLIMIT_AS` stopped none of
them, but at once a 2 MB TIFF with one tile of 46000×46000 pixels (2 GB, 5.6 s). It is a second line of defence
against what these checks do not cover: see `app.serving.factory.worker_memory_bytes`.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from app.errors import UnreadableImageError

METADATA_BYTES = 2**19
"""Most bytes of EXIF and similar data, which Pillow unpacks value by value (0.1 s); usually under 64 KiB."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_FRAME_CHUNKS = frozenset({b"IDAT", b"fdAT", b"fcTL"})  # pixels and frames of an animation
PNG_CHUNKS = 10_000
"""Most chunks."""
PNG_OTHER_CHUNKS = 256
"""Most chunks that are not frames."""
PNG_COMPRESSED = frozenset({b"iCCP", b"zTXt", b"iTXt"})
PNG_COMPRESSED_CHUNKS = 64
"""Most compressed chunks; Pillow expands each to at most 1 MiB."""

JPEG_SIGNATURE = b"\xff\xd8\xff"
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)  # not stuffing, restart or fill
JPEG_WITHOUT_LENGTH = frozenset({0xC8, 0xD8, *range(0xF0, 0xFE)})  # as Pillow reads them
JPEG_END, JPEG_SCAN = 0xD9, 0xDA
JPEG_SEGMENTS = 1024
JPEG_SCANS = 32
"""Most scans. A progressive JPEG has about ten; even an empty one takes 30 ms at 25 megapixels."""
JPEG_STRAY_BYTES = 4096
"""Most bytes outside segments and scans."""
JPEG_UNPARSED = frozenset({0xFE, *range(0xE0, 0xF0)})  # comments and application segments, except:
JPEG_PARSED = re.compile(rb"Exif\0\0|Photoshop 3\.0\0")

GIF_SIGNATURES = (b"GIF87a", b"GIF89a")
GIF_BLOCKS = 65_536
"""Most sub-blocks of the first frame; 25 megapixels of noise have half as many."""

BMP_SIGNATURE = b"BM"
BMP_OS2_HEADER_BYTES = 12  # of OS/2 1.x: has no field for compression
BMP_RUN_LENGTHS = frozenset({1, 2})  # RLE8 and RLE4


class TiffLayout(NamedTuple):
    """Byte order and widths of the numbers in a kind of TIFF."""

    order: Literal["little", "big"]
    offset: int
    """Bytes of an offset, of a number of values, and of values stored in the entry itself."""
    entries: int
    """Bytes of a directory's number of entries."""

    def number(self, data: bytes, position: int, length: int) -> int:
        """Return the number in the given bytes; bytes beyond the end of the file are left out."""
        return int.from_bytes(data[position : position + length], self.order)


class TiffEntry(NamedTuple):
    """One entry of a TIFF's directory: number of ``values``, their ``size`` in bytes, and the ``first`` value."""

    tag: int
    kind: int
    values: int
    size: int
    first: int


TIFF_LAYOUTS = {
    b"II*\0": TiffLayout("little", 4, 2),
    b"MM\0*": TiffLayout("big", 4, 2),
    b"II\0*": TiffLayout("little", 4, 2),  # invalid, but Pillow reads these two
    b"MM*\0": TiffLayout("big", 4, 2),
    b"II+\0": TiffLayout("little", 8, 8),
}
BIG_ENDIAN_BIGTIFF = b"MM\0+"
"""Refused: Pillow reads it as a classic TIFF and libtiff as BigTIFF, so one reading would be unchecked."""
TIFF_VALUE_BYTES = {  # by kind of value
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8
}  # fmt: skip
TIFF_BYTE_STRINGS = frozenset({1, 2, 7})
"""Kinds of values that Pillow does not unpack."""
TIFF_WIDTH, TIFF_HEIGHT, TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT = 256, 257, 322, 323
TIFF_ITERATED = frozenset({273, 320, 324})
"""Tags that Pillow iterates over even as bytes: strips, colours, tiles."""
TIFF_DIRECTORIES = frozenset({34665, 34853, 40965})
"""Tags of further directories that Pillow reads: EXIF, GPS, interoperability."""
TIFF_ENTRIES = 1024
TIFF_VALUES = 65_536
"""Most unpacked values: 32 768 strips, as some scanners write one per row; they take 0.2 s."""
TIFF_PADDING = 2**24
"""Most pixels of tiles outside the picture, which are decoded as well."""


def png_pixels(data: bytes) -> int:
    """Return the pixels of a PNG by its header alone, which is not enough for Pillow; 0 for any other file."""
    if not data.startswith(PNG_SIGNATURE) or data[12:16] != b"IHDR":
        return 0
    return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")


def check_structure(data: bytes) -> None:
    """Raise `UnreadableImageError` for a file of too many parts, or one that ends before its last part.

    Takes milliseconds. A file that has none of the known signatures is left to the decoder.
    """
    if data.startswith(PNG_SIGNATURE):
        _check_png(data)
    elif data.startswith(JPEG_SIGNATURE):
        _check_jpeg(data)
    elif data.startswith(GIF_SIGNATURES):
        _check_gif(data)
    elif data.startswith(BMP_SIGNATURE):
        _check_bmp(data)
    elif data.startswith(BIG_ENDIAN_BIGTIFF):
        raise UnreadableImageError(
            "Big-endian BigTIFF files are not read. Save it again as PNG and send that."
        )
    elif data[:4] in TIFF_LAYOUTS:
        _check_tiff(data, TIFF_LAYOUTS[data[:4]])


def _check_png(data: bytes) -> None:
    """Limit the chunks. A chunk is 4 bytes of length, 4 of type, its content, 4 of checksum."""
    position, others, compressed = len(PNG_SIGNATURE), 0, 0
    for _ in range(PNG_CHUNKS):
        kind = data[position + 4 : position + 8]
        others += kind not in PNG_FRAME_CHUNKS
        compressed += kind in PNG_COMPRESSED
        if others > PNG_OTHER_CHUNKS or compressed > PNG_COMPRESSED_CHUNKS:
            raise _too_many("PNG", "chunks")
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        if position > len(data):
            raise _cut_short("PNG")
        if kind == b"IEND":
            return
    raise _too_many("PNG", "chunks")


def _check_jpeg(data: bytes) -> None:
    """Limit segments, scans, stray bytes, and bytes that Pillow parses, up to the end marker."""
    position, stray, scans, parsed, in_scan = len(JPEG_SIGNATURE) - 1, 0, 0, 0, False
    for _ in range(JPEG_SEGMENTS):
        end = len(data) if in_scan else position + JPEG_STRAY_BYTES + 2
        marker = JPEG_MARKER.search(data, position, end)
        if marker is None and end < len(data):
            raise _too_many("JPEG", "stray bytes")
        if marker is None:
            return  # some cameras omit the end marker; the decoder detects missing pixels
        stray += 0 if in_scan else marker.start() - position
        code = data[marker.end() - 1]
        scans += code == JPEG_SCAN
        if stray > JPEG_STRAY_BYTES or scans > JPEG_SCANS:
            raise _too_many("JPEG", "scans or stray bytes")
        if code == JPEG_END:
            return
        length = (
            0 if code in JPEG_WITHOUT_LENGTH else int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        )
        if length < 2 and code not in JPEG_WITHOUT_LENGTH:
            raise _cut_short("JPEG")  # a length includes its own two bytes
        if code not in JPEG_UNPARSED or JPEG_PARSED.match(data, marker.end() + 2):
            parsed += length
        if parsed > METADATA_BYTES:
            raise _too_many("JPEG", "bytes of tables and camera data")
        position, in_scan = marker.end() + length, code == JPEG_SCAN
    raise _too_many("JPEG", "segments")


def _check_gif(data: bytes) -> None:
    """Limit the sub-blocks up to the second frame, where decoding stops."""
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
            position, passed = position + 1, 1  # Pillow skips stray bytes one by one
        blocks += 1 + passed  # the introducer takes as long as a block
        if blocks > GIF_BLOCKS:
            raise _too_many("GIF", "blocks")


def _after_sub_blocks(data: bytes, position: int) -> tuple[int, int]:
    """Return the end of a list of sub-blocks and their number; stops when there are too many."""
    passed, length = 0, 1
    while length and passed <= GIF_BLOCKS:
        length = int.from_bytes(data[position : position + 1], "big")
        position, passed = position + 1 + length, passed + 1
    return position, passed


def _gif_palette_bytes(flags: bytes) -> int:
    """Return the size of the palette after a descriptor with these flags: one byte, or none at the file's end."""
    packed = int.from_bytes(flags, "big")
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _check_bmp(data: bytes) -> None:
    """Refuse run-length encoding, which Pillow expands in Python."""
    header_bytes, compression = (int.from_bytes(data[at : at + 4], "little") for at in (14, 30))
    if header_bytes != BMP_OS2_HEADER_BYTES and compression in BMP_RUN_LENGTHS:
        raise UnreadableImageError(
            "This BMP file is compressed (RLE), which is not read. "
            "Save it again without compression, or as PNG, and send that."
        )


def _check_tiff(data: bytes, layout: TiffLayout) -> None:
    """Limit the entries of the directories that Pillow reads, their values, and the padding of tiles."""
    first = layout.number(data, layout.offset, layout.offset)  # after a header of the same size
    directories, entries, values = [first], 0, 0
    sides: dict[int, int] = {}
    while directories:
        for entry in _tiff_entries(data, layout, directories.pop()):
            entries += 1
            if entry.tag in TIFF_ITERATED or entry.kind not in TIFF_BYTE_STRINGS:
                values += entry.values if 0 < entry.size <= len(data) else 0  # Pillow skips others
            if entries > TIFF_ENTRIES or values > TIFF_VALUES:
                raise _too_many("TIFF", "tags, strips or tiles")
            if entry.tag in TIFF_DIRECTORIES:
                directories.append(entry.first)
            sides.setdefault(entry.tag, entry.first)
    if _tiff_padding(sides) > TIFF_PADDING:
        raise _too_many("TIFF", "pixels outside the picture")


def _tiff_entries(data: bytes, layout: TiffLayout, directory: int) -> Iterator[TiffEntry]:
    """Yield the entries of a directory. An entry is tag, kind, count, then the values or their offset."""
    length = 4 + 2 * layout.offset
    declared = layout.number(data, directory, layout.entries)
    start = directory + layout.entries
    for position in range(start, min(start + declared * length, len(data) - length + 1), length):
        tag, kind = layout.number(data, position, 2), layout.number(data, position + 2, 2)
        count = layout.number(data, position + 4, layout.offset)
        value_bytes = TIFF_VALUE_BYTES.get(kind, 0)
        where = position + 4 + layout.offset
        if count * value_bytes > layout.offset:
            where = layout.number(data, where, layout.offset)
        yield TiffEntry(tag, kind, count, count * value_bytes, layout.number(data, where, value_bytes))


def _tiff_padding(sides: dict[int, int]) -> int:
    """Return the pixels of tiles outside the picture, from the tags of the sides of both."""
    padded, real = 1, 1
    for length, tile in ((TIFF_WIDTH, TIFF_TILE_WIDTH), (TIFF_HEIGHT, TIFF_TILE_HEIGHT)):
        tile_length = sides.get(tile, 0) or 1  # strips have no padding
        real *= sides.get(length, 0)
        padded *= -(-sides.get(length, 0) // tile_length) * tile_length
    return padded - real


def _too_many(name: str, parts: str) -> UnreadableImageError:
    return UnreadableImageError(
        f"This {name} file is made of too many {parts} to be an ordinary picture. "
        "Save it again with another program and send that."
    )


def _cut_short(name: str) -> UnreadableImageError:
    return UnreadableImageError(f"This {name} file is cut short or damaged. Send the whole file again.")
