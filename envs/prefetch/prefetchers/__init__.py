"""Prefetchers: what they see is one tenant's accesses, what they say is which ids to fetch. One file each."""

from __future__ import annotations

from collections.abc import Sequence

from ....traces.errors import HandrailError
from .amp import Amp
from .base import Prefetcher
from .best_offset import BestOffset
from .leap import Leap
from .markov import Markov
from .mithril import Mithril
from .next_line import NextLine
from .obl import OneBlockLookahead
from .oracle import Oracle
from .readahead import Readahead
from .spp import SignaturePath
from .stride import Stride

PREFETCHER_TYPES: dict[str, type[Prefetcher]] = {
    kind.name: kind
    for kind in (
        NextLine,
        OneBlockLookahead,
        Stride,
        Readahead,
        BestOffset,
        Markov,
        Mithril,
        Leap,
        SignaturePath,
        Amp,
        Oracle,
    )
}
"""Every prefetcher by its name on the command line. ``none`` is the absence of one."""


def make_prefetcher(name: str, degree: int, keys: Sequence[int] | None = None) -> Prefetcher:
    """A fresh prefetcher of that name with its paper's parameters, for one tenant.

    Args:
        name: One of `PREFETCHER_TYPES`.
        degree: Most suggestions at an access, at least 1.
        keys: The ids of all accesses of the tenant, in order; only a prefetcher that knows the future asks for them.

    Raises:
        HandrailError: There is no such prefetcher, the degree is below 1, or the keys are needed and missing.
    """
    if name not in PREFETCHER_TYPES:
        raise HandrailError(f"{name!r} is no prefetcher; choose among {', '.join(PREFETCHER_TYPES)}")
    if degree < 1:
        raise HandrailError(f"prefetcher {name}: degree {degree} is below 1; choose none to prefetch nothing")
    if name == Oracle.name:
        if keys is None:
            raise HandrailError(f"prefetcher {name} needs the ids of all accesses")
        return Oracle(degree, keys)
    return PREFETCHER_TYPES[name](degree)


__all__ = ["PREFETCHER_TYPES", "Prefetcher", "make_prefetcher"]
