"""Next-line prefetching: the ids that follow, at every access (Smith, "Cache Memories", ACM Computing Surveys 1982)."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Prefetcher


class NextLine(Prefetcher):
    """Suggests ``key + 1 .. key + degree`` at every access, whether or not it hit.

    Where Smith prefetches at each reference to a cache line, this one does so at each access to an object; neighbouring
    ids stand for neighbouring addresses, and where they do not (hashed ids) all that it suggests is wasted.
    """

    name = "next-line"

    def access(self, key: int, hit: bool) -> Sequence[int]:
        return range(key + 1, key + 1 + self.degree)
