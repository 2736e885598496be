"""Markov prefetching: what followed this id before.

Joseph & Grunwald, "Prefetching using Markov Predictors", ISCA 1997.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from .base import Prefetcher


class Markov(Prefetcher):
    """Suggests the ids that followed this one before, the latest first, up to four an id.

    The paper's table has several successors a miss address, replaced in order of recency (checked against summaries);
    that there are four, prefetched the latest first, is from memory, and is what others implement after the paper.
    Where fewer than ``degree`` are known, it goes on here with the successors of the latest one, and so forth, after
    the multi-level correlation prefetching of Solihin, Lee, Torrellas (ISCA 2002; from memory): on a chain of ids a
    degree of 4 looks 4 ahead. The paper trains on misses; here every access trains, so that suggestions do not depend
    on the cache. An access to the same id again is not taken for a successor.

    Args:
        degree: Most suggestions at an access.
        fanout: Successors kept an id.
        ids: Ids with successors; the least recently trained leaves. The size is this project's.
    """

    name = "markov"

    def __init__(self, degree: int, fanout: int = 4, ids: int = 65_536) -> None:
        super().__init__(degree)
        self.fanout = fanout
        self.ids = ids
        self._successors: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        self._last = -1

    def access(self, key: int, hit: bool) -> Sequence[int]:
        successors, last = self._successors, self._last
        if last != key and last >= 0:
            known = successors.pop(last, ())
            if not known:
                known = (key,)
                if len(successors) >= self.ids:
                    successors.popitem(last=False)
            elif known[0] != key:
                known = (key, *[one for one in known if one != key][: self.fanout - 1])
            successors[last] = known
        self._last = key
        known = successors.get(key)
        if known is None:
            return ()
        degree = self.degree
        if len(known) >= degree:
            return known[:degree]
        return self._along(key, known)

    def _along(self, key: int, known: tuple[int, ...]) -> list[int]:
        """The successors, and those further along the latest ones."""
        ahead = list(known)
        met = {key, *known}
        at = known[0]
        while len(ahead) < self.degree:
            known = self._successors.get(at, ())
            fresh = [one for one in known if one not in met]
            if not fresh:
                break
            ahead += fresh
            met.update(fresh)
            at = fresh[0]
        return ahead[: self.degree]
