"""WordsLSTM: word vectors and one bidirectional LSTM, whose states' largest values are classified."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class WordsLSTM(nn.Module):
    """A classifier of token ids: (B, T) int64 -> logits (B, num_classes).

    Negative ids are padding, on the right only; every row needs a token. The dense layer has no bias, which would
    absorb relevance.
    """

    def __init__(
        self, vocabulary: int, num_classes: int, *, width: int, hidden: int, dropout: tuple[float, float]
    ) -> None:
        """Create the network.

        Args:
            vocabulary: Number of tokens that are told apart.
            num_classes: Number of logits.
            width: Length of a word vector.
            hidden: Length of the LSTM's state in each direction.
            dropout: Probabilities of the dropout after the embedding and before the dense layer.

        """
        super().__init__()
        self.embedding: nn.Module = nn.Embedding(vocabulary, width)
        self.embedding_dropout = nn.Dropout(dropout[0])
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout[1])
        self.output = nn.Linear(2 * hidden, num_classes, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits: ids (B, T) -> (B, num_classes)."""
        mask = ids >= 0
        vectors = self.embedding_dropout(self.embedding(ids.clamp(min=0)))  # (B, T) -> (B, T, width)
        states = self._states(vectors, mask)  # -> (B, T, 2 * hidden)
        largest = states.masked_fill(~mask.unsqueeze(2), -torch.inf).amax(1)  # -> (B, 2 * hidden)
        logits: Tensor = self.output(self.dropout(largest))
        return logits

    def _states(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return the states of both directions, of which the backward one starts at the end of each row."""
        if torch.compiler.is_exporting():  # the graph runs each row of an LSTM to its own length
            return self.lstm(vectors)[0]  # type: ignore[no-any-return]
        packed = pack_padded_sequence(vectors, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=mask.shape[1])[0]
