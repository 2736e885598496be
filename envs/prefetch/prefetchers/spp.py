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

    The paper's regions are pages of 64 lines and differences have 7 bits; ids of objects are further apart, so regions
    are larger, signatures have 24 bits for 12 and the pattern table has more rows than the paper's 512. Prefetches may
    cross into the next region, which hardware cannot allow, as physical pages are not in order.

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
            self._learn(signature, difference)
            signature = (signature << _SHIFT ^ difference) & _SIGNATURE
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
            patterns[signature] = {difference: 1}
            counts[signature] = 1
            return
        if difference not in followed and len(followed) == 4:
            del followed[min(followed, key=followed.__getitem__)]
        followed[difference] = followed.get(difference, 0) + 1
        counts[signature] += 1
        if counts[signature] >= self.saturation:
            counts[signature] //= 2
            for one in followed:
                followed[one] //= 2

    def _path(self, key: int, region: int, signature: int) -> list[int]:
        """The suggestions from a signature on."""
        patterns, counts, degree, threshold = self._patterns, self._counts, self.degree, self.threshold
        accuracy = min((self._used + 1) / (self._suggested + 1), 1.0)
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
            signature = (signature << _SHIFT ^ difference) & _SIGNATURE
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
