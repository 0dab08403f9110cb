"""The colour maps. A new one is one row of `COLORMAPS`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Colours = npt.NDArray[np.uint8]
"""(entries, 3) table or (H, W, 3) picture."""
TABLE_ENTRIES = 255
"""Odd, so that one entry is exactly the middle: zero."""


@dataclass(frozen=True)
class ColormapInfo:
    """One colour map; ``table`` is its name in the package `cmap`, which holds the colours."""

    name: str
    kind: Literal["diverging", "sequential"]
    colour_blind_safe: bool
    description: str
    table: str


COLORMAPS: Mapping[str, ColormapInfo] = {
    info.name: info
    for info in (
        ColormapInfo("RdBu_r", "diverging", True, "Blue, white, red; the default.", "colorbrewer:RdBu_r"),
        ColormapInfo("vik", "diverging", True, "Blue, white, brown-red; perceptually even.", "crameri:vik"),
        ColormapInfo("broc", "diverging", True, "Blue, white, olive; perceptually even.", "crameri:broc"),
        ColormapInfo("berlin", "diverging", True, "Blue, black, red: for dark pages.", "crameri:berlin"),
        ColormapInfo("PuOr_r", "diverging", True, "Purple, white, orange.", "colorbrewer:PuOr_r"),
        ColormapInfo("coolwarm", "diverging", True, "Blue, grey, red; soft.", "matplotlib:coolwarm"),
        ColormapInfo(
            "seismic", "diverging", False, "Dark blue, white, dark red; harsh.", "matplotlib:seismic"
        ),
        ColormapInfo("viridis", "sequential", True, "Purple to yellow.", "bids:viridis"),
        ColormapInfo("cividis", "sequential", True, "Blue to yellow.", "cividis:cividis"),
        ColormapInfo("inferno", "sequential", True, "Black over red to pale yellow.", "bids:inferno"),
        ColormapInfo("batlow", "sequential", True, "Blue over green to pink.", "crameri:batlow"),
        ColormapInfo("gray", "sequential", True, "Black to white.", "matlab:gray"),
    )
}
"""All colour maps by name, the default first."""


@cache
def table(info: ColormapInfo) -> Colours:
    """Return the colours of a map from its lower end to its upper, (TABLE_ENTRIES, 3)."""
    from cmap import Colormap  # 50 ms that only a first picture pays

    return np.asarray(np.rint(Colormap(info.table).lut(TABLE_ENTRIES)[:, :3] * 255), np.uint8)


def legend(info: ColormapInfo, entries: int = 33) -> list[str]:
    """Return ``entries`` colours of a map from its lower end to its upper, evenly spaced, as ``#rrggbb``."""
    rows = np.rint(np.linspace(0, TABLE_ENTRIES - 1, entries)).astype(np.intp)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in table(info)[rows]]
