"""The network that is trained: an architecture whose embedding is composed of parts of words."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from app.models.architectures.words_lstm import WordsLSTM
from app.models.architectures.words_transformer import WordsTransformer
from app.training.text.recipe import NetworkRecipe
from app.training.text.subwords import SubwordEmbedding
from app.training.text.words_cnn import WordsCNN

ARCHITECTURES: Mapping[str, type[nn.Module]] = {
    architecture.__name__: architecture for architecture in (WordsLSTM, WordsTransformer, WordsCNN)
}


def create_network(recipe: NetworkRecipe, vocabulary: int, classes: int) -> nn.Module:
    """Return the recipe's network: ids (B, T) -> logits (B, classes)."""
    create = ARCHITECTURES[recipe.architecture]
    return create(vocabulary, classes, dropout=recipe.dropout, **recipe.sizes)


def network_to_train(recipe: NetworkRecipe, words: Sequence[str], classes: int) -> nn.Module:
    """Return the recipe's network with a `SubwordEmbedding` of ``words``, in the order of their ids."""
    network = create_network(recipe, len(words), classes)
    network.embedding = SubwordEmbedding(words, recipe.sizes["width"])
    return network


def embedding_of(network: nn.Module) -> SubwordEmbedding:
    """Return the embedding of a network that is trained."""
    assert isinstance(network.embedding, SubwordEmbedding)
    return network.embedding


@torch.no_grad()
def folded(trained: nn.Module, recipe: NetworkRecipe, classes: int) -> nn.Module:
    """Return the trained network with a plain embedding, in evaluation mode; its logits are the same."""
    vectors = embedding_of(trained).folded()
    network = create_network(recipe, len(vectors), classes).eval()
    others = {
        name: value for name, value in trained.state_dict().items() if not name.startswith("embedding.")
    }
    network.load_state_dict({**others, "embedding.weight": vectors})
    return network


@torch.no_grad()
def scale_logits(network: nn.Module, factor: float) -> None:
    """Multiply the logits, those of a last layer without bias, by ``factor``."""
    assert isinstance(network.output, nn.Linear)
    network.output.weight.mul_(factor)
