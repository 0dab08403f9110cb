"""Code shared by the peers: loading the weights, decoding, explaining with Zennit, drawing the heatmap."""

import base64
import io
import threading
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import normalize, to_tensor
from zennit.attribution import Gradient
from zennit.composites import EpsilonPlusFlat
from zennit.image import palette

from app.models.checkpoint import load_module
from app.models.image_card import ImageCard
from app.settings import shipped_model

HEATMAP_SIDE = 256


def load_model() -> tuple[nn.Module, ImageCard]:
    """Load the shipped network and its card. In-place layers are disabled, because hooks do not support them."""
    model, card = load_module(shipped_model())
    for layer in model.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return model.requires_grad_(requires_grad=False), card


def decode(data: bytes, card: ImageCard) -> Tensor:
    """Decode the centre square of a picture file to the network's input, (3, 32, 32)."""
    picture = Image.open(io.BytesIO(data))
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.convert("RGB").resize(card.input_size[1:], box=(left, top, left + side, top + side))
    values: Tensor = normalize(to_tensor(square), card.normalisation.mean, card.normalisation.std)
    return values


def answer(logits: Tensor, relevance: Tensor, classes: Sequence[str]) -> dict[str, object]:
    """Build the response from logits (classes,) and relevance (3, 32, 32): scores and a base64 PNG."""
    scores = dict(zip(classes, logits.softmax(0).tolist(), strict=True))
    label = max(scores, key=scores.__getitem__)
    png = io.BytesIO()
    _colour(relevance.sum(0)).resize((HEATMAP_SIDE, HEATMAP_SIDE), Image.Resampling.NEAREST).save(png, "PNG")
    return {
        "prediction": {"label": label, "probability": scores[label]},
        "scores": scores,
        "heatmap": {"media_type": "image/png", "data": base64.b64encode(png.getvalue()).decode()},
    }


def _colour(relevance: Tensor) -> Image.Image:
    """Draw relevance (H, W) in blue, white and red, with 0 as white. Zennit's `imgify` fails with Pillow 13."""
    strongest = relevance.abs().max().clamp(min=torch.finfo(relevance.dtype).tiny)
    colour = Image.fromarray(((relevance / strongest + 1) * 127.5).round().byte().numpy())
    colour.putpalette(palette("bwr").tobytes())
    return colour


class ZennitExplainer:
    """EpsilonPlusFlat with Zennit, as in its README. Needs a lock, because Zennit replaces layers' weights."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._composite = EpsilonPlusFlat()
        self._lock = threading.Lock()

    def explain(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, classes), and relevance (B, 3, 32, 32) of the predicted classes."""
        with self._lock, Gradient(self._model, self._composite) as attributor:
            logits, relevance = attributor(pictures, predicted)
        return logits.detach(), relevance.detach()


def predicted(logits: Tensor) -> Tensor:
    """Return 1 at the class with the highest logit, else 0: (B, classes) -> (B, classes)."""
    return F.one_hot(logits.argmax(1), logits.shape[1]).to(logits)
