"""What every canonical trace is: rows in order of time, as read-only columns of one length."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from .arrays import check_factor, freeze_state, refuse
from .columns import MAX_STAMP_S

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class TimedRows(ABC):
    """Base of the traces of all domains, which are frozen dataclasses. Immutable: copies are the trace itself.

    Attributes:
        ITEMS: What a row is, in the plural, for messages.
        arrival_s: Time of each row in seconds, float64, non-decreasing, first one >= 0, shape (n,).
        name: What the trace was called when it was read.
        notes: What reading it did; ``origin_s`` there is what to add to ``arrival_s`` for the time in the file.
    """

    ITEMS: ClassVar[str]
    if TYPE_CHECKING:

        @property
        def arrival_s(self) -> Floats: ...
        @property
        def name(self) -> str: ...
        @property
        def notes(self) -> Mapping[str, Any]: ...

    @abstractmethod
    def take(self, rows: Ints, arrival_s: Floats | None = None) -> Self:
        """The given rows (indices, in the order wanted), with new arrival times where given (shape of ``rows``)."""

    def __len__(self) -> int:
        return len(self.arrival_s)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self):,} {self.ITEMS}, {self.duration_s:,.0f} s)"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # immutable, so a fork of a simulation shares it

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        freeze_state(state)

    def _set(self, attribute: str, value: object) -> None:
        object.__setattr__(self, attribute, value)

    def _check_times(self) -> None:
        arrival_s = self.arrival_s
        refuse(~np.isfinite(arrival_s), "arrival_s", "is not a finite number")
        refuse(arrival_s < 0, "arrival_s", "is negative")
        refuse(arrival_s > MAX_STAMP_S, "arrival_s", "is too large for seconds")
        refuse(np.concatenate(([False], np.diff(arrival_s) < 0))[: len(self)], "arrival_s", "goes back in time")

    @property
    def duration_s(self) -> float:
        """Seconds from the first arrival to the last; 0 for an empty trace."""
        return float(self.arrival_s[-1] - self.arrival_s[0]) if len(self) else 0.0

    @property
    def origin_s(self) -> float:
        """What to add to ``arrival_s`` for the time as the file has it (0 where its stamps are dates)."""
        return float(self.notes.get("origin_s", 0.0))

    def replace(self, **changes: Any) -> Self:
        """A copy with some attributes changed."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return type(self)(**{**values, **changes})

    def select(self, mask: NDArray[np.bool_] | Sequence[bool]) -> Self:
        """The rows where ``mask`` (bool, shape (n,)) is true; arrival times stay."""
        mask = np.asarray(mask)
        if mask.dtype != np.bool_ or mask.shape != (len(self),):
            raise TraceError(f"select needs a bool mask of shape ({len(self)},), got {mask.dtype} {mask.shape}")
        return self.take(np.flatnonzero(mask))

    def head(self, n: int) -> Self:
        """The first ``n`` rows (all where there are fewer)."""
        if n < 0:
            raise TraceError(f"head needs a count of 0 or more, got {n}")
        return self.take(np.arange(min(n, len(self))))

    def rows(self, start: int, length: int) -> Self:
        """``length`` rows from row ``start`` (0-based) on, re-based so that the first of them arrives at 0.

        Raises:
            TraceError: The trace has no such rows.
        """
        if not (start >= 0 and length >= 1 and start + length <= len(self)):
            asked = f"rows {start} to {start + length - 1}"
            raise TraceError(f"{self.name}: {asked} are not all there; it has {len(self):,} {self.ITEMS}")
        chosen = np.arange(start, start + length)
        return self._rebased(chosen, float(self.arrival_s[start]))

    def window(self, start_s: float, end_s: float) -> Self:
        """Rows with ``start_s <= arrival_s < end_s``, re-based so that ``start_s`` becomes time 0.

        Raises:
            TraceError: Unless ``0 <= start_s < end_s`` (``end_s`` may be infinite).
        """
        if not (0 <= start_s < end_s):
            raise TraceError(f"a window needs 0 <= start < end in seconds, got {start_s}:{end_s}")
        first, last = np.searchsorted(self.arrival_s, [start_s, end_s], side="left")
        return self._rebased(np.arange(first, last), start_s)

    def _rebased(self, rows: Ints, start_s: float) -> Self:
        notes = {**self.notes, "origin_s": self.origin_s + start_s}
        return self.take(rows, self.arrival_s[rows] - start_s).replace(notes=notes)

    def scale_rate(self, factor: float) -> Self:
        """Compress time by ``factor`` (2.0: twice the rate); what belongs to a row stays."""
        check_factor(factor)
        notes = {**self.notes, "origin_s": self.origin_s / factor}
        return self.take(np.arange(len(self)), self.arrival_s / factor).replace(notes=notes)

    def thin(self, p: float, seed: int) -> Self:
        """Keep each row with probability ``p`` in (0, 1]."""
        if not 0 < p <= 1:
            raise TraceError(f"thin keeps a share in (0, 1] of the {self.ITEMS}, got {p}")
        return self.select(np.random.default_rng(seed).random(len(self)) < p)
