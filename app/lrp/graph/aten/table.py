"""All translations of ATen's operators."""

from collections.abc import Mapping
from types import MappingProxyType

from app.lrp.graph.aten import affine, attention, einsum, elementwise, norms, pooling, shapes
from app.lrp.graph.aten.call import Translation

TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        name: translation
        for family in (affine, attention, einsum, elementwise, norms, pooling, shapes)
        for name, translation in family.TRANSLATIONS.items()
    }
)
"""By the operator's name, without overload and without the underscore of a variant in place."""
