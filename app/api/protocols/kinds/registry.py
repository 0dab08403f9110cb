"""The kinds of input in the serving protocols."""

from collections.abc import Mapping

from app.api.protocols.kinds.image import IMAGE_IN_PROTOCOLS
from app.api.protocols.kinds.protocol import KindInProtocols
from app.api.protocols.kinds.table import TABLE_IN_PROTOCOLS
from app.api.protocols.kinds.text import TEXT_IN_PROTOCOLS
from app.models.card import Kind

KINDS: Mapping[Kind, KindInProtocols] = {
    one.over_http.kind: one for one in (IMAGE_IN_PROTOCOLS, TEXT_IN_PROTOCOLS, TABLE_IN_PROTOCOLS)
}
"""By the ``kind`` of a model's card."""
