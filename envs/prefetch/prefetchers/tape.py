"""Suggestions of a demand-driven prefetcher for a whole trace, worked out once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar

from . import PREFETCHER_TYPES, make_prefetcher

if TYPE_CHECKING:
    from ....traces import AccessTrace

_KEPT_SUGGESTIONS = 16_000_000
"""How many suggestions the tapes that are kept may hold together; the one made last stays in any case."""


class SuggestionTape:
    """What prefetchers of one kind, one a tenant, suggest at each access of a trace.

    Since they are driven by demand alone, no simulation changes what they say. An arm of lower degree takes the first
    of each row's suggestions.

    Attributes:
        rows: A tuple of ids for each row of the trace; the empty tuple where nothing is suggested. Not to be changed.
    """

    __slots__ = ("rows",)

    _kept: ClassVar[OrderedDict[tuple[str, str, int], SuggestionTape]] = OrderedDict()

    def __init__(self, rows: list[tuple[int, ...]]) -> None:
        self.rows = rows

    def __deepcopy__(self, memo: object) -> SuggestionTape:
        return self

    @classmethod
    def build(cls, trace: AccessTrace, name: str, degree: int) -> SuggestionTape:
        """The tape of prefetcher ``name`` at ``degree`` over the trace; the same object again while it is kept.

        Raises:
            HandrailError: There is no such prefetcher.
            ValueError: It is not demand driven, so that its suggestions depend on the cache.
        """
        slot = (trace.content_hash, name, degree)
        if slot not in cls._kept:
            cls._kept[slot] = cls(_play(trace, name, degree))
            cls._drop_oldest()
        cls._kept.move_to_end(slot)
        return cls._kept[slot]

    @classmethod
    def _drop_oldest(cls) -> None:
        held = sum(sum(map(len, tape.rows)) for tape in cls._kept.values())
        while held > _KEPT_SUGGESTIONS and len(cls._kept) > 1:
            _, oldest = cls._kept.popitem(last=False)
            held -= sum(map(len, oldest.rows))


def _play(trace: AccessTrace, name: str, degree: int) -> list[tuple[int, ...]]:
    if name in PREFETCHER_TYPES and not PREFETCHER_TYPES[name].demand_driven:
        raise ValueError(f"prefetcher {name} is not demand driven: what it suggests depends on the cache")
    rows: list[tuple[int, ...]] = [()] * len(trace)
    # A stream's next ids are suggested at many accesses; with one object an id a tape is several times smaller.
    same = dict[int, int]().setdefault
    for tenant in range(trace.n_tenants):
        places = trace.rows_of_tenant(tenant).tolist()
        keys = trace.key[places].tolist()
        access = make_prefetcher(name, degree, keys).access
        for place, key in zip(places, keys, strict=True):
            suggested = access(key, False)
            if suggested:
                rows[place] = tuple(map(same, suggested, suggested))
    return rows
