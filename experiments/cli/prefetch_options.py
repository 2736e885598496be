"""Options of cache prefetching."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from ...traces.errors import HandrailError

if TYPE_CHECKING:
    from ...traces import AccessTrace
    from .options import TrafficOptions

PANEL = "Options of --domain prefetch"


def _option(text: str, metavar: str | None = None, *names: str, minimum: float | None = None) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, min=minimum, rich_help_panel=PANEL)


@dataclass(frozen=True, slots=True)
class PrefetchOptions:
    """The cache, the tier behind it, the standing scheme and the objective; None where an option is not given."""

    domain: ClassVar[str] = "prefetch"

    cache_objects: Annotated[int | None, _option("Capacity in objects.", "N", minimum=1)] = None
    cache_bytes: Annotated[int | None, _option("Capacity in bytes.", "N", minimum=1)] = None
    cache_share: Annotated[
        float | None, _option("Capacity as a share of the trace's distinct objects; 0.1.", "SHARE")
    ] = None
    eviction: Annotated[
        str | None, _option("What leaves a full cache; lru.", "lru|fifo|clock|lfu|arc|s3fifo|sieve|belady")
    ] = None
    prefetcher: Annotated[
        str | None,
        _option(
            "Prefetcher of the cache itself: in replay it decides and no policy is asked, elsewhere it is the standing "
            "scheme to fall back on; obl.",
            "none|next-line|obl|stride|readahead|best-offset|markov|mithril|leap|spp|amp|oracle",
        ),
    ] = None
    degree: Annotated[
        int | None, _option("Suggestions of that prefetcher that are fetched at an access; 1.", "N", minimum=1)
    ] = None
    controller: Annotated[
        str | None,
        _option(
            "What steers that prefetcher: hysteresis, in replay fixed by default.", "fixed|hysteresis|feedback|bandit"
        ),
    ] = None
    timeless: Annotated[
        bool | None,
        typer.Option(
            "--timeless",
            help="Replay only: each access comes after all before it are done; ids as they are, and any can be "
            "prefetched. No prefetcher unless one is named.",
            rich_help_panel=PANEL,
        ),
    ] = None
    closed: Annotated[int | None, _option("Each tenant keeps so many accesses under way.", "WINDOW", minimum=1)] = None
    paced: Annotated[
        int | None,
        _option("At most so many accesses of a tenant are under way; the next ones come late.", "WINDOW", minimum=1),
    ] = None
    backing: Annotated[
        str | None, _option("Ids that can be prefetched; by default as the trace's format has it.", "all|seen")
    ] = None
    tier_latency: Annotated[
        float | None, _option("Latency of the backing tier; by default ten server times.", "SECONDS")
    ] = None
    tier_service: Annotated[
        float | None, _option("Time that a fetch holds the tier beside its transfer; by --tier-load.", "SECONDS")
    ] = None
    tier_bandwidth: Annotated[float | None, _option("Bandwidth of the tier; by --tier-load.", "BYTES_A_SECOND")] = None
    tier_queue: Annotated[str | None, _option("Discipline of its queue; fifo.", "fifo|demand-first|bounded")] = None
    tier_load: Annotated[
        float | None, _option("Scale the tier so that demand misses alone use this share of it; 0.6.", "SHARE")
    ] = None
    every: Annotated[int | None, _option("Accesses between decisions; 64.", "ACCESSES", minimum=1)] = None
    every_seconds: Annotated[float | None, _option("Seconds between decisions, in their place.", "SECONDS")] = None
    per_tenant: Annotated[
        bool | None,
        _option("A decision for each tenant, or one for all; by default one each.", None, "--per-tenant/--one-for-all"),
    ] = None
    permute: Annotated[
        bool | None,
        _option("Permute ids, or leave them; by default as the format needs.", None, "--permute/--raw-ids"),
    ] = None
    menu: Annotated[str | None, _option("A policy's arms, none among them.", "ARM,ARM,...")] = None
    block_bytes: Annotated[
        int | None, _option("Block size that requests of block formats are cut into.", "N", minimum=1)
    ] = None
    slo_miss: Annotated[
        float | None, _option("Longest access that attains the objective, over an unloaded miss; 5.", "FACTOR")
    ] = None

    def scenario_fields(self) -> dict[str, Any]:
        """What of the scenario these options set, where a policy decides and the cache's own scheme stands behind it.

        Raises:
            HandrailError: An option is not understood, or goes with ``replay`` only.
        """
        if self.timeless:
            raise HandrailError("--timeless goes with replay: where nothing takes time there are no tails to compare")
        return self.replay_fields()

    def replay_fields(self, native: bool = False) -> dict[str, Any]:
        """The same for ``replay``.

        Args:
            native: Whether the cache's own scheme decides.

        Raises:
            HandrailError: An option is not understood.
        """
        self._check_scheme()
        if native:
            self._check_throughout()
        if self.timeless and self.permute:
            raise HandrailError("--permute and --timeless: without time ids stay as they are; leave one of them out")
        if self.timeless and self.backing == "seen":
            raise HandrailError("--backing seen and --timeless: without time every id exists; leave one of them out")
        names = ("cache_objects", "cache_bytes", "cache_share", "eviction", "prefetcher", "degree", "controller")
        names += ("timeless", "closed", "paced", "backing", "tier_bandwidth", "tier_queue", "tier_load")
        names += ("every", "every_seconds", "per_tenant")
        fields: dict[str, Any] = {name: getattr(self, name) for name in names}
        fields |= {"tier_latency_s": self.tier_latency, "tier_service_s": self.tier_service}
        fields = {name: value for name, value in fields.items() if value is not None}
        if native:
            fields.setdefault("controller", "fixed")
            fields.setdefault("prefetcher", "none" if self.controller is None else "obl")
        if self.menu is not None:
            fields["menu"] = tuple(arm.strip() for arm in self.menu.split(","))
        if self.slo_miss is not None:
            if not 0 < self.slo_miss < math.inf:
                raise HandrailError(f"--slo-miss: Input should be a positive number, not {self.slo_miss}")
            fields["objective"] = {"slo_misses": self.slo_miss}
        return fields

    def _check_scheme(self) -> None:
        """Refuse parts of a standing scheme that another part of it leaves without effect."""
        if self.controller == "bandit" and self.prefetcher is not None:
            raise HandrailError(
                "--prefetcher and --controller bandit: it chooses among the arms of --menu; leave one of them out"
            )
        if self.degree is not None and self.prefetcher in (None, "none"):
            raise HandrailError("--degree is that of a prefetcher; add --prefetcher NAME")
        if self.degree is not None and self.controller == "feedback":
            raise HandrailError("--degree and --controller feedback: it chooses the degree; leave one of them out")
        if self.prefetcher == "none" and self.controller in ("hysteresis", "feedback"):
            raise HandrailError(
                f"--controller {self.controller} has nothing to steer under --prefetcher none; name a prefetcher"
            )

    def _check_throughout(self) -> None:
        """Refuse options of decisions where nothing decides at intervals."""
        if self.controller == "bandit":
            return
        steered = self.controller not in (None, "fixed")
        wanted = "--policy or --controller bandit" if steered else "--policy or --controller"
        decisions = ("every", "every_seconds", "per_tenant")
        for name in ("menu",) if steered else ("menu", *decisions):
            value = getattr(self, name)
            if value is None or (name == "every_seconds" and self.timeless):
                continue
            option = "one-for-all" if value is False else name.replace("_", "-")
            raise HandrailError(
                f"--{option} goes with {wanted}; here --prefetcher alone decides; leave one of them out"
            )

    def check(self) -> None:
        """Nothing that the scenario does not check."""

    def read_trace(self, traffic: TrafficOptions) -> AccessTrace:
        """Load a trace as the options say.

        Raises:
            HandrailError: An option or the file is wrong.
        """
        from ...traces import load_access_trace

        return load_access_trace(
            traffic.trace,
            mapping=traffic.mapping(),
            sort=traffic.sort,
            permute=False if self.timeless else self.permute,
            block_bytes=self.block_bytes,
        )

    def compare_words(self, scenario: Any) -> list[str]:
        """The options that set the scenario and the reading of the trace, as on the command line of ``compare``."""
        words = []
        for name in SCENARIO_WORDS:
            value = getattr(scenario, name)
            words += [] if value is None else [f"--{name.removesuffix('_s').replace('_', '-')}", str(value)]
        words += _flag("per-tenant", "one-for-all", scenario.per_tenant) + _flag("permute", "raw-ids", self.permute)
        words += [] if scenario.menu is None else ["--menu", ",".join(scenario.menu)]
        words += [] if self.block_bytes is None else ["--block-bytes", str(self.block_bytes)]
        words += ["--slo-miss", str(scenario.objective.slo_misses)]
        return [*words, "--fallback", scenario.fallback, "--seed", str(scenario.seed)]

    train_words = compare_words


SCENARIO_WORDS = (
    "cache_objects",
    "cache_bytes",
    "cache_share",
    "eviction",
    "prefetcher",
    "degree",
    "controller",
    "closed",
    "paced",
    "backing",
    "tier_latency_s",
    "tier_service_s",
    "tier_bandwidth",
    "tier_queue",
    "tier_load",
    "every",
    "every_seconds",
)
"""Fields of the scenario that have an option of their name and are given as they are."""


def _flag(on: str, off: str, value: bool | None) -> list[str]:
    return [] if value is None else [f"--{on if value else off}"]
