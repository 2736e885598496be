"""Policies that are broken on purpose, each in one way, to show that a guard holds.

One file a domain for what is worst, careless or slow there; ``faults`` has what is broken alike everywhere.
"""

from __future__ import annotations

from typing import Any

from ...envs.common import Layout
from ...traces.errors import HandrailError
from ..domains import Domain
from . import cluster, llm_serving, prefetch
from .common import PREFIX, NotANumber
from .faults import (
    LOAD_FIELDS,
    Flapping,
    Hanging,
    Sleeper,
    WrongShape,
    after_decisions,
    bundled,
    bundled_path,
    foreign,
    untrained,
)

SABOTAGES = llm_serving.SABOTAGES
"""The broken routers that are made from the layout alone. Every domain has the same kinds."""

_BY_DOMAIN = {"llm": llm_serving.SABOTAGES, "cluster": cluster.SABOTAGES, "prefetch": prefetch.SABOTAGES}
_HEALTHY = {"llm": llm_serving.Healthy, "cluster": cluster.Healthy, "prefetch": prefetch.Healthy}

MADE_KINDS = ("wrong-shape", "flapping", "hanging", "sleeper", "untrained", "foreign")
"""Kinds that are made of other policies."""

KINDS = (*SABOTAGES, *MADE_KINDS)
"""What may stand after ``sabotage:``."""


def make_sabotage(name: str, layout: Layout, seed: int = 0, domain: Domain = "llm", **settings: Any) -> Any:
    """Build a broken policy; ``name`` is ``worst`` or ``sabotage:worst`` and so on.

    ``settings`` are those of the domain's heuristics.

    Raises:
        HandrailError: No broken policy has that name, or the policy that it is made from is not bundled.
    """
    kind = name.removeprefix(PREFIX)
    known = _BY_DOMAIN[domain]
    if kind in known:
        cls = known[kind]
        return cls(layout, seed) if issubclass(cls, NotANumber) else cls(layout, seed, **settings)
    if kind == "wrong-shape":
        return WrongShape()
    if kind == "untrained":
        return untrained(bundled_path(domain), layout, domain, seed)
    if kind == "foreign":
        return foreign(layout, domain)
    if kind == "hanging":
        return Hanging(_HEALTHY[domain](layout, seed, **settings))
    if kind == "flapping":
        healthy = _HEALTHY[domain](layout, seed, **settings)
        return Flapping(healthy, make_sabotage("worst", layout, seed, domain, **settings))
    if kind == "sleeper":
        worst = make_sabotage("worst", layout, seed, domain, **settings)
        return Sleeper(bundled(layout, domain), worst, layout, LOAD_FIELDS[domain], after_decisions)
    choices = ", ".join(PREFIX + kind for kind in KINDS)
    raise HandrailError(f"there is no broken policy {name!r}; choose one of {choices}")


__all__ = ["KINDS", "PREFIX", "SABOTAGES", "NotANumber", "make_sabotage"]
