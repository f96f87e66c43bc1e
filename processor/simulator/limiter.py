"""The provider's own limit of calls: a bucket that holds a second's worth and refills evenly."""


class Limiter:
    """Counts calls against a limit that may change from one to the next."""

    def __init__(self) -> None:
        self._left = float("inf")
        self._at = 0

    def is_over(self, at: int, per_second: int) -> bool:
        """Say whether a call at this instant is one too many; 0 a second means that none is."""
        if not per_second:
            return False
        refilled = (at - self._at) * per_second / 1000
        self._left = min(float(per_second), self._left + refilled)
        self._at = at
        if self._left < 1:
            return True
        self._left -= 1
        return False
