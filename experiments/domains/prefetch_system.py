"""From a scenario and a trace to the cache under it: its size, the tier behind it, and the standing scheme."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator

from ...envs.prefetch import Arm, CacheConfig, default_cache
from ...envs.prefetch.arms import OFF
from ...envs.prefetch.config import Backing, ControllerName, Discipline, Eviction, PrefetcherName
from ...envs.prefetch.controllers import make_controller
from ...envs.prefetch.metrics import Objective
from ...envs.prefetch.prefetchers import PREFETCHER_TYPES
from ...traces import AccessTrace
from ...traces.cache.columns import PERMUTED, PERMUTED_BLOCKS
from ...traces.errors import HandrailError
from ..scenario import Scenario

ORACLE = "oracle"
"""The prefetcher that knows the future."""

DEFAULT_FALLBACK = "standing"
"""What the cache's own scheme takes: one-block lookahead under hysteresis, unless options say otherwise."""


EXCLUSIVE = (
    ("timeless", "closed"),
    ("timeless", "paced"),
    ("paced", "closed"),
    ("every", "every_seconds"),
    ("tier_service_s", "tier_load"),
    ("tier_bandwidth", "tier_load"),
)
"""Options of which one at most may be given."""

MOST_UNDER_WAY = 1_000_000
"""Largest ``closed`` and ``paced``."""

LARGEST_CACHE = 2**62
"""Largest cache, in objects or bytes."""

SLOWEST_S = 1e6
"""Largest latency and service time of a tier, in seconds."""

LOWEST_BANDWIDTH, HIGHEST_BANDWIDTH = 1.0, 1e18
"""Bounds of a tier's bandwidth, in bytes a second: beyond them times are no numbers any more."""

UNPACED = ("rate", "load", "load_by")
"""Options without meaning where accesses do not come at the trace's times."""

UNTIMED = (*UNPACED, "every_seconds", "tier_latency_s", "tier_service_s", "tier_bandwidth", "tier_load")
"""Options without meaning where nothing takes time."""


