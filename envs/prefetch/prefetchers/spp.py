"""Signature path prefetching.

Kim, Pugsley, Gratz, Reddy, Wilkerson, Chishti, "Path Confidence based Lookahead Prefetching", MICRO 2016.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from .base import Prefetcher

_SHIFT = 6
_SIGNATURE = (1 << 24) - 1


class SignaturePath(Prefetcher):
    """Follows the likeliest chain of differences as long as the whole path is likely enough.

    The *signature table* has a row a region of ids: the id accessed last, and a signature that its last four
    differences are folded into. The *pattern table* counts which differences followed a signature, four of them a
    signature, in counters that saturate. From the signature of the access every difference whose confidence is above
    the threshold is suggested, the likeliest is taken as if it had happened, and its signature looked up in turn;
    confidences multiply along the path, and from the second step on by the share of suggestions that were used lately.
    The *filter* of the last suggestions tells that share: an access to one of them counts as a use, so nothing has to
    be heard from the cache. A path that leaves its region lets the *global history register* know where it goes on, so
    that the region it enters starts with its signature.

    Checked against the implementation that comes with ChampSim (it notes one departure from the paper, in the
    register), not against the paper's text: how a signature is updated (with differences as sign and magnitude), what
    is learned (nothing without a signature), that a new difference replaces the one counted least and starts at 0, when
    counters are halved, how confidences multiply, which way a path goes and where it ends; a threshold of 25 %, 4
    differences a signature, counters below 16, 256 regions, 1024 entries of the filter, 8 of the register. What
    differs:

    - Its regions are pages of 64 lines, differences have 7 bits, signatures 12 and a shift of 3, and the pattern table
      512 rows. Ids of objects are further apart: regions are larger, and a signature has 24 bits and a shift of 6, for
      four differences as well. Tables are not hashed.
    - Paths below a second threshold, 90 %, it fetches into the next cache level, and does not count them for the share
      of used ones. Here there is one level, and every suggestion counts.
    - A prefetched line that is evicted unused lowers that share; here nothing is heard from the cache.
    - Its prefetches do not cross into another page, as physical pages are not in order; they only enter the register,
      from where the least confident one leaves. Here they may cross, the register holds where the path itself goes, and
      the oldest one leaves.

    Args:
        degree: Most suggestions at an access.
        threshold: Least confidence of a path (the paper's T_p).
        region_bits: A region is ``2 ** region_bits`` ids.
        regions: Rows of the signature table; the least recently used leaves.
        patterns: Rows of the pattern table; the oldest leaves.
        saturation: Where a signature's counter arrives there, it and those of its differences are halved.
        filtered: Suggestions in the filter.
        crossings: Entries of the global history register.
    """

    name = "spp"

    def __init__(
        self,
        degree: int,
        threshold: float = 0.25,
        region_bits: int = 12,
        regions: int = 256,
        patterns: int = 4096,
        saturation: int = 16,
        filtered: int = 1024,
        crossings: int = 8,
    ) -> None:
        super().__init__(degree)
        self.threshold = threshold
        self.region_bits = region_bits
        self._negative = 1 << region_bits
        self.regions = regions
        self.patterns = patterns
        self.saturation = saturation
        self.filtered = filtered
        self.crossings = crossings
        self._rows: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._patterns: OrderedDict[int, dict[int, int]] = OrderedDict()
        self._counts: dict[int, int] = {}
        self._filter: OrderedDict[int, None] = OrderedDict()
        self._crossings: OrderedDict[int, int] = OrderedDict()
        self._suggested = 0
        self._used = 0

    def access(self, key: int, hit: bool) -> Sequence[int]:
        if key in self._filter:
            del self._filter[key]
            self._used += 1
        rows = self._rows
        region = key >> self.region_bits
        row = rows.pop(region, None)
        if row is None:
            if len(rows) >= self.regions:
                rows.popitem(last=False)
            signature = self._crossings.pop(key, 0)
            rows[region] = (key, signature)
            if not signature:
                return ()
        else:
            last, signature = row
            difference = key - last
            if difference == 0:
                rows[region] = row
                return ()
            if signature:
                self._learn(signature, difference)
            folded = difference if difference > 0 else self._negative - difference
            signature = (signature << _SHIFT ^ folded) & _SIGNATURE
            rows[region] = (key, signature)
        if signature not in self._patterns:
            return ()
        return self._path(key, region, signature)

    def _learn(self, signature: int, difference: int) -> None:
        """Counts the difference behind the signature."""
        patterns, counts = self._patterns, self._counts
        followed = patterns.get(signature)
        if followed is None:
            if len(patterns) >= self.patterns:
                oldest, _ = patterns.popitem(last=False)
                del counts[oldest]
            patterns[signature] = {difference: 0}
            counts[signature] = 1
            return
        followed = patterns[signature] = followed.copy()  # forks may share the one before
        if difference in followed:
            followed[difference] += 1
        else:
            if len(followed) == 4:
                del followed[min(followed, key=followed.__getitem__)]
            followed[difference] = 0
        counts[signature] += 1
        if counts[signature] >= self.saturation:
            counts[signature] //= 2
            for one in followed:
                followed[one] //= 2

    def _path(self, key: int, region: int, signature: int) -> list[int]:
        """The suggestions from a signature on."""
        patterns, counts, degree, threshold = self._patterns, self._counts, self.degree, self.threshold
        accuracy = min(self._used / self._suggested, 1.0) if self._suggested else 0.0
        suggested: list[int] = []
        at, confidence, scale = key, 1.0, 1.0
        for _ in range(degree):
            followed = patterns.get(signature)
            if followed is None:
                break
            share = confidence * scale / counts[signature]
            if len(followed) == 1:
                ((difference, count),) = followed.items()
                likely = (difference,)
            else:
                likely = sorted(followed, key=followed.__getitem__, reverse=True)
                difference = likely[0]
                count = followed[difference]
                likely = [one for one in likely if followed[one] * share >= threshold]
            confidence = count * share
            if confidence < threshold:
                break
            for one in likely:
                ahead = at + one
                if ahead >= 0 and ahead != key and ahead not in suggested:
                    suggested.append(ahead)
            at += difference
            if len(suggested) >= degree or at < 0:
                break
            scale = accuracy
            folded = difference if difference > 0 else self._negative - difference
            signature = (signature << _SHIFT ^ folded) & _SIGNATURE
            if at >> self.region_bits != region:
                region = at >> self.region_bits
                self._cross(at, signature)
        del suggested[degree:]
        self._remember(suggested)
        return suggested

    def _cross(self, at: int, signature: int) -> None:
        crossings = self._crossings
        crossings.pop(at, None)
        if len(crossings) >= self.crossings:
            crossings.popitem(last=False)
        crossings[at] = signature

    def _remember(self, suggested: list[int]) -> None:
        """Puts new suggestions into the filter, and halves the counts of suggestions and uses in time."""
        kept = self._filter
        for one in suggested:
            if one not in kept:
                if len(kept) >= self.filtered:
                    kept.popitem(last=False)
                kept[one] = None
                self._suggested += 1
        if self._suggested >= self.filtered:
            self._suggested //= 2
            self._used //= 2
