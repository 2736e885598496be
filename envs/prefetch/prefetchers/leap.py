"""Leap: the majority trend of recent differences.

Al Maruf & Chowdhury, "Effectively Prefetching Remote Memory with Leap", USENIX ATC 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

from .base import Prefetcher


def majority_trend(differences: Sequence[int], history: int, split: int) -> int:
    """The paper's FindTrend: the difference with a strict majority of the last ones; 0 where there is none.

    Args:
        differences: Differences of ids, the latest last.
        history: How many count at most.
        split: The first window is one ``split``-th of them; it doubles until there is a majority.
    """
    width = history // split
    while width <= history:
        recent = differences[-width:]
        candidate, votes = 0, 0
        for difference in recent:
            if votes == 0:
                candidate = difference
            votes += 1 if difference == candidate else -1
        if candidate and 2 * recent.count(candidate) > width:
            return candidate
        width *= 2
    return 0


class Leap(Prefetcher):
    """Finds the difference that holds a majority of a window over the last ones, and prefetches along it.

    The window starts at ``history / split`` differences and doubles up to all of them until one difference holds a
    strict majority (Boyer-Moore vote and a count). How many ids are fetched follows from how many of those fetched
    last were used: the next power of two above that number, at most the degree, at least half of last time's; if none
    was used, one id where the access follows the trend, else none. Without a majority the last trend is used.

    Every access enters the history; trend and window are worked out when one is not served by what was prefetched. In
    the paper those are page faults of one process. Here an access is served if the id is among those last suggested,
    whether or not they were fetched; such an access repeats what is left of them.

    Checked against the authors' kernel (SymbioticLab/Leap) and a summary that quotes the paper: every access enters the
    history, the search for the trend, the strict majority, the example with a history of 8 and a split of 2. The
    kernel's example takes a history of 32, and its first window is a quarter of it: the defaults. Of the windows, that
    hits count since the last one, that they shrink to half of it at most, and powers of two. The rest is the paper's
    from memory, as the kernel departs from it: it keeps Linux's rule (hits + 2, rounded up to 4 or more, at most 2 to
    the power of page_cluster), and without a majority it reads an aligned block as Linux does. So is the largest window
    of 8 in the paper; here the degree says how large.

    Args:
        degree: Most suggestions at an access (the paper's largest window).
        history: Differences kept (the paper's Hsize).
        split: The first window is one ``split``-th of them (the paper's Nsplit).
    """

    name = "leap"

    def __init__(self, degree: int, history: int = 32, split: int = 4) -> None:
        super().__init__(degree)
        self.history = history
        self.split = split
        self._last = -1
        self._differences: list[int] = []
        self._trend = 0
        self._window = 0
        self._used = 0
        self._ahead: tuple[int, ...] = ()

    def access(self, key: int, hit: bool) -> Sequence[int]:
        differences = self._differences
        difference = key - self._last if self._last >= 0 else 0
        self._last = key
        differences.append(difference)
        if len(differences) > 2 * self.history:
            del differences[: -self.history]
        if key in self._ahead:
            self._used += 1
            self._ahead = tuple(one for one in self._ahead if one != key)
            return self._ahead
        window = self._window_for(difference)
        self._used = 0
        self._window = window
        if window == 0:
            self._ahead = ()
            return ()
        self._trend = trend = majority_trend(self._differences, self.history, self.split) or self._trend
        if trend == 0:
            return ()
        ahead = tuple(range(key + trend, key + trend * (window + 1), trend))
        self._ahead = ahead if ahead[-1] >= 0 else tuple(one for one in ahead if one >= 0)
        return self._ahead

    def _window_for(self, difference: int) -> int:
        """The paper's GetPrefetchWindowSize."""
        if self._used:
            window = min(1 << self._used.bit_length(), self.degree)
        else:
            window = int(difference != 0 and (difference == self._trend or self._holds(difference)))
        return max(window, self._window // 2)

    def _holds(self, difference: int) -> bool:
        """Whether the difference has the majority of the smallest window."""
        width = self.history // self.split
        return 2 * self._differences[-width:].count(difference) > width
