"""Maps of one class as points of a plane, by t-SNE (van der Maaten and Hinton 2008)."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from app.survey.arrays import Floats, Rows

MAX_POINTS = 1_000
"""Of a class; of more maps, so many are drawn at random."""
PERPLEXITY = 30.0
DIMENSIONS = 50
"""To which maps are reduced first, by principal components, as van der Maaten and Hinton do."""


def embedded(vectors: Floats, seed: int) -> tuple[Rows, Floats]:
    """Return which of ``vectors`` (n, d) are embedded, (m,), and their points in −1…1, (m, 2)."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:MAX_POINTS])
    sample = vectors[chosen]
    if len(np.unique(sample, axis=0)) < 4:
        return chosen, np.zeros((len(chosen), 2), np.float32)
    dimensions = min(DIMENSIONS, *sample.shape)
    reduced = PCA(dimensions, random_state=seed).fit_transform(sample)
    perplexity = min(PERPLEXITY, (len(sample) - 1) / 3)
    points = TSNE(perplexity=perplexity, random_state=seed, init="random").fit_transform(reduced)
    points -= (points.max(0) + points.min(0)) / 2
    return chosen, np.asarray(points / (np.abs(points).max() or 1), np.float32)
