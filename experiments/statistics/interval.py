"""An estimate with its interval."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and a two-sided interval around it.

    Attributes:
        estimate: The point estimate.
        low: Lower end; None with fewer than two replicates.
        high: Upper end; None with fewer than two replicates.
        confidence: Nominal coverage, in (0, 1).
        replicates: Number of pairs behind it.
    """

    estimate: float
    low: float | None
    high: float | None
    confidence: float
    replicates: int

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside the interval; never if there is no interval."""
        return self.low is not None and self.high is not None and not (self.low <= value <= self.high)

    def to_json(self) -> dict[str, Any]:
        """The fields, in JSON's types."""
        return asdict(self)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.estimate:.3f} (one window)"
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"
