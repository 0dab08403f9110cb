"""WordsCNN: convolutions over word vectors (Kim 2014). It teaches the shipped models and is not served."""

import torch
from torch import Tensor, nn

KERNELS = (2, 3, 4)
"""Lengths of the convolutions in tokens."""


class WordsCNN(nn.Module):
    """A classifier of token ids, of which negative ones are padding: (B, T) int64 -> logits (B, num_classes)."""

    def __init__(
        self, vocabulary: int, num_classes: int, *, width: int, channels: int, dropout: tuple[float, float]
    ) -> None:
        super().__init__()
        self.embedding: nn.Module = nn.Embedding(vocabulary, width)
        self.embedding_dropout = nn.Dropout(dropout[0])
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, channels, kernel, padding=kernel - 1) for kernel in KERNELS
        )
        self.dropout = nn.Dropout(dropout[1])
        self.output = nn.Linear(len(KERNELS) * channels, num_classes, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits: ids (B, T) -> (B, num_classes)."""
        vectors = self.embedding_dropout(self.embedding(ids.clamp(min=0)))  # (B, T) -> (B, T, width)
        vectors = (vectors * (ids >= 0).unsqueeze(2)).transpose(1, 2)  # -> (B, width, T)
        largest = [layer(vectors).relu().amax(2) for layer in self.convolutions]  # each (B, channels)
        logits: Tensor = self.output(self.dropout(torch.cat(largest, 1)))
        return logits
