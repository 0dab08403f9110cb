"""WebP files: where the first frame of an animation lies on its canvas."""

from typing import Final

from app.errors import UnreadableImageError

EXTENDED: Final = b"VP8X"
ANIMATED: Final = 0x02
"""Flag in the header of the extended format."""
FRAME: Final = b"ANMF"
CHUNKS: Final = 64
"""Looked at for the first frame, before which there are a header, a profile and the animation's settings."""


def frame_box(data: bytes) -> tuple[int, int, int, int] | None:
    """Return left, top, right and bottom of an animation's first frame; ``None`` for a still picture.

    Raises `UnreadableImageError` if the frame is not among the first chunks.
    """
    if data[12:16] != EXTENDED or not data[20] & ANIMATED:
        return None
    position = 12
    for _ in range(CHUNKS):
        if data[position : position + 4] == FRAME:
            half_left, half_top, width, height = (
                int.from_bytes(data[at : at + 3], "little") for at in range(position + 8, position + 20, 3)
            )
            left, top = 2 * half_left, 2 * half_top
            return left, top, left + width + 1, top + height + 1
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + length + length % 2
    raise UnreadableImageError(
        "This WebP file has no frame among its first parts. Save it again and send that."
    )
