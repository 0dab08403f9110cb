"""How a picture file is built: bounded here, before any decoder walks it in Python.

Pillow reads the chunks of a PNG, the segments of a JPEG, the sub-blocks of a GIF, the runs of a BMP
and the entries, values and strips of a TIFF one by one, and libjpeg goes over the whole picture once
per scan. A small file can hold so many of them that it costs seconds. Honest files stay far below
every limit of this page.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from app.errors import UnreadableImageError

METADATA_BYTES = 2**19
"""Of EXIF and the like, which Pillow unpacks value by value: 0.1 s. In a JPEG most are under 64 KiB."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_FRAME_CHUNKS = frozenset({b"IDAT", b"fdAT", b"fcTL"})  # pixels, and the frames of an animated PNG
PNG_CHUNKS = 10_000
PNG_OTHER_CHUNKS = 256
PNG_COMPRESSED = frozenset({b"iCCP", b"zTXt", b"iTXt"})
PNG_COMPRESSED_CHUNKS = 64  # each may expand to 1 MiB before Pillow gives it up

JPEG_SIGNATURE = b"\xff\xd8\xff"
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)  # neither stuffing, restart nor fill
JPEG_BARE = frozenset({0xC8, 0xD8, *range(0xF0, 0xFE)})  # Pillow takes them to have no length
JPEG_END, JPEG_SCAN = 0xD9, 0xDA
JPEG_SEGMENTS = 1024
JPEG_SCANS = 32  # a progressive JPEG has about ten; each costs 30 ms at 25 MP, however short it is
JPEG_JUNK_BYTES = 4096
JPEG_KEPT_WHOLE = frozenset({0xFE, *range(0xE0, 0xF0)})  # comments and what applications add, but for these:
JPEG_TAKEN_APART = re.compile(rb"Exif\0\0|Photoshop 3\.0\0")

GIF_SIGNATURES = (b"GIF87a", b"GIF89a")
GIF_BLOCKS = 65_536  # 25 MP of noise fill half of them

BMP_SIGNATURE = b"BM"
BMP_OLDEST_HEADER_BYTES = 12  # of OS/2 1.x, which has no compression yet
BMP_RUN_LENGTHS = frozenset({1, 2})  # RLE8 and RLE4


class TiffLayout(NamedTuple):
    """How a kind of TIFF writes its numbers: their byte order, and how many bytes they have."""

    order: Literal["little", "big"]
    offset: int
    """Bytes of an offset, of a count of values, and of the values that are in an entry itself."""
    entries: int
    """Bytes of a directory's number of entries."""

    def number(self, data: bytes, position: int, length: int) -> int:
        """The number in these bytes; what the file lacks of them is left out."""
        return int.from_bytes(data[position : position + length], self.order)


class TiffEntry(NamedTuple):
    """One tag of a TIFF: how many ``values`` it has, their ``size`` in bytes, and the ``first`` of them."""

    tag: int
    kind: int
    values: int
    size: int
    first: int


TIFF_LAYOUTS = {
    b"II*\0": TiffLayout("little", 4, 2),
    b"MM\0*": TiffLayout("big", 4, 2),
    b"II\0*": TiffLayout("little", 4, 2),  # Pillow takes these two, misspelt as they are
    b"MM*\0": TiffLayout("big", 4, 2),
    b"II+\0": TiffLayout("little", 8, 8),
}
TIFF_BIG_BIG_ENDIAN = (
    b"MM\0+"  # libtiff reads it as what it is, Pillow as a classic TIFF: one would be unchecked
)
TIFF_VALUE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8
}  # fmt: skip
TIFF_BYTE_STRINGS = frozenset({1, 2, 7})  # kinds that Pillow keeps as they are, however long
TIFF_WIDTH, TIFF_HEIGHT, TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT = 256, 257, 322, 323
TIFF_WALKED = frozenset({273, 320, 324})  # strips, colours, tiles: gone through one by one even as bytes
TIFF_DIRECTORIES = frozenset({34665, 34853, 40965})  # EXIF, GPS and interoperability, read with the pixels
TIFF_ENTRIES = 1024
TIFF_VALUES = 65_536  # 32 768 strips, which some scanners write row by row; as many cost 0.2 s
TIFF_PADDING = 2**24  # pixels of tiles that lie outside the picture; decoded all the same


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
    elif data.startswith(BMP_SIGNATURE):
        _check_bmp(data)
    elif data.startswith(TIFF_BIG_BIG_ENDIAN):
        raise UnreadableImageError(
            "Big-endian BigTIFF files are not read. Save it again as PNG and send that."
        )
    elif data[:4] in TIFF_LAYOUTS:
        _check_tiff(data, TIFF_LAYOUTS[data[:4]])


