"""The domain ``cluster``: jobs scheduled on machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.cluster import ClusterConfig, ClusterResults, ClusterSimulator, layout_for
from ...envs.cluster.metrics import Objective, bounded_slowdown, compute_metrics, wait_s
from ...envs.cluster.observer import SchedulerObserver
from ...envs.common import Layout
from ...envs.common.tails import quantiles
from ...policies import OutcomeSignal, bundled_folder, heuristics_of, make_heuristic, make_policy
from ...policies.artifact import CARD_FILE
from ...policies.guards import GuardConfig
from ...policies.heuristics.cluster import BlindFirstComeFirstServed
from ...policies.learning.tally import TrainingTally
from ...traces import JobTrace
from ..finalists import Finalist, TrainingOptions
from ..load_jobs import JobLoadChange, change_job_load, change_job_rate, stretch_overload
from ..scenario import Prepared
from ..splits import Margins
from .base import Domain, Say
from .cluster_report import REPORT
from .cluster_system import ClusterScenario, cluster_for, describe_cluster

HOUR_S, DAY_S = 3600.0, 86_400.0

WAIT_FLOOR_S = 60.0
"""Added to waits before training compares them: below a minute a wait is as good as none."""

BATCH_FOLDER = bundled_folder("cluster").parent / "cluster_batch"
"""The bundled policy for interchangeable processors; the other one is for machines with GPUs."""

KNOWLEDGE_NOTES = {
    "none": "run times: nothing is known",
    "user_estimate": "run times: the users' estimates",
    "predicted": "run times: predicted from completed jobs of the same tenant and size",
    "true": "oracle: the scheduler knows the true run times",
}


class ClusterDomain(Domain):
    """Cluster scheduling."""

    name = "cluster"
    item = "job"
    items = "jobs"
    system_type = ClusterConfig
    scenario_type = ClusterScenario
    margins = Margins("job", gap_s=DAY_S, warmup_s=DAY_S, cooldown_s=2 * DAY_S)
    report = REPORT
    default_load = None
    heuristics = tuple(heuristics_of("cluster"))
    algorithms = ("maskable-ppo", "cem")
    load_field = "load_6h"
    bundled_folder = bundled_folder("cluster")

    @property
    def default_policy(self) -> str:
        bundled = (self.bundled_folder / CARD_FILE).is_file()
        return "bundled" if bundled else ClusterScenario().fallback

    def check(self, scenario: ClusterScenario) -> None:
        scenario.check()

    def system(self, scenario: ClusterScenario, window: JobTrace) -> ClusterConfig:
        return cluster_for(scenario, window)

    def check_part(self, part: JobTrace) -> None:
        """Every job can be replayed; what fits nowhere is rejected."""

    def bring_to_load(
        self, part: JobTrace, system: ClusterConfig, scenario: ClusterScenario, say: Say
    ) -> tuple[JobTrace, JobLoadChange]:
        if scenario.load is not None:
            return change_job_load(part, scenario.load, system, scenario.load_by, scenario.seed)
        if scenario.rate is None and scenario.stretch:
            return stretch_overload(part, system, scenario.seed)
        factor = 1.0 if scenario.rate is None else scenario.rate
        return change_job_rate(part, factor, system, scenario.load_by or "compress", scenario.seed)

    def change_rate(
        self, part: JobTrace, system: ClusterConfig, factor: float, method: str | None, seed: int
    ) -> JobTrace:
        return change_job_rate(part, factor, system, method, seed)[0]

    def capacity_per_s(self, prepared: Prepared, part: JobTrace, say: Say) -> float:
        return 1.0  # the observed load is a share of the cluster already

    def layout(self, system: ClusterConfig) -> Layout:
        return layout_for(system.window)

    def simulator(
        self, system: ClusterConfig, trace: JobTrace, seed: int, measured_s: tuple[float, float] | None
    ) -> ClusterSimulator:
        return ClusterSimulator(system, trace, seed, measured_s=measured_s, decide="job")

    def observer(self, simulator: ClusterSimulator) -> SchedulerObserver:
        return SchedulerObserver(simulator)

    def judge(self, objective: Objective) -> Callable[[Any], OutcomeSignal]:
        slo_slowdown, slo_wait_s = objective.slo_slowdown, objective.slo_wait_s

        def signal(outcome: Any) -> OutcomeSignal:
            attained = outcome.bounded_slowdown <= slo_slowdown and outcome.wait_s <= slo_wait_s
            return OutcomeSignal(outcome.decision, not attained, outcome.wait_s)

        return signal

    def make_policy(self, spec: str | Path, system: ClusterConfig, seed: int = 0) -> Any:
        if spec == "bundled" and system.processors is not None and (BATCH_FOLDER / CARD_FILE).is_file():
            spec = BATCH_FOLDER
        return make_policy(spec, self.layout(system), seed, "cluster", **_settings(system))

    def make_heuristic(self, name: str, system: ClusterConfig, seed: int = 0, tie_seed: int | None = None) -> Any:
        return make_heuristic(name, self.layout(system), seed, tie_seed, "cluster", **_settings(system))

    def make_last_rung(self, system: ClusterConfig) -> Any:
        """First come, first served without backfilling: run times need not be known for it."""
        return BlindFirstComeFirstServed(self.layout(system), **_settings(system))

    def default_guard(self, system: ClusterConfig) -> GuardConfig:
        return GuardConfig.for_scheduling(overdue_passes=system.overdue_passes)

    def metrics(self, results: Any, objective: Objective) -> dict[str, Any]:
        return compute_metrics(results, objective)

    def result_columns(self, results: ClusterResults) -> dict[str, NDArray[Any]]:
        columns = {field.name: getattr(results, field.name) for field in fields(results)}
        n = len(results.arrival_s)
        return {name: c for name, c in columns.items() if isinstance(c, np.ndarray) and len(c) == n}

    def headline(self, results: Any) -> NDArray[np.float64]:
        return bounded_slowdown(results)

    def headline_limit(self, objective: Objective, system: ClusterConfig) -> float:
        return objective.slo_slowdown

    def tails(self, results: Any, qs: Sequence[float]) -> NDArray[np.float64]:
        """Quantiles of the slowdown, and the means of slowdown and wait, which stand for all ``qs``.

        The tail of the wait belongs to a few large jobs, and a window has too few of them to learn from; a job that
        starves shows in the mean.
        """
        measured = np.asarray(results.measured)
        slowdown = bounded_slowdown(results)[measured]
        means = float(slowdown.mean()), float(wait_s(results)[measured].mean()) + WAIT_FLOOR_S
        return np.array([quantiles(slowdown, qs), *([mean] * len(qs) for mean in means)])

    def describe_run(self, prepared: Prepared, capacity_per_s: float) -> dict[str, Any]:
        return {"domain": self.name, "cluster": prepared.system.model_dump(mode="json")}

    def describe_system(self, prepared: Prepared) -> str:
        return describe_cluster(prepared.system)

    def about(self, prepared: Prepared) -> dict[str, Any]:
        knowledge = prepared.system.knowledge
        return {"knowledge": knowledge, "oracle": knowledge == "true", "cluster": describe_cluster(prepared.system)}

    def notes(self, prepared: Prepared) -> list[str]:
        system = prepared.system
        notes = [KNOWLEDGE_NOTES[system.knowledge]]
        if system.knowledge == "user_estimate" and bool(np.isnan(prepared.trace.estimate_s).any()):
            notes = [f"{notes[0]}, and the run time itself where there is none"]
        if system.quotas is not None:
            notes.append(f"quotas of {len(system.quotas)} tenants, in proportion to their work")
        return notes

    def finalists(
        self,
        options: TrainingOptions,
        window: JobTrace,
        train: Prepared,
        work: Path,
        *,
        fingerprint: str,
        seed: int,
        say: Say,
        on_progress: Callable[[float, float], None],
        tally: TrainingTally,
    ) -> list[Finalist]:
        from .cluster_training import scheduling_finalists

        return scheduling_finalists(
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

    def training_settings(self, scenario: ClusterScenario, options: TrainingOptions) -> dict[str, Any]:
        from .cluster_training import scheduling_settings

        return scheduling_settings(scenario, options)


def _settings(system: ClusterConfig) -> dict[str, Any]:
    """What heuristics of this domain take beside the layout."""
    return {"overdue_passes": system.overdue_passes, "knowledge": system.knowledge}


DOMAIN = ClusterDomain()
