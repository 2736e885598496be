"""The domain ``prefetch``: accesses to a cache, and what is fetched before it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...envs.common.tails import quantiles
from ...envs.prefetch import DEFAULT_MENU, CacheConfig, PrefetchResults, PrefetchSimulator, layout_for
from ...envs.prefetch.arms import OFF
from ...envs.prefetch.metrics import Objective, compute_metrics
from ...envs.prefetch.observer import PrefetchObserver
from ...policies import OutcomeSignal, bundled_folder, heuristics_of, make_heuristic, make_policy
from ...policies.artifact import CARD_FILE
from ...policies.guards import GuardConfig
from ...policies.learning.tally import TrainingTally
from ...traces import AccessTrace
from ..finalists import Finalist, TrainingOptions
from ..load_accesses import (
    ACCESSES,
    DEFAULT_METHOD,
    AccessLoadChange,
    change_access_load,
    change_access_rate,
    keeps_times,
)
from ..rescale import rescale
from ..scenario import Prepared
from ..splits import Margins
from .base import Domain, Say
from .prefetch_report import REPORT
from .prefetch_system import (
    DEFAULT_FALLBACK,
    PrefetchScenario,
    budget_obstacle,
    cache_for,
    describe_cache,
    describe_standing,
    oracles,
    setting_notes,
)

RESULT_COLUMNS = ("arrival_s", "finish_s", "access_s", "outcome", "tenant", "key", "size_bytes", "row", "measured")


MEAN_COUNTS = 3
"""How often the mean latency counts beside the tail, where training and validation compare."""


class PrefetchDomain(Domain):
    """Cache prefetching."""

    name = "prefetch"
    item = "access"
    items = "accesses"
    system_type = CacheConfig
    scenario_type = PrefetchScenario
    # A cache warms up over accesses, not seconds: both margins are shares of the time, however long the trace lasts.
    margins = Margins("access", gap_s=0.0, warmup_s=math.inf, cooldown_s=60.0)
    report = REPORT
    default_load = None
    heuristics = heuristics_of("prefetch")
    algorithms = ("bandit", "ppo", "cem")
    load_field = "utilisation_slow"
    bundled_folder = bundled_folder("prefetch")

    @property
    def default_policy(self) -> str:
        bundled = (self.bundled_folder / CARD_FILE).is_file()
        return "bundled" if bundled else DEFAULT_FALLBACK

    def check(self, scenario: PrefetchScenario) -> None:
        scenario.check()

    def system(self, scenario: PrefetchScenario, window: AccessTrace) -> CacheConfig:
        return cache_for(scenario, window)

    def check_part(self, part: AccessTrace) -> None:
        """Every access can be replayed."""

    def bring_to_load(
        self, part: AccessTrace, system: CacheConfig, scenario: PrefetchScenario, say: Say
    ) -> tuple[AccessTrace, AccessLoadChange]:
        if keeps_times(system):
            say("measuring the load on the backing tier")
        if scenario.load is not None:
            return change_access_load(part, scenario.load, system, scenario.load_by, scenario.seed)
        factor = 1.0 if scenario.rate is None else scenario.rate
        return change_access_rate(part, factor, system, scenario.load_by, scenario.seed)

    def change_rate(
        self, part: AccessTrace, system: CacheConfig, factor: float, method: str | None, seed: int
    ) -> AccessTrace:
        if not keeps_times(system):
            return part
        return rescale(part, factor, method or DEFAULT_METHOD, seed, ACCESSES).trace

    def capacity_per_s(self, prepared: Prepared, part: AccessTrace, say: Say) -> float:
        return 1.0  # the observed load is a share of the tier already

    def layout(self, system: CacheConfig) -> Layout:
        return layout_for(len(system.menu))

    def simulator(
        self, system: CacheConfig, trace: AccessTrace, seed: int, measured_s: tuple[float, float] | None
    ) -> PrefetchSimulator:
        return PrefetchSimulator(system, trace, seed, measured_s=measured_s, decide="policy")

    def observer(self, simulator: PrefetchSimulator) -> PrefetchObserver:
        return PrefetchObserver(simulator)

    def judge(self, objective: Objective) -> Callable[[Any], OutcomeSignal]:
        """An interval violates the objective where its slowest access does."""
        slo_misses = objective.slo_misses

        def signal(outcome: Any) -> OutcomeSignal:
            attained = outcome.worst_s <= slo_misses * outcome.miss_s
            return OutcomeSignal(outcome.decision, not attained, outcome.access_s)

        return signal

    def make_policy(self, spec: str | Path, system: CacheConfig, seed: int = 0) -> Any:
        return make_policy(spec, self.layout(system), seed, "prefetch", arms=system.menu)

    def make_heuristic(self, name: str, system: CacheConfig, seed: int = 0, tie_seed: int | None = None) -> Any:
        return make_heuristic(name, self.layout(system), seed, tie_seed, "prefetch", arms=system.menu)

    def make_last_rung(self, system: CacheConfig) -> Any:
        """No prefetching."""
        return self.make_heuristic(OFF, system)

    def rivals(self, system: CacheConfig) -> tuple[str, ...]:
        rules = [name for name in self.heuristics if name not in DEFAULT_MENU]
        return (*rules, *system.menu)

    def default_guard(self, system: CacheConfig) -> GuardConfig:
        return GuardConfig.for_prefetch()

    def fit_guard(self, guard: GuardConfig, system: CacheConfig) -> GuardConfig:
        if budget_obstacle(system) is None:
            return guard
        return guard.model_copy(update={"checks": tuple(c for c in guard.checks if c.check != "budget")})

    def metrics(self, results: PrefetchResults, objective: Objective) -> dict[str, Any]:
        return compute_metrics(results, objective)

    def result_columns(self, results: PrefetchResults) -> dict[str, NDArray[Any]]:
        return {name: np.asarray(getattr(results, name)) for name in RESULT_COLUMNS}

    def headline(self, results: PrefetchResults) -> NDArray[np.float64]:
        return results.access_s

    def headline_limit(self, objective: Objective, system: CacheConfig) -> float:
        return objective.slo_misses * system.unloaded_miss_s

    def tails(self, results: PrefetchResults, qs: Sequence[float]) -> NDArray[np.float64]:
        """Quantiles of the access latency, and three times its mean, which stands for all ``qs``.

        Prefetching is for the mean, and any of it lengthens a shared queue a little: with the two alike, a training
        would choose to prefetch nothing.
        """
        access_s = results.access_s[results.measured]
        return np.array([quantiles(access_s, qs), *([[float(access_s.mean())] * len(qs)] * MEAN_COUNTS)])

    def describe_run(self, prepared: Prepared, capacity_per_s: float) -> dict[str, Any]:
        return {"domain": self.name, "cache": prepared.system.model_dump(mode="json")}

    def describe_system(self, prepared: Prepared) -> str:
        return describe_cache(prepared.system)

    def about(self, prepared: Prepared) -> dict[str, Any]:
        system = prepared.system
        return {
            "cache": describe_cache(system),
            "standing": describe_standing(system),
            "oracle": bool(oracles(system)),
        }

    def notes(self, prepared: Prepared) -> list[str]:
        system = prepared.system
        notes = [f"standing scheme: {describe_standing(system)}", *setting_notes(system, prepared.trace)]
        obstacle = budget_obstacle(system)
        return [*notes, *([f"a guard has no budget of misses here: {obstacle}"] if obstacle else [])]

    def finalists(
        self,
        options: TrainingOptions,
        window: AccessTrace,
        train: Prepared,
        work: Path,
        *,
        fingerprint: str,
        seed: int,
        say: Say,
        on_progress: Callable[[float, float], None],
        tally: TrainingTally,
    ) -> list[Finalist]:
        from .prefetch_training import prefetching_finalists

        return prefetching_finalists(
            options,
            window,
            train,
            work,
            fingerprint=fingerprint,
            seed=seed,
            say=say,
            on_progress=on_progress,
            tally=tally,
        )

    def training_settings(self, scenario: PrefetchScenario, options: TrainingOptions) -> dict[str, Any]:
        from .prefetch_training import prefetching_settings

        return prefetching_settings(scenario, options)


DOMAIN = PrefetchDomain()
