"""The network's input."""

import numpy as np
from PIL import Image

from app.modalities.image.preprocessing import to_input


def test_the_tensor_is_normalised_channels_first() -> None:
    image = Image.new("RGB", (32, 32), (255, 0, 51))
    image.putpixel((3, 1), (0, 255, 255))
    x = to_input(image, mean=(0.5, 0.25, 0.2), std=(0.5, 0.25, 0.1))
    assert x.shape == (3, 32, 32)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[:, 0, 0], [1.0, -1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(x[:, 1, 3], [-1.0, 3.0, 8.0], rtol=1e-6)