class PrefetchScenario(Scenario):
    """What is replayed of an access trace, and on which cache; None where the default rules.

    Attributes:
        cache_objects: Capacity in objects.
        cache_bytes: Capacity in bytes.
        cache_share: Capacity as a share of the trace's distinct objects.
        eviction: What leaves a full cache.
        prefetcher: The standing scheme's prefetcher.
        degree: Its degree.
        controller: What steers it.
        timeless: Whether every access comes after all before it are done.
        closed: Accesses that each tenant keeps under way, in place of the trace's times.
        paced: Accesses of a tenant under way at most; those beyond come later than the trace says.
        backing: Which ids exist behind the cache; None for what the trace says.
        tier_latency_s: Latency of the backing tier, in seconds.
        tier_service_s: Time that a fetch holds it beside the transfer, in seconds.
        tier_bandwidth: Its bytes a second.
        tier_queue: Discipline of its queue.
        tier_load: Share of its time that demand misses alone use.
        every: Accesses between decisions.
        every_seconds: Seconds between decisions.
        per_tenant: Whether each tenant has decisions of its own; None for where there is more than one.
        menu: A policy's arms.
        objective: Service-level objective.
    """

    domain: ClassVar[str] = "prefetch"

    cache_objects: int | None = Field(default=None, ge=1, le=LARGEST_CACHE)
    cache_bytes: int | None = Field(default=None, ge=1, le=LARGEST_CACHE)
    cache_share: float | None = Field(default=None, gt=0, le=1)
    eviction: Eviction = "lru"
    prefetcher: PrefetcherName | None = None
    degree: int | None = Field(default=None, ge=1, le=64)
    controller: ControllerName | None = None
    timeless: bool = False
    closed: int | None = Field(default=None, ge=1, le=MOST_UNDER_WAY)
    paced: int | None = Field(default=None, ge=1, le=MOST_UNDER_WAY)
    backing: Backing | None = None
    tier_latency_s: float | None = Field(default=None, ge=0, le=SLOWEST_S, allow_inf_nan=False)
    tier_service_s: float | None = Field(default=None, ge=0, le=SLOWEST_S, allow_inf_nan=False)
    tier_bandwidth: float | None = Field(default=None, gt=0, le=HIGHEST_BANDWIDTH, allow_inf_nan=False)
    tier_queue: Discipline = "fifo"
    tier_load: float | None = Field(default=None, gt=0, le=10, allow_inf_nan=False)
    every: int | None = Field(default=None, ge=1)
    every_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    per_tenant: bool | None = None
    menu: tuple[str, ...] | None = None
    objective: Objective = Objective()
    fallback: str = DEFAULT_FALLBACK

    @model_validator(mode="before")
    @classmethod
    def _whole_where_times_shift(cls, values: Any) -> Any:
        """Margins are parts of the trace's time; where accesses come later they would differ from run to run."""
        shifts = isinstance(values, dict) and any(values.get(name) for name in ("timeless", "closed", "paced"))
        return {**values, "whole": True} if shifts else values

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            HandrailError: They do not.
        """
        given = [name for name in ("cache_objects", "cache_bytes", "cache_share") if getattr(self, name) is not None]
        if len(given) > 1:
            raise HandrailError(f"{_options(given)} each say how large the cache is; give one of them")
        for one, other in EXCLUSIVE:
            if getattr(self, one) and getattr(self, other):
                raise HandrailError(f"{_options([one, other])} exclude each other; give one of them")
        if self.tier_bandwidth is not None and self.tier_bandwidth < LOWEST_BANDWIDTH:
            raise HandrailError(f"--tier-bandwidth is in bytes a second, at least 1, not {self.tier_bandwidth:g}")
        for name in UNTIMED if self.timeless else UNPACED if self.closed is not None else ():
            if getattr(self, name) is not None:
                where = "--timeless, where nothing takes time" if self.timeless else "--closed, which sets the pace"
                raise HandrailError(f"{_options([name])} has no meaning with {where}; leave it out")

        if self.menu is not None:
            _check_menu(self.menu)

    @property
    def demand(self) -> str:
        """How accesses come."""
        if self.timeless:
            return "timeless"
        return "closed" if self.closed is not None else "paced" if self.paced is not None else "open"

    def settings(self) -> dict[str, Any]:
        """Fields of the cache's config that are given, whatever the trace."""
        values: dict[str, Any] = {
            "objects": self.cache_objects,
            "size_bytes": self.cache_bytes,
            "eviction": self.eviction,
            "prefetcher": self.prefetcher,
            "degree": self.degree,
            "controller": self.controller,
            "demand": self.demand,
            "window": self.closed or self.paced,
            "backing": "all" if self.timeless else self.backing,
            "menu": self.menu,
        }
        tier = {
            "latency_s": self.tier_latency_s,
            "service_s": self.tier_service_s,
            "bandwidth_bytes_per_s": self.tier_bandwidth,
            "discipline": self.tier_queue,
        }
        values = {name: value for name, value in values.items() if value is not None}
        values["tier"] = {name: value for name, value in tier.items() if value is not None}
        if self.every_seconds is not None:
            values |= {"every_accesses": None, "every_s": self.every_seconds}
        elif self.every is not None:
            values["every_accesses"] = self.every
        return values


def cache_for(scenario: PrefetchScenario, window: AccessTrace) -> CacheConfig:
    """The cache under ``scenario`` for a trace's window, with a shadow cache beside a policy where one can run.

    The menu has the arms of the standing scheme in any case, unless the scenario gives a menu.

    Raises:
        HandrailError: The options do not go together, or the trace cannot size what no option does.
    """
    measured = None not in (scenario.tier_latency_s, scenario.tier_service_s, scenario.tier_bandwidth)
    if not (scenario.timeless or measured or window.duration_s > 0):
        raise HandrailError(
            f"{window.name}: all accesses come at one time, so no tier can be sized by it; give --tier-latency, "
            "--tier-service and --tier-bandwidth, or a longer trace"
        )
    per_tenant = window.n_tenants > 1 if scenario.per_tenant is None else scenario.per_tenant
    sizes = {"share": scenario.cache_share, "tier_load": scenario.tier_load}
    sizes = {name: value for name, value in sizes.items() if value is not None}
    config = default_cache(window, **sizes, **scenario.settings(), per_tenant=per_tenant)
    config = config.model_copy(update={"ghost": _shadow_obstacle(config) is None})
    ladder = tuple(arm.label for arm in make_controller(config).ladder)
    missing = tuple(label for label in ladder if label not in config.menu)
    if not missing:
        return config
    if scenario.menu is not None:
        raise HandrailError(
            f"--menu lacks {', '.join(missing)}, which the standing scheme ({describe_standing(config)}) uses; add it"
        )
    return config.model_copy(update={"menu": (*config.menu, *missing)})


