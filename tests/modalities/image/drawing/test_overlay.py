"""The map over the picture."""

import numpy as np
from drawn import pixels
from PIL import Image

from app.modalities.image.drawing.style import Style, View


def test_an_overlay_depends_on_relevance_only_where_the_model_looked(cat: Image.Image) -> None:
    style = Style(view=View.OVERLAY, size="input")
    nothing, everything = (pixels(style, cat, np.full((32, 32), v)) for v in (0.0, 1.0))
    changed = (nothing != everything).any(axis=2)
    assert changed[:, 75:375].mean() > 0.99
    assert not changed[:, :75].any()
    assert not changed[:, 375:].any()
