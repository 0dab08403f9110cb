"""Make pictures that deceive, and show which of the service's signals notice. Run with ``make deception``.

The first keeps the class and moves the map (Dombrowski et al. 2019), the second changes the class (projected
gradient descent, Madry et al. 2018). Both are the photo of Chelsea the cat (Stefan van der Walt, CC0, from
scikit-image) as the model sees it, with whole levels of 0 to 255 added to its pixels: a PNG holds them exactly.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from skimage import data
from starlette.testclient import TestClient
from torch import Tensor, nn
from torch.nn import functional as F
from zennit.attribution import Gradient
from zennit.composites import EpsilonPlusFlat

from app.main import create_app
from app.models.checkpoint import load_image, load_module
from app.models.local import LocalModel
from app.settings import Settings, shipped_model
from docs import blocks

PAGE = "deception.md"
MOVED_LEVELS, CHANGED_LEVELS = 2, 4
"""Largest change of a value by the two attacks, of 255 levels."""
STEPS, FIRST_STEP, DECAY = 200, 0.25, 0.99
"""Steps of the attack on the map; size of the first one in levels; factor from one to the next."""
STEPS_TO_CHANGE = 40
CORNER = 8
"""Side of the square in the upper left corner to which relevance is moved, in pixels."""
SAMPLES = 32
SIDE = 192
PATIENCE_S = 600
"""Deadlines of the service, for a busy machine."""
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Network:
    """The network as a function of pixels in 0…255, (B, 3, H, W) -> logits (B, classes)."""

    layers: nn.Module
    mean: Tensor
    std: Tensor

    @classmethod
    def shipped(cls) -> "Network":
        """Load the shipped network with constant weights."""
        layers, card = load_module(shipped_model())
        for layer in layers.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # its input is needed for gradients of relevance
        mean, std = (
            torch.tensor(values).view(1, -1, 1, 1)
            for values in (card.normalisation.mean, card.normalisation.std)
        )
        return cls(layers.requires_grad_(requires_grad=False), mean, std)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return the input of the layers."""
        return (pixels / 255 - self.mean) / self.std

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.layers(self.normalised(pixels))
        return logits

    def map(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the map of the predicted class (B, H, W), scaled to magnitudes that sum to 1.

        The map is a differentiable function of the pixels.
        """

        def one_hot(logits: Tensor) -> Tensor:
            return F.one_hot(logits.argmax(1), logits.shape[1]).to(logits)

        with Gradient(self.layers, EpsilonPlusFlat(), create_graph=True) as attributor:
            logits, relevance = attributor(self.normalised(pixels), one_hot)
        summed = relevance.sum(1)
        return logits, summed / summed.abs().sum((1, 2), keepdim=True)


def move_map(network: Network, pixels: Tensor, steps: int = STEPS) -> Tensor:
    """Return pixels with the same class, and relevance moved to the upper left corner."""
    wanted = torch.zeros(pixels.shape[2:])
    wanted[:CORNER, :CORNER] = 1 / CORNER**2
    probabilities = network(pixels).softmax(1)
    predicted = int(probabilities.argmax())

    def loss(changed: Tensor) -> Tensor:
        logits, found = network.map(changed)
        kept = logits.softmax(1)[0, predicted] - probabilities[0, predicted]
        return 100 * (found[0] - wanted).square().sum() + 5 * kept.square()

    change = torch.zeros_like(pixels)
    for step in range(steps):
        gradient = _gradient(loss, (pixels + change).clamp(0, 255))
        change = (change - FIRST_STEP * DECAY**step * gradient.sign()).clamp(-MOVED_LEVELS, MOVED_LEVELS)
    return (pixels + change.round()).clamp(0, 255)


def change_class(network: Network, pixels: Tensor) -> Tensor:
    """Return pixels with another class, by projected gradient descent on the logits' difference."""
    predicted = network(pixels).argmax(1)

    def loss(changed: Tensor) -> Tensor:
        return -F.cross_entropy(network(changed), predicted)

    change = torch.zeros_like(pixels)
    for _ in range(STEPS_TO_CHANGE):
        gradient = _gradient(loss, (pixels + change).clamp(0, 255))
        change = (change - gradient.sign()).clamp(-CHANGED_LEVELS, CHANGED_LEVELS)
    return (pixels + change).clamp(0, 255)


def _gradient(loss: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    pixels = pixels.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(pixels), pixels)
    return gradient


def photo() -> Pixels:
    """Return the centre square of Chelsea at the model's resolution, (H, W, 3)."""
    _, height, width = load_image(shipped_model())[1].input_size
    image = Image.fromarray(data.chelsea())  # type: ignore[no-untyped-call] # scikit-image has no types
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((width, height), Image.Resampling.LANCZOS))