def budget_obstacle(config: CacheConfig) -> str | None:
    """Why a guard can hold no budget of misses against a shadow cache; None where it can."""
    if config.by_bytes:
        return "the cache counts bytes"
    if config.every_accesses is None:
        return "decisions come by the clock"
    return _shadow_obstacle(config)


def _shadow_obstacle(config: CacheConfig) -> str | None:
    """Why no shadow cache can run the standing scheme; None where one can."""
    if config.eviction == "belady":
        return "a shadow cache under belady would need a future of its own"
    live = [arm.prefetcher for arm in make_controller(config).ladder if _reacts(arm)]
    return f"{live[0]} reacts to what the cache holds, so it cannot run in a shadow cache" if live else None


def _reacts(arm: Arm) -> bool:
    return arm.prefetcher != OFF and not PREFETCHER_TYPES[arm.prefetcher].demand_driven


def describe_cache(config: CacheConfig) -> str:
    """The cache in a few words."""
    unit = "bytes" if config.by_bytes else "objects"
    return f"{config.capacity:,} {unit} under {config.eviction}"


def describe_standing(config: CacheConfig) -> str:
    """The standing scheme in a few words."""
    if config.controller == "bandit":
        return f"bandit over {len(config.menu)} arms"
    if config.prefetcher == OFF:
        return OFF
    if config.controller == "feedback":
        return f"{config.prefetcher} under feedback"
    arm = Arm(config.prefetcher, config.degree).label
    return arm if config.controller == "fixed" else f"{arm} under {config.controller}"


def oracles(config: CacheConfig) -> tuple[str, ...]:
    """What of the cache knows the future."""
    found = ["belady"] if config.eviction == "belady" else []
    found += [ORACLE] if ORACLE in (config.prefetcher, *(arm.prefetcher for arm in config.arms)) else []
    return tuple(found)


def setting_notes(config: CacheConfig, trace: AccessTrace) -> list[str]:
    """What a reader must know of the ids, of what exists behind the cache, and of what knows the future."""
    ids = "as in the trace"
    if PERMUTED in trace.notes:
        ids = "permuted, so neighbours say nothing"
    elif PERMUTED_BLOCKS in trace.notes:
        ids = "blocks are permuted, so only segments of one block are neighbours"
    every = (config.backing or trace.backing) == "all"
    exists = "every id exists" if every else "only ids that were accessed before exist"
    notes = [f"ids: {ids}", f"backing tier: {exists}"]
    spread_s = trace.notes.get("spread_s")
    if spread_s and config.demand in ("open", "paced"):
        notes.append(f"times: recorded to {spread_s:g} s, and spread within that")
    notes += _reading_notes(trace)
    found = oracles(config)
    know = "knows" if len(found) == 1 else "know"
    return [*notes, *([f"oracle: {' and '.join(found)} {know} the future"] if found else [])]


def _reading_notes(trace: AccessTrace) -> list[str]:
    """What the reader of the file left out or assumed."""
    told = trace.notes
    notes = []
    if told.get("dropped_ops"):
        dropped = ", ".join(f"{count:,} {name}" for name, count in sorted(told["dropped_ops"].items()))
        notes.append(f"operations left out, neither read nor write: {dropped}")
    if told.get("dropped_empty"):
        notes.append(f"requests of 0 bytes left out: {told['dropped_empty']:,}")
    if told.get("sizes_raised_to_1_byte"):
        notes.append(f"objects of 0 bytes counted as 1: {told['sizes_raised_to_1_byte']:,} accesses")
    if told.get("assumed_size_bytes"):
        notes.append(f"sizes: the file has none, {told['assumed_size_bytes']:,} bytes each assumed")
    if told.get("assumed_rate_per_s"):
        notes.append(f"times: the file has none, {told['assumed_rate_per_s']:,.0f} operations a second assumed")
    return notes


def _check_menu(menu: tuple[str, ...]) -> None:
    if len(menu) < 2:
        raise HandrailError("--menu: a menu has two arms or more, none among them, as in none,obl,stride:4")
    try:
        CacheConfig.parse(objects=1, menu=menu)
    except HandrailError as error:
        raise HandrailError(f"--{str(error).removeprefix('cache config: ')}") from None


def _options(names: list[str]) -> str:
    return " and ".join(f"--{name.removesuffix('_s').replace('_', '-')}" for name in names)
