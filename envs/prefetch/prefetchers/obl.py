"""One-block lookahead behind a run of consecutive ids (Smith, "Cache Memories", ACM Computing Surveys 1982)."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Prefetcher


class OneBlockLookahead(Prefetcher):
    """Suggests ``key + 1 .. key + degree`` once the last ``run + 1`` accesses, this one included, were consecutive ids.

    Smith's rule looks one block ahead at every reference; the run before it keeps scattered accesses from setting it
    off, as cache simulators have it. Degree 1 is the rule as it is usually stated. The run is that of the whole stream,
    so one access elsewhere ends it: two interleaved scans are not seen.

    Args:
        degree: Most suggestions at an access.
        run: Steps of one id in a row that set it off.
    """

    name = "obl"

    def __init__(self, degree: int, run: int = 4) -> None:
        super().__init__(degree)
        self.run = run
        self._next = -1
        self._steps = 0

    def access(self, key: int, hit: bool) -> Sequence[int]:
        self._steps = self._steps + 1 if key == self._next else 0
        self._next = key + 1
        return range(key + 1, key + 1 + self.degree) if self._steps >= self.run else ()
