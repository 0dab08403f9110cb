"""The backdrop of a heatmap: what is drawn of the upload itself."""

from dataclasses import dataclass

from PIL import Image

from app.modalities.image.drawing.layout import fitted, longest_side, panel_side
from app.modalities.image.drawing.style import Style, View
from app.modalities.image.picture import Picture
from app.modalities.image.spec import ImageSpec


@dataclass(frozen=True)
class Backdrop:
    """What is drawn of an upload: ``size`` is its own (width, height), ``image`` is as large as it is drawn."""

    size: tuple[int, int]
    side: int
    """Longest side of a map that is drawn alone or over the upload."""
    image: Image.Image | None
    """``None`` where the style shows nothing of the upload."""

    @property
    def shown(self) -> Image.Image:
        """The image of a style that shows one."""
        assert self.image is not None, "the backdrop was made for another style"
        return self.image


def backdrop_of(picture: Picture, style: Style, spec: ImageSpec) -> Backdrop:
    """Return what ``style`` shows of ``picture``; the picture itself is not needed any more."""
    size = picture.image.size
    side = longest_side(style, size, spec.longest_side)
    match style.view:
        case View.HEATMAP:
            return Backdrop(size, side, None)
        case View.OVERLAY:
            shown = fitted(size, side)
        case View.SIDE_BY_SIDE:
            shown = fitted(size, panel_side(style, spec.longest_side))
    return Backdrop(size, side, picture.image.resize(shown, Image.Resampling.LANCZOS, reducing_gap=3.0))
