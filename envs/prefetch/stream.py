"""What a tenant's stream of accesses looks like: how regular its ids are, and how soon it comes back to them.

A function of the order of accesses alone, so it is worked out once a trace; a decision reads one row. The row of a
position p depends on the tenant's first p accesses and on nothing after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...traces import AccessTrace
from .kept import Kept

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

SHORT: Final = 64
LONG: Final = 512
"""Accesses (or differences of ids) that a feature looks back on."""

STREAM_FIELDS: Final = (
    "delta_entropy_64",
    "delta_entropy_512",
    "stride_confidence_64",
    "stride_confidence_512",
    "sequential_512",
    "new_512",
    "reuse_near_512",
    "reuse_mid_512",
    "reuse_far_512",
)
"""Columns of `stream_features`, all of them shares within [0, 1]; `layout.GLOBAL_FIELDS` says what they mean."""

_NEAR: Final = 256
_MID: Final = 4096
_REPEATS: Final = 4  # differences back among which a repetition counts


def stream_features(keys: Ints) -> Floats:
    """The stream features at each position of one tenant's accesses, shape (n + 1, 9).

    Row p describes the accesses before position p: row 0 is all zeros, row n describes all of them. Where fewer than a
    window's accesses have happened, shares are of those.

    Args:
        keys: Ids in the order of access, shape (n,).
    """
    return features_of(keys, distances(keys))


def features_of(keys: Ints, distance: Ints) -> Floats:
    """The same where the `distances` are known."""
    n = len(keys)
    features = np.zeros((n + 1, len(STREAM_FIELDS)), dtype=np.float32)
    if n == 0:
        return features
    deltas = np.diff(keys)
    ends = features[1:]  # row p - 1 of it: after access p, which has completed p - 1 differences
    ends[:, 0] = _entropy(deltas, SHORT)
    ends[:, 1] = _entropy(deltas, LONG)
    repeats = _repeats(deltas)
    ends[:, 2] = _share(repeats, SHORT)
    ends[:, 3] = _share(repeats, LONG)
    ends[:, 4] = _share(deltas == 1, LONG)
    features[:, 5] = _share(distance == 0, LONG)
    features[:, 6] = _share((distance > 0) & (distance <= _NEAR), LONG)
    features[:, 7] = _share((distance > _NEAR) & (distance <= _MID), LONG)
    features[:, 8] = _share(distance > _MID, LONG)
    return features


class StreamFeatures:
    """The stream features of all tenants of a trace.

    Attributes:
        first: Row of each tenant's position 0 in `values`, int64 of shape (tenants,).
        values: The tenants' `stream_features` one below the other, float32 of shape (n + tenants, 9).
    """

    def __init__(self, trace: AccessTrace) -> None:
        parts = [stream_features(trace.key[trace.rows_of_tenant(code)]) for code in range(trace.n_tenants)]
        self.first: Ints = np.cumsum([0, *(len(part) for part in parts[:-1])])
        self.values: Floats = np.concatenate(parts)

    def continued(self, rows: Sequence[tuple[int, int]], ends: Sequence[Floats]) -> StreamFeatures:
        """The features of another future: of each tenant its ``rows`` [start, stop) of positions, then its ends."""
        parts = [
            np.concatenate((self.values[first + start : first + stop], end))
            for first, (start, stop), end in zip(self.first.tolist(), rows, ends, strict=True)
        ]
        other = copy(self)
        other.first = np.cumsum([0, *(len(part) for part in parts[:-1])], dtype=np.int64) - np.array(
            [start for start, _ in rows], dtype=np.int64
        )
        other.values = np.concatenate(parts)
        return other

    @classmethod
    def build(cls, trace: AccessTrace) -> StreamFeatures:
        """The features of a trace; the same object again while it is among those asked for last."""
        return _KEPT.get((trace.content_hash, trace.tenant_names), lambda: cls(trace))

    def __deepcopy__(self, memo: object) -> StreamFeatures:
        return self

    def at(self, tenant: int, position: int) -> Floats:
        """What the tenant's first ``position`` accesses look like, shape (9,): a view."""
        return self.values[self.first[tenant] + position]


_KEPT: Final = Kept[StreamFeatures](8)


def _share(flags: Bools, window: int) -> NDArray[np.float64]:
    """Share of set flags among the last ``window`` before each position 0..n, shape (n + 1,)."""
    n = len(flags)
    total = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(flags, out=total[1:])
    count = total.copy()
    count[window:] -= total[: max(n + 1 - window, 0)]
    return count / np.clip(np.arange(n + 1), 1, window)


def _repeats(deltas: Ints) -> Bools:
    """Whether each difference is equal to one of the few before it."""
    found = np.zeros(len(deltas), dtype=bool)
    for back in range(1, _REPEATS + 1):
        found[back:] |= deltas[back:] == deltas[:-back]
    return found


def distances(keys: Ints) -> Ints:
    """How many accesses ago the same id was accessed, shape (n,); 0: never."""
    order = np.argsort(keys, kind="stable")
    again = keys[order][1:] == keys[order][:-1]
    distance = np.zeros(len(keys), dtype=np.int64)
    distance[order[1:][again]] = np.diff(order)[again]
    return distance


def _entropy(values: Ints, window: int) -> NDArray[np.float64]:
    """Entropy of the last ``window`` values before each position 0..n over the largest possible, shape (n + 1,).

    With counts c of the distinct values among m, the entropy is log m - sum(c log c) / m. The sum is carried from
    position to position by what enters and leaves the window, in integers so that nothing drifts.
    """
    n = len(values)
    if n == 0:
        return np.zeros(1)
    counts = np.arange(window + 2, dtype=np.float64)
    terms = np.rint(counts * np.log2(np.maximum(counts, 1.0)) * 2.0**32).astype(np.int64)
    steps = np.diff(terms)  # what a value adds that stands there c times already
    order = np.argsort(values, kind="stable")
    changes = values[order][1:] != values[order][:-1]
    place = np.concatenate(([0], np.cumsum(changes))) * n + order  # by value, then by position
    at = np.arange(n)
    alike_before = at - np.searchsorted(place, place - np.minimum(order, window))
    reach = np.minimum(order + window, n - 1) - order
    alike_after = np.searchsorted(place, place + reach, side="right") - at - 1
    change = np.empty(n, dtype=np.int64)
    change[order] = steps[alike_before]
    leaving = order < n - window
    change[order[leaving] + window] -= steps[alike_after[leaving]]
    sums = np.zeros(n + 1)
    sums[1:] = np.cumsum(change) * 2.0**-32
    size = np.clip(np.arange(n + 1), 2, window)
    entropy = 1.0 - sums / (size * np.log2(size))
    entropy[:2] = 0.0
    return np.clip(entropy, 0.0, 1.0)
