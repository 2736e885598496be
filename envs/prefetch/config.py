"""A cache, the tier behind it and its standing prefetcher. Frozen, unknown keys refused, units in the names."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ...traces.errors import HandrailError
from .arms import DEFAULT_MENU, OFF, Arm

Eviction = Literal["lru", "fifo", "clock", "lfu", "arc", "s3fifo", "sieve", "belady"]
PrefetcherName = Literal[
    "none",
    "next-line",
    "obl",
    "stride",
    "readahead",
    "best-offset",
    "markov",
    "mithril",
    "leap",
    "spp",
    "amp",
    "oracle",
]
ControllerName = Literal["fixed", "hysteresis", "feedback", "bandit"]
Discipline = Literal["fifo", "demand-first", "bounded"]
Demand = Literal["open", "paced", "closed", "timeless"]
Backing = Literal["all", "seen"]

EVICTIONS: tuple[str, ...] = get_args(Eviction)
PREFETCHERS: tuple[str, ...] = get_args(PrefetcherName)
CONTROLLERS: tuple[str, ...] = get_args(ControllerName)
DISCIPLINES: tuple[str, ...] = get_args(Discipline)
DEMANDS: tuple[str, ...] = get_args(Demand)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Slowdown(NamedTuple):
    """A span of simulated time in which a tier is slow.

    Attributes:
        start_s: From here on, in seconds from the start of the replay.
        end_s: Up to here; it is as fast as before from then on.
        factor: How many times as long a service takes that starts within the span (4: a quarter of the bandwidth).
    """

    start_s: float
    end_s: float
    factor: float


class TierConfig(_Strict):
    """A tier behind a cache and the link to it: one server with a queue, then a latency that keeps nobody waiting.

    A fetch of b bytes holds the server for ``service_s + b / bandwidth_bytes_per_s`` and arrives ``latency_s`` later.
    """

    latency_s: float = Field(default=1e-3, ge=0, description="after the server is done [s]")
    service_s: float = Field(default=50e-6, ge=0, description="server time of any fetch [s]")
    bandwidth_bytes_per_s: float = Field(default=1.25e9, gt=0, description="bytes a second")
    discipline: Discipline = Field(
        default="fifo",
        description="fifo: first come first served; demand-first: demand before write-backs before prefetches, without "
        "preemption; bounded: fifo, and what finds prefetch_queue prefetches waiting or in service is dropped",
    )
    prefetch_queue: int = Field(default=32, ge=1, description="bound of discipline bounded")
    slowdowns: tuple[Slowdown, ...] = Field(
        default=(),
        description="(start_s, end_s, factor): services that start within hold the server factor times as long",
    )

    @field_validator("slowdowns")
    @classmethod
    def _slowdowns_are_sound(cls, slowdowns: tuple[Slowdown, ...]) -> tuple[Slowdown, ...]:
        ordered = sorted(slowdowns)
        for start_s, end_s, factor in ordered:
            if not 0.0 <= start_s < end_s:
                raise ValueError(f"a slowdown from {start_s} s to {end_s} s is no span of time; give 0 <= start < end")
            if not factor > 0.0:
                raise ValueError(f"a slowdown's factor must be above 0, not {factor}; 4 is a quarter of the speed")
        for before, after in pairwise(ordered):
            if after.start_s < before.end_s:
                raise ValueError(f"slowdowns overlap at {after.start_s} s; merge them")
        return slowdowns

    def work_s(self, size_bytes: float) -> float:
        """How long a fetch of that size holds the server, in seconds."""
        return self.service_s + size_bytes / self.bandwidth_bytes_per_s


class MiddleConfig(_Strict):
    """An optional second cache between the first one and the backing tier, LRU, with a link of its own.

    What is fetched from the backing tier passes through it and stays there too (inclusive).
    """

    objects: int | None = Field(default=None, ge=1)
    size_bytes: int | None = Field(default=None, ge=1)
    tier: TierConfig = TierConfig()

    @model_validator(mode="after")
    def _one_capacity(self) -> Self:
        if (self.objects is None) == (self.size_bytes is None):
            raise ValueError("give either objects or size_bytes")
        if self.tier.discipline == "bounded":
            raise ValueError("prefetches are turned away at the backing tier; give the middle one fifo or demand-first")
        return self


class HysteresisConfig(_Strict):
    """Limoncello (ASPLOS'24): off above the upper threshold, on again below the lower one.

    The queueing delay counts in units of an unloaded miss, so that one number serves fast and slow tiers.
    """

    off_above: float = Field(default=0.8, gt=0, le=1, description="share of the tier's time in use")
    on_below: float = Field(default=0.6, ge=0, le=1, description="share of the tier's time in use")
    off_above_delay: float = Field(default=4.0, gt=0, description="queueing delay over an unloaded miss")
    on_below_delay: float = Field(default=2.0, ge=0, description="queueing delay over an unloaded miss")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.on_below > self.off_above or self.on_below_delay > self.off_above_delay:
            raise ValueError("the lower threshold is above the upper one")
        return self


class FeedbackConfig(_Strict):
    """Feedback-directed prefetching (Srinath et al., HPCA'07): thresholds of its table, and the ladder of degrees."""

    degrees: tuple[int, ...] = Field(default=(1, 2, 4, 8, 16), min_length=1, description="from shy to aggressive")
    start: int = Field(default=2, ge=0, description="place on the ladder at the start")
    high_accuracy: float = Field(default=0.75, ge=0, le=1)
    low_accuracy: float = Field(default=0.40, ge=0, le=1)
    lateness: float = Field(default=0.01, ge=0, le=1)
    pollution: float = Field(default=0.005, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if list(self.degrees) != sorted(set(self.degrees)) or self.degrees[0] < 1:
            raise ValueError("degrees must rise and be at least 1")
        if self.start >= len(self.degrees) or self.low_accuracy > self.high_accuracy:
            raise ValueError("start must be a place on the ladder, low_accuracy at most high_accuracy")
        return self


class BanditConfig(_Strict):
    """Discounted upper confidence bound over the menu (Micro-Armed Bandit, MICRO'23)."""

    gamma: float = Field(default=0.98, gt=0, le=1, description="discount of past steps")
    exploration: float = Field(default=0.2, ge=0, description="weight of the confidence bound")


class CacheConfig(_Strict):
    """A cache in front of a backing tier, and its *standing scheme*: a prefetcher under a controller.

    The standing scheme rules where no policy is asked, and is what an observation marks as ``standing``.
    """

    objects: int | None = Field(default=None, ge=1, description="capacity in objects (each counts 1)")
    size_bytes: int | None = Field(default=None, ge=1, description="capacity in bytes")
    eviction: Eviction = "lru"
    hit_s: float = Field(default=1e-6, ge=0, description="time of a hit [s]")
    tier: TierConfig = TierConfig()
    middle: MiddleConfig | None = None
    demand: Demand = Field(
        default="open",
        description="open: at the trace's times; paced: at these times or later, with at most window accesses of a "
        "tenant under way; closed: each tenant keeps window accesses under way; timeless: every access after all those "
        "before it are done",
    )
    window: int = Field(default=1, ge=1, description="accesses of a tenant under way at most (paced, closed)")
    think_s: float = Field(default=0.0, ge=0, description="between an access's end and the next one (closed) [s]")
    backing: Backing | None = Field(
        default=None, description="which ids exist behind the cache; None: what the trace says"
    )
    prefetch_touches: bool = Field(
        default=False,
        description="whether suggesting what is in the cache counts as an access to the eviction rule; the bound of a "
        "guard's budget of misses needs it, hit-ratio simulators do not do it",
    )
    prefetcher: PrefetcherName = "obl"
    degree: int = Field(default=1, ge=1, le=64)
    controller: ControllerName = "hysteresis"
    hysteresis: HysteresisConfig = HysteresisConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    bandit: BanditConfig = BanditConfig()
    menu: tuple[str, ...] = Field(default=DEFAULT_MENU, min_length=2, description="a policy's arms, none among them")
    per_tenant: bool = Field(default=False, description="one decision a tenant, and one controller each")
    every_accesses: int | None = Field(default=64, ge=1, description="accesses between decisions")
    every_s: float | None = Field(default=None, gt=0, description="seconds between decisions, in place of accesses")
    ghost: bool = Field(default=False, description="run a shadow cache under the standing scheme beside a policy")

    @field_validator("menu")
    @classmethod
    def _menu_is_sound(cls, menu: tuple[str, ...]) -> tuple[str, ...]:
        try:
            arms = [Arm.parse(text) for text in menu]
        except HandrailError as error:
            raise ValueError(str(error)) from None
        if len(set(arms)) != len(arms) or OFF not in menu:
            raise ValueError("the menu's arms must be distinct, and none among them")
        unknown = [arm.prefetcher for arm in arms if arm.prefetcher not in PREFETCHERS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no prefetcher; choose among {', '.join(PREFETCHERS)}")
        return tuple(arm.label for arm in arms)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.objects is None) == (self.size_bytes is None):
            raise ValueError("give either objects or size_bytes")
        if (self.every_accesses is None) == (self.every_s is None):
            raise ValueError("give either every_accesses or every_s")
        if self.every_s is not None and self.demand == "timeless":
            raise ValueError("without time there are no seconds between decisions; give every_accesses")
        return self

    @classmethod
    def parse(cls, **values: Any) -> Self:
        """A config from option values.

        Raises:
            HandrailError: A field is unknown, out of range, or does not go with another.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            raise HandrailError(f"cache config: {where + ': ' if where else ''}{message}") from None

    @property
    def capacity(self) -> int:
        """Capacity in its unit."""
        return self.objects if self.objects is not None else self.size_bytes or 0

    @property
    def by_bytes(self) -> bool:
        """Whether the capacity counts bytes."""
        return self.objects is None

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The menu's arms."""
        return tuple(Arm.parse(text) for text in self.menu)

    @property
    def unloaded_miss_s(self) -> float:
        """A fetch without bytes from the backing tier when nothing else is under way: the scale of a miss, in seconds.

        Transfer time is left out since sizes differ; the sum is never 0, so that others can be held against it.
        """
        return max(self.tier.latency_s + self.tier.service_s, 1e-9)
