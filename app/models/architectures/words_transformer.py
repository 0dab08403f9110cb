"""WordsTransformer: word vectors with positions, and an encoder whose outputs' largest values are classified."""

import torch
from torch import Tensor, nn


class WordsTransformer(nn.Module):
    """A classifier of token ids: (B, T) int64 -> logits (B, num_classes), for T up to ``max_tokens``.

    Negative ids are padding, on the right only; every row needs a token. Normalisation comes before attention and
    dense layers, which have no biases but the first of each block (Xiong et al. 2020).
    """

    def __init__(
        self,
        vocabulary: int,
        num_classes: int,
        *,
        width: int,
        heads: int,
        blocks: int,
        max_tokens: int,
        dropout: tuple[float, float, float],
    ) -> None:
        """Create the network.

        Args:
            vocabulary: Number of tokens that are told apart.
            num_classes: Number of logits.
            width: Length of a word vector, a multiple of ``heads``.
            heads: Number of heads of attention.
            blocks: Number of blocks.
            max_tokens: Number of positions.
            dropout: Probabilities of the dropout after the embedding, within blocks, before the last layer.

        """
        super().__init__()
        self.embedding: nn.Module = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(max_tokens, width)
        self.embedding_dropout = nn.Dropout(dropout[0])
        self.blocks = nn.Sequential(*(Block(width, heads, dropout[1]) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout[2])
        self.output = nn.Linear(width, num_classes, bias=False)
        nn.init.zeros_(
            self.positions.weight
        )  # positions beyond the longest training text stay without effect

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits: ids (B, T) -> (B, num_classes)."""
        mask = ids >= 0
        positions = self.positions(torch.arange(ids.shape[1], device=ids.device))  # (T, width)
        x = self.embedding_dropout(self.embedding(ids.clamp(min=0)) + positions)  # (B, T) -> (B, T, width)
        for block in self.blocks:
            x = block(x, mask)
        largest = self.norm(x).masked_fill(~mask.unsqueeze(2), -torch.inf).amax(1)  # -> (B, width)
        logits: Tensor = self.output(self.dropout(largest))
        return logits


class Block(nn.Module):
    """Attention between the tokens of a row, then two dense layers, each added to its input: (B, T, width)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.attention_output = nn.Linear(width, width, bias=False)
        self.dense_norm = nn.LayerNorm(width)
        self.dense = nn.Linear(width, 2 * width)
        self.activation = nn.ReLU()
        self.dense_output = nn.Linear(2 * width, width, bias=False)
        self.attention_dropout = nn.Dropout(dropout)
        self.dense_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return x (B, T, width) after both steps; ``mask`` (B, T) is true for tokens."""
        x = x + self.attention_dropout(self._attend(self.attention_norm(x), mask))
        hidden = self.activation(self.dense(self.dense_norm(x)))  # -> (B, T, 2 * width)
        return x + self.dense_dropout(self.dense_output(hidden))  # type: ignore[no-any-return]

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the weighted values (B, T, width) of the tokens that each token attends to."""
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5  # (B, heads, T, T)
        weights = scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(3)
        mixed = (weights @ value).transpose(1, 2).flatten(2)  # (B, heads, T, width / heads) -> (B, T, width)
        return self.attention_output(mixed)  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        """Return x divided between the heads: (B, T, width) -> (B, heads, T, width / heads)."""
        batch, tokens, width = x.shape
        return x.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)
