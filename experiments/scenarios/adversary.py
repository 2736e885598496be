"""A trained adversary: a policy searched to make the guarded tail as long as it gets, against this very guard.

It knows the guard with all its thresholds, the breaker's calibrated reference among them, and is scored by replays of
the guarded system on validation windows. What it reaches is a lower bound on the worst case, at the budget that its
card states.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...policies import save_policy
from ...policies.card import FeatureCard, ScorerArchitecture, TrainingCard
from ...policies.guards import GuardConfig
from ...policies.learning.cem import Candidate, CemResult, cem_search
from ...policies.learning.features import ScorerSearch
from ...policies.network import ReplicaScorer, scorer_shapes, unflatten
from ...policies.parallel import run_jobs
from ...traces.errors import HandrailError
from ..domains import domain_named, domain_of
from ..guarding import GUARD_FILE, calibrated, calibration_jobs, guard_thresholds, run_calibration
from ..provenance import source_hash
from ..scenario import Scenario, check, cut_window, prepare
from ..scorer_search import sample_observations
from ..splits import cut_split
from ..tail_search import LOST_LOG_RATIO, TAIL_QUANTILES, TrafficWindow, replay_network, traffic_windows

FAMILIES = {
    "llm": ("features", "scorer_search"),
    "cluster": ("job_features", "job_search"),
    "prefetch": ("arm_features", "arm_search"),
}
"""Module of ``policies.learning`` and function with the scorer family that each domain's trainings use."""

WORK_FOLDER = "training"
"""Subfolder of the policy folder for the checkpoint."""


@dataclass(frozen=True, slots=True)
class AdversaryOptions:
    """How hard the adversary tries.

    Attributes:
        generations: Iterations of the search.
        population: Candidates a generation.
        elites: Best candidates that the search follows.
        windows: Stretches of validation traffic, all replayed for each candidate.
        window_items: Longest stretch, in items of the trace.
        seed: Seed of the search and of the windows.
        workers: Processes that replay; they change no result.
    """

    generations: int = 6
    population: int = 16
    elites: int = 4
    windows: int = 2
    window_items: int = 6_000
    seed: int = 0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class AdversaryReport:
    """What the search found.

    Attributes:
        ratio: Worst tail of the guarded system over the fallback's: of the latencies the one that suffers most, its
            mean over ``TAIL_QUANTILES`` (geometric), mean over windows.
        start_ratio: The same of the candidate that the search started at.
        replays: Guarded replays spent.
        generations: Best ratio of each generation.
    """

    ratio: float
    start_ratio: float
    replays: int
    generations: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The report in JSON's types."""
        return asdict(self) | {"generations": list(self.generations)}


@dataclass(frozen=True, slots=True)
class GuardedHarm:
    """Scores parameter vectors by the harm that they do behind the guard; what ``cem_search`` calls, picklable.

    Attributes:
        search: Features and normalisation of the scorer.
        layout: Layout of the observations.
        windows: Traffic to score on, with the fallback's tails and the guard that networks stand behind.
    """

    search: ScorerSearch
    layout: Layout
    windows: tuple[TrafficWindow, ...]

    def network(self, vector: NDArray[np.float64]) -> ReplicaScorer:
        """The scorer with these parameters."""
        search = self.search
        tensors = unflatten(vector, scorer_shapes(len(search.features), search.hidden))
        return ReplicaScorer(self.layout, search.features, search.mean, search.std, tensors)

    def __call__(self, candidate: Candidate) -> float:
        """Minus the log of the ratio, mean over the windows: the lower, the more harm."""
        network = self.network(candidate[0])
        return -float(np.mean([self._harm(window, network) for window in self.windows]))

    def _harm(self, window: TrafficWindow, network: ReplicaScorer) -> float:
        run = replay_network(window, network)
        if run.results is None:
            raise HandrailError("the guarded run failed; nothing stands behind the fallback")
        return worst_log_ratio(domain_of(window.system).tails(run.results, TAIL_QUANTILES), window.fallback_tails)


