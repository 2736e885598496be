"""Which kind of link a tier's config asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..common.clock import Clock
from .config import TierConfig
from .fetch import Fetch
from .slowed import SlowedLink
from .tier import BoundedLink, Link, PriorityLink


def make_link(config: TierConfig, clock: Clock, arrived: Callable[[Fetch], Any]) -> Link:
    """The link that a tier's discipline and slowdowns ask for."""
    if config.slowdowns:
        return SlowedLink(config, clock, arrived)
    kinds = {"fifo": Link, "demand-first": PriorityLink, "bounded": BoundedLink}
    return kinds[config.discipline](config, clock, arrived)
