"""Hand-written policies, one folder a domain. They read the observation that learned policies read, by field name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...envs.common import Layout
from ...traces.errors import HandrailError
from ..domains import Domain
from . import cluster, llm_serving, prefetch
from .base import PLACEBO_TIE_TOLERANCE, Heuristic

_BY_DOMAIN: dict[Domain, Mapping[str, type[Heuristic]]] = {
    "llm": llm_serving.HEURISTICS,
    "cluster": cluster.HEURISTICS,
    "prefetch": prefetch.HEURISTICS,
}


def heuristics_of(domain: Domain) -> Mapping[str, type[Heuristic]]:
    """The heuristics of a domain, by their names on the command line, in the order in which they are shown."""
    return _BY_DOMAIN[domain]


def make_heuristic(
    name: str,
    layout: Layout,
    seed: int = 0,
    tie_seed: int | None = None,
    domain: Domain = "llm",
    **settings: Any,
) -> Heuristic:
    """Build a heuristic by name.

    Args:
        name: Its name on the command line.
        layout: Layout of the observations that it will read.
        seed: Seed of its own random choices.
        tie_seed: Makes it its own placebo (see :class:`Heuristic`).
        domain: Whose heuristic it is.
        settings: What the domain's heuristics take beside these: nothing for ``llm``, see
            :class:`~handrail.policies.heuristics.cluster.SchedulingHeuristic` for ``cluster`` and
            :class:`~handrail.policies.heuristics.prefetch.PrefetchHeuristic` for ``prefetch``.

    Raises:
        HandrailError: The domain has no heuristic of that name, or the layout lacks a field that it reads.
    """
    known = heuristics_of(domain)
    if name not in known:
        raise HandrailError(f"there is no heuristic {name!r}; choose one of {', '.join(known)}")
    return known[name](layout, seed, tie_seed, **settings)


__all__ = ["PLACEBO_TIE_TOLERANCE", "Heuristic", "heuristics_of", "make_heuristic"]
