"""The kinds of input that have addresses."""

from collections.abc import Mapping

from app.api.kinds.image import IMAGE
from app.api.kinds.protocol import KindOverHTTP
from app.api.kinds.table import TABLE
from app.api.kinds.text import TEXT
from app.models.card import Kind

KINDS: Mapping[Kind, KindOverHTTP] = {one.kind: one for one in (IMAGE, TEXT, TABLE)}
"""By the ``kind`` of a model's card."""
