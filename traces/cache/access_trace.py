"""The canonical access trace: who asked for which object, when and how large it is, as read-only columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..common.arrays import checked_names, compact_names, feed, frozen, refuse
from ..common.timed_rows import TimedRows
from ..errors import TraceError
from . import transforms

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Backing = Literal["all", "seen"]

BACKINGS = ("all", "seen")
MAX_OBJECT_BYTES = 2**50


@dataclass(frozen=True, eq=False, repr=False)
class AccessTrace(TimedRows):
    """Demand accesses in order of time (ties in the order of the file), one array per column, of length n, read-only.

    Attributes:
        arrival_s: Time of the access in seconds, float64, non-decreasing, first one >= 0.
        key: int64 >= 0, the object. Where the format has addresses, neighbours differ by 1.
        size_bytes: Size of the object, int64, >= 1.
        is_write: Whether the access writes the whole object, bool, or ``None`` (no access does).
        tenant: int64 codes into ``tenant_names``, or ``None``. Tenants with id spaces of their own never have a key in
            common; a key that two tenants have is one object that they share.
        backing: Which ids exist behind the cache before anybody accessed them: ``all`` (block devices), or ``seen``
            (key-value stores: only what was accessed before can be prefetched).
        name: What the trace was called when it was read; not part of the content.
        notes: What reading it did (rows read, dropped, raised), and ``origin_s``; not part of the content.

    Raises:
        TraceError: A column of wrong shape or with a value out of its range.
    """

    ITEMS: ClassVar[str] = "accesses"

    arrival_s: Floats
    key: Ints
    size_bytes: Ints
    is_write: Bools | None = None
    tenant: Ints | None = None
    tenant_names: tuple[str, ...] = ()
    backing: Backing = "all"
    name: str = "trace"
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.arrival_s)
        self._set("arrival_s", frozen(self.arrival_s, np.float64, "arrival_s", n))
        for column in ("key", "size_bytes"):
            self._set(column, frozen(getattr(self, column), np.int64, column, n))
        if self.is_write is not None:
            self._set("is_write", _frozen_flags(self.is_write, n))
        if self.tenant is not None:
            self._set("tenant", frozen(self.tenant, np.int64, "tenant", n))
        self._check_times()
        refuse(self.key < 0, "key", "is negative")
        refuse(self.size_bytes < 1, "size_bytes", "is below 1")
        refuse(self.size_bytes > MAX_OBJECT_BYTES, "size_bytes", f"is above {MAX_OBJECT_BYTES:,}")
        self._set("tenant_names", checked_names("tenant", self.tenant, self.tenant_names))
        if self.backing not in BACKINGS:
            raise TraceError(f"trace: backing must be all or seen, got {self.backing!r}")
        self._set("notes", dict(self.notes))

    @property
    def n_tenants(self) -> int:
        """Number of tenants that may occur: 1 where the trace knows none."""
        return 1 if self.tenant is None else len(self.tenant_names)

    @cached_property
    def distinct_objects(self) -> int:
        """How many different keys there are."""
        return len(np.unique(self.key))

    @cached_property
    def next_row(self) -> Ints:
        """Row of the next access to the same key by anyone, -1 where there is none, shape (n,)."""
        order = np.argsort(self.key, kind="stable")
        again = np.diff(self.key[order]) == 0
        following = np.full(len(self), -1, np.int64)
        following[order[:-1][again]] = order[1:][again]
        return _locked(following)

    def rows_of_tenant(self, code: int) -> Ints:
        """Rows of the accesses of one tenant, in order; all rows where the trace knows no tenants and ``code`` is 0.

        Raises:
            TraceError: There is no tenant of that code.
        """
        if not 0 <= code < self.n_tenants:
            raise TraceError(f"{self.name}: has no tenant of code {code}; it has {self.n_tenants}")
        if self.tenant is None:
            return np.arange(len(self))
        return np.flatnonzero(self.tenant == code)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the columns and ``backing``; name, notes and the numbering of tenants play no part."""
        digest = hashlib.sha256(f"handrail access trace 1 {self.backing}".encode())
        for column in ("arrival_s", "key", "size_bytes", "is_write"):
            array = getattr(self, column)
            if array is not None:
                feed(digest, column, array)
        if self.tenant is not None:
            codes, names = compact_names(self.tenant, self.tenant_names)
            feed(digest, f"tenant {json.dumps(names)}", codes)
        return digest.hexdigest()

    def take(self, rows: Ints, arrival_s: Floats | None = None) -> AccessTrace:
        """The given rows (indices, in the order wanted), with new arrival times where given (shape of ``rows``)."""
        changes: dict[str, Any] = {"arrival_s": self.arrival_s[rows] if arrival_s is None else arrival_s}
        for column in ("key", "size_bytes", "is_write", "tenant"):
            array = getattr(self, column)
            if array is not None:
                changes[column] = _locked(array[rows])  # nobody else has it, so it need not be copied
        return self.replace(**changes)

    def superpose(self, k: int, seed: int) -> AccessTrace:
        """Merge ``k`` copies of this trace, each but the first shifted circularly in time by a seeded offset.

        The circle is the span of the trace, closed by one mean inter-arrival time, so the rate is k times as high and
        the span stays. Each copy has keys of its own, so the footprint is k times as large and every copy reuses its
        objects as before; tenants are the same in all copies.

        Raises:
            TraceError: ``k`` is no whole number of at least 1, or the keys of k copies do not fit into int64.
        """
        return transforms.superposed(self, k, seed)

    def concat(self, other: AccessTrace) -> AccessTrace:
        """This trace, then ``other``, whose first access comes one mean inter-arrival time after this one's last.

        Equal keys are one object. Where one of the two lacks an optional column: no writes, tenant ``""``. ``backing``
        is ``seen`` where that of either is.
        """
        return transforms.concatenated(self, other)


def _frozen_flags(values: Any, n: int) -> Bools:
    flags = np.asarray(values)
    if flags.dtype != np.bool_ or flags.shape != (n,):
        raise TraceError(f"trace: column is_write must be bool of shape ({n},), got {flags.dtype} {flags.shape}")
    return _locked(flags.copy() if flags.flags.writeable or flags.base is not None else flags)


def _locked(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
