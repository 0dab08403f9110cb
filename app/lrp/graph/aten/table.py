"""All translations of ATen's operators."""

from collections.abc import Mapping
from types import MappingProxyType

from app.lrp.graph.aten import (
    affine,
    attention,
    einsum,
    elementwise,
    logic,
    norms,
    pooling,
    recurrent,
    shapes,
)
from app.lrp.graph.aten.call import Translation

TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        name: translation
        for family in (
            affine,
            attention,
            einsum,
            elementwise,
            logic,
            norms,
            pooling,
            recurrent,
            shapes,
        )
        for name, translation in family.TRANSLATIONS.items()
    }
)
"""By the operator's name, without overload and without the underscore of a variant in place."""