def worst_log_ratio(ours: NDArray[np.float64], fallback: NDArray[np.float64]) -> float:
    """Log of our tails over the fallback's (both shape (latencies, quantiles)): mean over quantiles, largest latency.

    A tail that is lost and was not before counts ``LOST_LOG_RATIO``.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(ours) - np.log(fallback)
    logs = np.nan_to_num(logs, nan=0.0, posinf=LOST_LOG_RATIO, neginf=-LOST_LOG_RATIO)
    return float(logs.mean(axis=1).max())


def train_adversary(
    trace: Any,
    scenario: Scenario,
    options: AdversaryOptions,
    out: Path,
    *,
    guarded_policy: str = "bundled",
    command: str = "",
    say: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[float, float], None] = lambda _done, _total: None,
) -> AdversaryReport:
    """Search an adversary against the guard of ``guarded_policy`` and write its policy folder ``out``.

    The folder has that guard beside the network, so that ``compare --policy out`` meets the guard it was trained
    against. A search that was broken off goes on where it stopped when called the same way again.

    Args:
        trace: The whole trace; only its validation part is used.
        scenario: Window, load, system, objective, fallback.
        options: How hard to try.
        out: The policy folder; ``out/training`` holds the checkpoint.
        guarded_policy: Whose guard it is, as ``--policy`` takes it.
        command: The command line for ``policy.json``.
        say: Told in a few words what is going on.
        on_progress: Told the candidates scored and their number.

    Raises:
        HandrailError: An option is out of range, ``guarded_policy`` is no policy of the domain, the trace has no
            validation part, or the checkpoint is of another search.
    """
    domain = domain_named(scenario.domain)
    check(scenario)
    window = cut_window(trace, scenario)
    # Only its guard is attacked, but a name that is no policy's would mean the domain's default guard.
    domain.make_policy(guarded_policy, domain.system(scenario, window), scenario.seed)
    prepared = prepare(trace, scenario.model_copy(update={"split": "validation"}), say)
    say("calibrating the guard")
    part = cut_split(window, "validation", domain.margins)
    capacity_per_s = domain.capacity_per_s(prepared, part, say)
    jobs = calibration_jobs(window, prepared.system, prepared.scenario, prepared.change, capacity_per_s)
    outcomes = run_jobs(run_calibration, jobs, options.workers)
    thresholds = guard_thresholds(guarded_policy, prepared.system)
    guard = calibrated(thresholds, capacity_per_s, outcomes)

    say("replaying the fallback on the validation windows")
    fallback, seed = scenario.fallback, int(np.random.SeedSequence(options.seed).generate_state(1)[0])
    windows = traffic_windows(window, prepared, fallback, n=options.windows, seed=seed, max_items=options.window_items)
    layout = domain.layout(prepared.system)
    first = windows[0]
    observations = sample_observations(
        first.system, first.trace, fallback, first.objective, measured=first.measured, seed=first.seed
    )
    module, function = FAMILIES[domain.name]
    set_up = getattr(import_module(f"....policies.learning.{module}", __name__), function)
    search: ScorerSearch = set_up(layout, observations, ())
    score = GuardedHarm(search, layout, tuple(drawn.behind_guard(guard, fallback) for drawn in windows))
    total, done = options.generations * options.population, 0

    def one_more() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    say(f"searching {len(search.start)} parameters against the guard on {len(windows)} windows")
    result = cem_search(
        score,
        search.start,
        search.first_std,
        population=options.population,
        elites=options.elites,
        iterations=options.generations,
        seed=options.seed,
        workers=options.workers,
        checkpoint=out / WORK_FOLDER / "adversary.json",
        fingerprint=_fingerprint(trace, scenario, options, guard),
        on_score=one_more,
    )
    report = _report(result, options, len(windows))
    best = min(result.iterations, key=lambda iteration: iteration.best_value)
    save_policy(
        out,
        domain=domain.name,  # type: ignore[arg-type]
        name=f"adversary on {Path(trace.name).name}",
        architecture=ScorerArchitecture(
            features=tuple(FeatureCard.of(f) for f in search.features), hidden=search.hidden
        ),
        layout=layout,
        mean=search.mean,
        std=search.std,
        tensors=dict(unflatten(np.array(best.best), scorer_shapes(len(search.features), search.hidden))),
        training=TrainingCard(
            trace=Path(trace.name).name,
            trace_sha256=trace.content_hash,
            algorithm="cem",
            seed=options.seed,
            settings={
                **{name: value for name, value in asdict(options).items() if name not in ("seed", "workers")},
                "objective": "guarded-tail-ratio",
                "split": "validation",
                "replays": report.replays,
                "guard_sha256": hashlib.sha256(guard.to_json().encode()).hexdigest(),
                "load": scenario.load,
                "rate": scenario.rate,
                "fallback": fallback,
            },
            command=command,
        ),
        metrics={
            "validation": {
                "guarded_tail_ratio": report.ratio,
                "start_ratio": report.start_ratio,
                "windows": len(windows),
            }
        },
    )
    (out / GUARD_FILE).write_text(thresholds.to_json(), encoding="utf-8")
    return report


def _report(result: CemResult, options: AdversaryOptions, windows: int) -> AdversaryReport:
    found = tuple(math.exp(-iteration.best_value) for iteration in result.iterations)
    start = math.exp(-result.iterations[0].mean_value)
    return AdversaryReport(max(found), start, options.generations * options.population * windows, found)


def _fingerprint(trace: Any, scenario: Scenario, options: AdversaryOptions, guard: GuardConfig) -> str:
    told = (
        trace.content_hash,
        scenario.model_dump_json(),
        options.windows,
        options.window_items,
        guard.to_json(),
        source_hash(),
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()
