"""The layouts of picture files that are known to be decoded correctly; every other one is refused by name.

A library opens many layouts without an error and takes their samples for something else: the result is another
picture. The tests compare each layout of this table with files whose samples are known.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from app.errors import UnreadableImageError

NO_EXTRA: Final = "none"
UNUSED: Final = "unused samples"
ALPHA: Final = "alpha"
PREMULTIPLIED: Final = "premultiplied alpha"
MORE_UNUSED: Final = " and more unused samples"
TRANSPARENT_COLOUR: Final = "transparent colour"

LOSSLESS: Final = ("uncompressed", "LZW", "deflate", "PackBits", "LZMA", "Zstandard")
FAX: Final = ("CCITT RLE", "CCITT group 3", "CCITT group 4")
REVERSED_BITS: Final = " with reversed bits"


class Reader(Enum):
    """What decodes a layout."""

    PILLOW = auto()
    SAMPLES = auto()
    """`app.modalities.image.tiff_samples`: Pillow decompresses, NumPy takes the samples apart."""


@dataclass(frozen=True)
class Layout:
    """How a file stores its pixels, in words."""

    format: str
    colours: str
    bits: int
    """Per sample; of a BMP per pixel; 0 if samples differ."""
    compression: str
    extra: str = NO_EXTRA
    """What a pixel has besides its colour."""
    samples: str = "unsigned"
    planes: str = "interleaved"

    def __str__(self) -> str:
        """Describe the layout: ``8-bit signed grey with alpha, separate planes, LZW``."""
        signed = f"{self.samples} " if self.samples != "unsigned" else ""
        extra = f" with {self.extra}" if self.extra != NO_EXTRA else ""
        planes = f", {self.planes} planes" if self.planes != "interleaved" else ""
        depth = f"{self.bits}-bit" if self.bits else "mixed-depth"
        return f"{depth} {signed}{self.colours}{extra}{planes}, {self.compression}"


@dataclass(frozen=True)
class KnownLayouts:
    """All combinations of these values: a row of the table."""

    format: str
    colours: tuple[str, ...]
    bits: tuple[int, ...]
    compression: tuple[str, ...]
    extra: tuple[str, ...] = (NO_EXTRA,)
    samples: tuple[str, ...] = ("unsigned",)
    planes: tuple[str, ...] = ("interleaved",)
    reader: Reader = Reader.PILLOW

    def __contains__(self, layout: Layout) -> bool:
        """Whether ``layout`` is one of the combinations."""
        return (
            layout.format == self.format
            and layout.colours in self.colours
            and layout.bits in self.bits
            and layout.compression in self.compression
            and layout.extra in self.extra
            and layout.samples in self.samples
            and layout.planes in self.planes
        )


GREYS: Final = ("grey", "white-is-zero grey")
ANY_ALPHA: Final = (NO_EXTRA, UNUSED, ALPHA, PREMULTIPLIED)


def _samples(
    colours: tuple[str, ...], bits: tuple[int, ...], extra: tuple[str, ...], samples: str = "unsigned"
) -> KnownLayouts:
    """Return a row of TIFF layouts whose samples are taken apart here."""
    planes = "interleaved", "separate"
    with_more = tuple(name + MORE_UNUSED for name in extra if name != NO_EXTRA)
    return KnownLayouts(
        "TIFF", colours, bits, LOSSLESS, extra + with_more, (samples,), planes, Reader.SAMPLES
    )


KNOWN: Final = (
    KnownLayouts("PNG", ("grey",), (1, 2, 4, 8, 16), ("deflate",), (NO_EXTRA, TRANSPARENT_COLOUR)),
    KnownLayouts("PNG", ("RGB",), (8, 16), ("deflate",), (NO_EXTRA, TRANSPARENT_COLOUR, ALPHA)),
    KnownLayouts("PNG", ("palette",), (1, 2, 4, 8), ("deflate",), (NO_EXTRA, ALPHA)),
    KnownLayouts("PNG", ("grey",), (8, 16), ("deflate",), (ALPHA,)),
    KnownLayouts("JPEG", ("grey", "YCbCr", "RGB", "CMYK", "YCCK"), (8,), ("baseline", "extended", "progressive")),
    KnownLayouts("WebP", ("RGB",), (8,), ("lossy", "lossless"), (NO_EXTRA, ALPHA)),
    KnownLayouts("GIF", ("palette",), (8,), ("LZW",), (NO_EXTRA, TRANSPARENT_COLOUR)),
    KnownLayouts("BMP", ("palette",), (1, 4, 8), ("uncompressed",)),
    KnownLayouts("BMP", ("RGB 5:5:5", "RGB 5:6:5"), (16,), ("uncompressed",)),
    KnownLayouts("BMP", ("RGB",), (24, 32), ("uncompressed",)),
    KnownLayouts("BMP", ("RGB",), (32,), ("uncompressed",), (ALPHA,)),
    KnownLayouts("TIFF", GREYS, (1,), FAX),
    KnownLayouts("TIFF", GREYS, (1,), tuple(name + REVERSED_BITS for name in (*LOSSLESS, *FAX))),
    KnownLayouts("TIFF", (*GREYS, "palette"), (1, 2, 4, 8), LOSSLESS),
    KnownLayouts("TIFF", ("RGB",), (8, 16), LOSSLESS, ANY_ALPHA),
    KnownLayouts("TIFF", ("CMYK",), (8, 16), LOSSLESS),
    KnownLayouts("TIFF", ("YCbCr", "CIELab"), (8,), LOSSLESS),
    KnownLayouts("TIFF", ("grey", "RGB", "CMYK", "YCbCr"), (8,), ("JPEG",)),
    KnownLayouts("TIFF", ("YCbCr",), (8,), ("old-style JPEG",)),
    _samples((*GREYS, "RGB", "CMYK"), (1, 2, 4, 8, 12, 16), (NO_EXTRA, UNUSED, ALPHA)),
    _samples(("grey", "RGB"), (1, 2, 4, 8, 12, 16), (PREMULTIPLIED,)),
    _samples((*GREYS, "RGB", "CMYK"), (8, 12, 16), (NO_EXTRA, UNUSED, ALPHA), "signed"),
)  # fmt: skip
"""The first row that has a layout says what decodes it."""


def reader_of(layout: Layout) -> Reader:
    """Return what decodes ``layout``; raises `UnreadableImageError` if nothing is known to do so correctly."""
    for known in KNOWN:
        if layout in known:
            return known.reader
    raise UnreadableImageError(
        f"This {layout.format} file's layout is not read: {layout}. "
        "Save it as PNG with 8 or 16 bits and send that."
    )


def rows() -> list[list[str]]:
    """Return the table as text, one row for each of `KNOWN`, for the documentation."""
    return [
        [
            known.format,
            ", ".join(known.colours),
            ", ".join(map(str, known.bits)),
            ", ".join(known.compression),
            ", ".join(_besides(known)) or "–",
        ]
        for known in KNOWN
    ]


def _besides(known: KnownLayouts) -> list[str]:
    """Return what may differ from the usual in a row."""
    extra = [name for name in known.extra if name != NO_EXTRA and not name.endswith(MORE_UNUSED)]
    samples = [f"{name} samples" for name in known.samples if name != "unsigned"]
    return [*extra, *samples, *(f"{name} planes" for name in known.planes if name != "interleaved")]
