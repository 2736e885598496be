"""A future in place of the trace's: what a fork goes on with when everything hidden is drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...traces import AccessTrace
from .past import Continued, Suggestions


class Future(NamedTuple):
    """Accesses that follow from now on, and what prefetchers and statistics say of them.

    Attributes:
        first: Row of the first of them: the rows of accesses under way lie before it.
        trace: The accesses, in the order in which they are in the trace's place; times from the start of the replay.
        suggestions: By prefetcher: what it suggests at each of them.
        positions: Accesses before them, by tenant.
        continued: What follows from them, by tenant.
    """

    first: int
    trace: AccessTrace
    suggestions: Suggestions
    positions: Sequence[int]
    continued: Sequence[Continued]
