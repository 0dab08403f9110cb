"""JPEG files: their layout, and those whose end marker is missing."""

import io
from collections.abc import Iterator
from typing import Final, NamedTuple

from PIL import Image

from app.errors import UnreadableImageError
from app.modalities.image.file_checks import JPEG_END, JPEG_MARKER, JPEG_SCAN, JPEG_WITHOUT_LENGTH
from app.modalities.image.layouts import Layout

PROCESSES: Final = {
    0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive", 0xC3: "lossless", 0xC5: "hierarchical",
    0xC6: "hierarchical", 0xC7: "hierarchical", 0xC9: "arithmetic coding", 0xCA: "arithmetic coding",
    0xCB: "arithmetic coding", 0xCD: "hierarchical", 0xCE: "hierarchical", 0xCF: "hierarchical",
}  # fmt: skip
"""Coding processes by the marker of the frame's header (ITU-T T.81, table B.1)."""
ADOBE: Final = 0xEE
"""Marker of the segment in which Adobe's programs say how colours are coded (ITU-T T.872, 6.5.3)."""
JFIF: Final = 0xE0
RGB_IDENTIFIERS: Final = b"RGB"
COEFFICIENTS: Final = 64
NOT_SENT: Final = 99
END: Final = b"\xff\xd9"
PADDINGS: Final = (b"\x55" * 64, b"\xaa" * 64)
"""Two opposite bit patterns in place of data that may be missing: pixels that are all there depend on neither."""


class Segment(NamedTuple):
    """A marker and what follows it."""

    code: int
    content: bytes


def layout_of(data: bytes) -> Layout:
    """Return the layout of a JPEG's first frame; raises `UnreadableImageError` if there is none."""
    adobe: int | None = None
    jfif = False
    for code, content in _segments(data):
        jfif = jfif or (code == JFIF and content.startswith(b"JFIF\0"))
        if code == ADOBE and content.startswith(b"Adobe") and len(content) >= 12:
            adobe = content[11]
        if code in PROCESSES:
            return Layout("JPEG", _colours(content, adobe, jfif), content[0], PROCESSES[code])
    raise UnreadableImageError("This JPEG file has no picture in it. Send the whole file.")


def _colours(frame: bytes, adobe: int | None, jfif: bool) -> str:
    """Name the colours of a frame as libjpeg takes them; CMYK without Adobe's segment may be inverted or not."""
    count, identifiers = frame[5], frame[6::3]
    if count == 1:
        return "grey"
    if count == 3:
        is_rgb = not jfif and (adobe == 0 if adobe is not None else identifiers == RGB_IDENTIFIERS)
        return "RGB" if is_rgb else "YCbCr"
    if count == 4:
        return {0: "CMYK", 2: "YCCK"}.get(adobe, "CMYK without Adobe's marker")  # type: ignore[arg-type]
    return f"{count} components"


def _segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments from the first marker to the end marker, if there is one; data of scans is skipped."""
    position = 2
    while found := JPEG_MARKER.search(data, position):
        code, position = data[found.end() - 1], found.end()
        content = b""
        if code not in JPEG_WITHOUT_LENGTH and code != JPEG_END:
            length = int.from_bytes(data[position : position + 2], "big")
            content = data[position + 2 : position + length]
            position += length
        yield Segment(code, content)
        if code == JPEG_END:
            return


def with_end(data: bytes) -> bytes:
    """Return a JPEG with its end marker, which some cameras leave out; ``data`` itself if it has one.

    Raises `UnreadableImageError` if not all coefficients were sent. Only decoding shows whether the last scan is
    whole: see `check_complete`.
    """
    segments = list(_segments(data))
    if segments and segments[-1].code == JPEG_END:
        return data
    ended = _ended(data, PADDINGS[0])
    if not _all_sent(segments) or list(_segments(ended))[-1].code != JPEG_END:
        raise _cut_short()  # the second: a segment is longer than the file
    return ended


def check_complete(image: Image.Image, data: bytes) -> None:
    """Raise `UnreadableImageError` if the picture depends on what `with_end` put in place of missing ``data``.

    ``image`` is the picture decoded from `with_end`'s result.
    """
    with Image.open(io.BytesIO(_ended(data, PADDINGS[1])), formats=["JPEG", "MPO"]) as other:
        if other.tobytes() != image.tobytes():
            raise _cut_short()


def _ended(data: bytes, padding: bytes) -> bytes:
    return data.rstrip(b"\xff") + padding + END


def _all_sent(segments: list[Segment]) -> bool:
    """Whether the scans announce all coefficients of all components to the last bit."""
    frame = next((content for code, content in segments if code in PROCESSES), b"")
    lowest_bit = {component: [NOT_SENT] * COEFFICIENTS for component in frame[6::3]}
    for code, content in segments:
        if code == JPEG_SCAN:
            count = content[0]
            first, last, bits = content[1 + 2 * count : 4 + 2 * count]
            for component in content[1 : 1 + 2 * count : 2]:
                lowest_bit[component][first : last + 1] = [bits & 0x0F] * (last + 1 - first)
    return bool(lowest_bit) and not any(any(bits) for bits in lowest_bit.values())


def _cut_short() -> UnreadableImageError:
    return UnreadableImageError("This JPEG file is cut short: pixels are missing. Send the whole file again.")
