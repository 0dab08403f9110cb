"""MiniVGG: four convolutions and two linear layers for 32×32 images."""

from typing import ClassVar

from torch import Tensor, nn

from app.models.image_card import InputSize


class MiniVGG(nn.Module):
    """A small VGG for 32×32 RGB images: (B, 3, 32, 32) -> logits (B, num_classes).

    The names of the parameters, ``features.0.weight`` … ``classifier.4.bias``, are those of the network in the
    talk that this project follows, so its checkpoints can be loaded. Dropout is active in training only.
    """

    input_size: ClassVar[InputSize] = (3, 32, 32)
    """Channels, height, width."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(self.input_size[0], 32, 3, padding=1),  # (B, 3, 32, 32) -> (B, 32, 32, 32)
            nn.ReLU(inplace=True),
            nn.Dropout(0.35),
            nn.Conv2d(32, 64, 3, padding=1),  # -> (B, 64, 32, 32)
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),  # -> (B, 64, 16, 16)
            nn.Conv2d(64, 128, 3, padding=1),  # -> (B, 128, 16, 16)
            nn.ReLU(inplace=True),
            nn.Dropout(0.35),
            nn.Conv2d(128, 128, 3, padding=1),  # -> (B, 128, 16, 16)
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),  # -> (B, 128, 8, 8)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),  # (B, 128, 8, 8) -> (B, 8192)
            nn.Linear(128 * 8 * 8, 256),
            nn.ReLU(inplace=True),
            nn.Dropout(0.45),
            nn.Linear(256, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits: normalised images (B, 3, 32, 32) -> (B, num_classes)."""
        logits: Tensor = self.classifier(self.features(x))
        return logits
