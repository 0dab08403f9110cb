"""Where the time of one request went."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Timings:
    """Milliseconds by stage, in the order in which the stages first ran."""

    stages: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, seconds: float) -> None:
        """Add ``seconds`` to ``stage``."""
        self.stages[stage] = self.stages.get(stage, 0.0) + 1000 * seconds

    def longest_of(self, others: Sequence["Timings"]) -> None:
        """Add the longest of each stage of ``others``, which ran concurrently."""
        for stage in dict.fromkeys(stage for other in others for stage in other.stages):
            longest = max(other.stages.get(stage, 0.0) for other in others)
            self.stages[stage] = self.stages.get(stage, 0.0) + longest
