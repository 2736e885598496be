"""The domains: for each, one object with all that the domain-neutral experiments need to know of it.

``base`` says what that is. A domain's module is imported when it is first asked for.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from ...traces.errors import HandrailError
from .base import Domain

DOMAINS = ("llm", "cluster", "prefetch")
"""The names that ``--domain`` knows."""

BUILT = ("llm", "cluster")
"""Those that there are."""


@cache
def domain_named(name: str) -> Domain:
    """The domain of that name.

    Raises:
        HandrailError: It is unknown, or not built.
    """
    if name not in DOMAINS:
        raise HandrailError(f"--domain {name!r} is unknown; choose one of {', '.join(DOMAINS)}")
    if name not in BUILT:
        have = f"domains {' and '.join(BUILT)}" if len(BUILT) > 1 else f"domain {BUILT[0]}"
        raise HandrailError(f"--domain {name}: this version of handrail has the {have} only")
    return import_module(f".{name}", __name__).DOMAIN


def domain_of(system: Any) -> Domain:
    """The domain that ``system`` (what a simulator is built from, such as a ``FleetConfig``) belongs to.

    Raises:
        TypeError: It belongs to none.
    """
    for name in BUILT:
        domain = domain_named(name)
        if isinstance(system, domain.system_type):
            return domain
    raise TypeError(f"{type(system).__name__} is no domain's system")


__all__ = ["BUILT", "DOMAINS", "Domain", "domain_named", "domain_of"]