def pictures() -> dict[str, Pixels]:
    """Return the photo and the two pictures made from it, (H, W, 3) each."""
    original, network = photo(), Network.shipped()
    pixels = torch.from_numpy(original.copy()).permute(2, 0, 1)[None].float()  # (H, W, 3) -> (1, 3, H, W)
    return {
        "the photo": original,
        "the map moved": _as_pixels(move_map(network, pixels)),
        "the class changed": _as_pixels(change_class(network, pixels)),
    }


def _as_pixels(pixels: Tensor) -> Pixels:
    found: Pixels = pixels[0].permute(1, 2, 0).to(torch.uint8).numpy()
    return found


class Signals:
    """Sends pictures to the service and collects what it says of them."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def row(self, name: str, picture: Pixels, original: Pixels) -> dict[str, str]:
        """Return the signals for a picture, by column."""
        plain = self._json("/explain", picture, values=True)
        dropout = self._json("/explain", picture, samples=SAMPLES)
        noise = self._json("/explain", picture, samples=SAMPLES, sampling="noise", noise=0.02)
        measured = self._json("/evaluate", picture, rule="epsilon_plus_flat")
        evaluation = measured["evaluations"][0]
        relevance = self._relevance(picture)
        corner = relevance[:CORNER, :CORNER].sum() / np.abs(relevance).sum()
        levels = int(np.abs(picture.astype(int) - original).max())
        uncertainty = dropout["prediction"]["uncertainty"]
        return {
            "picture": name,
            "largest change, levels of 255": str(levels),
            "prediction": f"{plain['prediction']['label']} {plain['prediction']['probability']:.0%}",
            "relevance in the corner": f"{corner:.0%}",
            "similarity with the photo's map": f"{_correlation(relevance, self._relevance(original)):.2f}",
            "spread, dropout": f"{dropout['relevance']['samples']['spread']:.2f}",
            "sign agreement, dropout": f"{dropout['relevance']['samples']['sign_agreement']:.2f}",
            "spread, noise": f"{noise['relevance']['samples']['spread']:.2f}",
            "sign agreement, noise": f"{noise['relevance']['samples']['sign_agreement']:.2f}",
            "entropy, dropout": f"{uncertainty['entropy']:.2f}",
            "mutual information, dropout": f"{uncertainty['mutual_information']:.3f}",
            "gap": f"{evaluation['gap']:.2f}",
            "gap of occlusion": f"{measured['occlusion']['gap']:.2f}",
            "sensitivity": f"{evaluation['sensitivity']:.2f}",
            "leak": f"{plain['relevance']['leak']:.2f}",
        }

    def heatmap(self, picture: Pixels, **query: Any) -> Image.Image:
        """Return the heatmap as the service draws it."""
        answer = self._client.post(
            "/explain", params={"size": SIDE, **query, "format": "png"}, content=_png(picture)
        )
        answer.raise_for_status()
        return Image.open(io.BytesIO(answer.content)).convert("RGB")

    def _relevance(self, picture: Pixels) -> npt.NDArray[np.float64]:
        """Return the map, channels summed: (H, W)."""
        values = self._json("/explain", picture, values=True)["relevance"]["values"]
        summed: npt.NDArray[np.float64] = np.array(values).sum(0)
        return summed

    def _json(self, path: str, picture: Pixels, **query: Any) -> dict[str, Any]:
        answer = self._client.post(path, params=query, content=_png(picture))
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def _png(picture: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """Return the tiles of all rows in one picture."""
    found = Image.new("RGB", (len(rows[0]) * (SIDE + 8) - 8, len(rows) * (SIDE + 8) - 8), "white")
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            found.paste(tile, (x * (SIDE + 8), y * (SIDE + 8)))
    return found


def main() -> None:
    """Write the table and the picture of the page."""
    settings = Settings(
        device="cpu", picture_processes=1, queue_deadline_s=PATIENCE_S, evaluation_deadline_s=PATIENCE_S
    )
    found = pictures()
    with TestClient(create_app(settings, LocalModel.load(shipped_model(), "cpu", None))) as client:
        client.headers["Content-Type"] = "image/png"
        signals = Signals(client)
        rows = [signals.row(name, picture, found["the photo"]) for name, picture in found.items()]
        tiles = [
            [
                Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.NEAREST),
                signals.heatmap(picture),
                signals.heatmap(picture, samples=SAMPLES, statistic="std"),
            ]
            for picture in found.values()
        ]
    sheet(tiles).save(blocks.PAGES / "images" / "deception.png", optimize=True)
    names = [name for name in rows[0] if name != "picture"]
    lines = [[name, *(row[name] for row in rows)] for name in names]
    text = blocks.table(["", *(row["picture"] for row in rows)], lines)
    blocks.fill(PAGE, {"signals": text})
    print(text)


if __name__ == "__main__":
    main()