def _check_png(data: bytes) -> None:
    """Count chunks: 4 bytes of length, 4 of type, the content, 4 of checksum."""
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
    """Count segments, scans, and bytes: those of no segment and those taken apart, up to the end marker."""
    position, junk, scans, taken_apart, in_scan = len(JPEG_SIGNATURE) - 1, 0, 0, 0, False
    for _ in range(JPEG_SEGMENTS):
        end = len(data) if in_scan else position + JPEG_JUNK_BYTES + 2
        marker = JPEG_MARKER.search(data, position, end)
        if marker is None and end < len(data):
            raise _too_many("JPEG", "stray bytes")
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
        if code not in JPEG_KEPT_WHOLE or JPEG_TAKEN_APART.match(data, marker.end() + 2):
            taken_apart += length
        if taken_apart > METADATA_BYTES:
            raise _too_many("JPEG", "bytes of tables and camera data")
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
        blocks += 1 + passed  # what introduces them costs as much
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


def _check_bmp(data: bytes) -> None:
    """Refuse run lengths: Pillow expands them in Python, however many pixels they stand for."""
    header_bytes, compression = (int.from_bytes(data[at : at + 4], "little") for at in (14, 30))
    if header_bytes != BMP_OLDEST_HEADER_BYTES and compression in BMP_RUN_LENGTHS:
        raise UnreadableImageError(
            "This BMP file is compressed (RLE), which is not read. "
            "Save it again without compression, or as PNG, and send that."
        )


def _check_tiff(data: bytes, layout: TiffLayout) -> None:
    """Count tags and their values in the directories that are read with the pixels; see how large tiles are."""
    first = layout.number(data, layout.offset, layout.offset)  # as wide as the bytes before it
    directories, entries, values = [first], 0, 0
    sides: dict[int, int] = {}
    while directories:
        for entry in _tiff_entries(data, layout, directories.pop()):
            entries += 1
            if entry.tag in TIFF_WALKED or entry.kind not in TIFF_BYTE_STRINGS:
                values += entry.values if 0 < entry.size <= len(data) else 0  # or else Pillow skips them
            if entries > TIFF_ENTRIES or values > TIFF_VALUES:
                raise _too_many("TIFF", "tags, strips or tiles")
            if entry.tag in TIFF_DIRECTORIES:
                directories.append(entry.first)
            sides.setdefault(entry.tag, entry.first)
    if _tiff_padding(sides) > TIFF_PADDING:
        raise _too_many("TIFF", "pixels outside the picture")


def _tiff_entries(data: bytes, layout: TiffLayout, directory: int) -> Iterator[TiffEntry]:
    """The entries of that directory that are in the file: tag, kind, count, then the values or their place."""
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
    """Pixels that tiles have and the picture has not, from what the tags of its sides and theirs say."""
    padded, real = 1, 1
    for length, tile in ((TIFF_WIDTH, TIFF_TILE_WIDTH), (TIFF_HEIGHT, TIFF_TILE_HEIGHT)):
        tile_length = sides.get(tile, 0) or 1  # in strips nothing is padded
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
