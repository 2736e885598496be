"""Policies that are broken on purpose, each in one way, to show that a guard holds. One file a domain."""

from __future__ import annotations

from typing import Any

from ...envs.common import Layout
from ...traces.errors import HandrailError
from ..domains import Domain
from ..heuristics import Heuristic
from . import cluster, llm_serving, prefetch
from .common import PREFIX, NotANumber

SABOTAGES = llm_serving.SABOTAGES
"""The broken routers. Every domain has the same kinds."""

_BY_DOMAIN = {"llm": llm_serving.SABOTAGES, "cluster": cluster.SABOTAGES, "prefetch": prefetch.SABOTAGES}


def make_sabotage(
    name: str, layout: Layout, seed: int = 0, domain: Domain = "llm", **settings: Any
) -> Heuristic | NotANumber:
    """Build a broken policy; ``name`` is ``worst`` or ``sabotage:worst`` and so on.

    ``settings`` are those of the domain's heuristics.

    Raises:
        HandrailError: No broken policy has that name.
    """
    kind = name.removeprefix(PREFIX)
    known = _BY_DOMAIN[domain]
    if kind not in known:
        choices = ", ".join(PREFIX + kind for kind in known)
        raise HandrailError(f"there is no broken policy {name!r}; choose one of {choices}")
    cls = known[kind]
    return cls(layout, seed) if issubclass(cls, NotANumber) else cls(layout, seed, **settings)


__all__ = ["PREFIX", "SABOTAGES", "NotANumber", "make_sabotage"]
