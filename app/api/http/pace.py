"""A bound on how often something is done, without refusing any of it."""


class Pace:
    """Spreads events in time, at most ``per_s`` a second; up to ``burst`` of them follow one another at once."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._interval_s = 1 / per_s
        self._burst_s = burst / per_s
        self._latest_s = float("-inf")

    def delay_s(self, now_s: float) -> float:
        """Return the seconds that the next event must wait; those after it wait at least as long."""
        self._latest_s = max(self._latest_s, now_s - self._burst_s) + self._interval_s
        return max(0.0, self._latest_s - now_s)
