"""Training a routing policy: on the train part of a trace, selected on its validation part, reported on its test part.

All three parts are brought to the scenario's load. The test part is replayed exactly as ``compare`` replays it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ..envs.common import Layout
from ..envs.llm_serving import layout_for
from ..envs.llm_serving.environment import LLMRoutingEnv
from ..envs.llm_serving.metrics import compute_metrics
from ..policies import HEURISTICS, make_heuristic, save_policy
from ..policies.card import FeatureCard, MlpArchitecture, ScorerArchitecture, TrainingCard
from ..policies.learning.cem import cem_search
from ..policies.learning.dqn import train_dqn
from ..policies.learning.features import ObservationSample, ScorerSearch, scorer_search
from ..policies.learning.parallel import ordered_map
from ..policies.learning.ppo import train_ppo
from ..policies.learning.tensorboard_log import search_log
from ..policies.network import Mlp, ReplicaScorer, scorer_shapes, unflatten
from ..traces import RequestTrace
from ..traces.errors import HandrailError
from .provenance import source_hash
from .replay import replay
from .scenario import Prepared, Scenario, prepare
from .tail_search import NetworkScore, ScorerScore, TrafficWindow, replay_network, traffic_windows

Algorithm = Literal["cem", "ppo", "dqn"]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)

VALIDATION_WINDOWS = 2
"""Stretches of the validation part, each with its own random shifts."""

MAX_SAMPLES = 4000
"""Decisions sampled at most for the normalisation of features."""

EPISODE_REQUESTS = 4096
"""Requests an episode of PPO and DQN: long enough for queues to fill and drain."""

ENVIRONMENTS = {"ppo": 4, "dqn": 1}
"""Environments side by side."""

WORK_FOLDER = "training"
"""Subfolder of the policy folder for checkpoint and TensorBoard events."""

TABLE_METRICS = (("ttft_s", "p50"), ("ttft_s", "p99"), ("e2e_s", "p50"), ("e2e_s", "p99"))


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How to train.

    Attributes:
        algorithm: ``cem``, ``ppo`` or ``dqn``.
        seed: Seed of everything that training draws.
        iterations: Of the search.
        population: Candidates an iteration of the search.
        elites: Best candidates that the search follows.
        hidden: Sizes of the scorer's hidden layers; none for a linear scorer.
        windows: Stretches of training traffic for the search.
        per_iteration: How many of them an iteration replays.
        window_requests: Longest stretch, in requests.
        steps: Environment steps of PPO and DQN.
        workers: Processes that replay; they change no result.
    """

    algorithm: Algorithm = "cem"
    seed: int = 0
    iterations: int = 12
    population: int = 32
    elites: int = 8
    hidden: tuple[int, ...] = ()
    windows: int = 6
    per_iteration: int = 2
    window_requests: int = 12_000
    steps: int = 500_000
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Finalist:
    """A network that validation may choose, with all that a policy folder needs of it."""

    label: str
    network: ReplicaScorer | Mlp
    architecture: ScorerArchitecture | MlpArchitecture
    mean: np.ndarray
    std: np.ndarray
    tensors: dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What training gave.

    Attributes:
        label: Which of the finalists was chosen.
        validation_scores: Score of each finalist on validation by label, 0 = the fallback, lower is better.
        differs_from_fallback: Share of the test part's decisions in which the policy chose otherwise.
        test: Metrics on the test part by policy: the learned one under ``learned``, then every heuristic.
        fallback: The heuristic that scores are relative to.
        trained_load: What was done to the rate of the train part, in words.
        test_load: The same for the test part.
    """

    label: str
    validation_scores: dict[str, float]
    differs_from_fallback: float
    test: dict[str, dict[str, Any]]
    fallback: str
    trained_load: str
    test_load: str

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the result."""
        notes = []
        if self.validation_scores[self.label] >= 0:
            notes.append(f"on validation nothing beats the fallback {self.fallback}; do not deploy this policy")
        if self.differs_from_fallback == 0:
            notes.append(f"the policy is a copy of the fallback {self.fallback}: no decision differs")
        return notes

    def to_json(self) -> dict[str, Any]:
        """The report in JSON's types."""
        return {
            "chosen": self.label,
            "validation_scores": {k: v if math.isfinite(v) else None for k, v in self.validation_scores.items()},
            "differs_from_fallback": self.differs_from_fallback,
            "fallback_policy": self.fallback,
            "test": self.test,
            "notes": self.notes,
        }


def train_policy(
    trace: RequestTrace,
    scenario: Scenario,
    options: TrainingOptions,
    out: Path,
    *,
    command: str = "",
    say: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[float, float], None] = lambda _done, _total: None,
) -> TrainingReport:
    """Train, select, report, and write the policy folder ``out``.

    Args:
        trace: The whole trace.
        scenario: Window, load, fleet, objective, fallback; its split is not used.
        options: How to train.
        out: The policy folder; ``out/training`` holds checkpoint and TensorBoard events.
        command: The command line for ``policy.json``.
        say: Told in a few words what is going on.
        on_progress: Told how far the present part is, and of how much.

    Raises:
        HandrailError: An option is out of range, the trace is too short for three parts, or the extra ``[train]`` is
            missing (PPO and DQN).
    """
    if options.algorithm not in ALGORITHMS:
        raise HandrailError(f"--algo {options.algorithm!r} is unknown; choose one of {', '.join(ALGORITHMS)}")
    parts = {
        split: prepare(trace, scenario.model_copy(update={"split": split}), say)
        for split in ("train", "validation", "test")
    }
    layout = layout_for(len(parts["train"].fleet.replicas))
    window = trace if scenario.window_s is None else trace.window(*scenario.window_s)
    train_seed, validation_seed = (int(s.generate_state(1)[0]) for s in np.random.SeedSequence(options.seed).spawn(2))
    if options.algorithm == "cem":
        say("replaying the fallback on the training windows")
        windows = traffic_windows(
            window,
            parts["train"],
            scenario.fallback,
            n=options.windows,
            seed=train_seed,
            max_requests=options.window_requests,
        )
        finalists = search_scorer(
            tuple(windows),
            scenario.fallback,
            options,
            out / WORK_FOLDER,
            fingerprint=_fingerprint(trace, scenario, options),
            say=say,
            on_progress=on_progress,
        )
    else:
        finalists = _fit(options, layout, parts["train"], out / WORK_FOLDER, say, on_progress)

    say("selecting on validation")
    validation = traffic_windows(
        window, parts["validation"], scenario.fallback, n=VALIDATION_WINDOWS, seed=validation_seed
    )
    scores: dict[str, float] = {}
    with ordered_map(NetworkScore(tuple(validation)), options.workers) as score:
        for finalist, value in zip(finalists, score([f.network for f in finalists]), strict=True):
            scores[finalist.label] = math.inf if math.isnan(value) else value
            on_progress(len(scores), len(finalists))
    chosen = min(finalists, key=lambda f: scores[f.label])

    say("replaying the test part under the policy and every heuristic")
    test, differs = _test(parts["test"], chosen.network, options.workers, on_progress)
    report = TrainingReport(
        chosen.label,
        scores,
        differs,
        test,
        scenario.fallback,
        parts["train"].change.sentence(),
        parts["test"].change.sentence(),
    )
    save_policy(
        out,
        name=f"{options.algorithm} on {Path(trace.name).name}",
        architecture=chosen.architecture,
        layout=layout,
        mean=chosen.mean,
        std=chosen.std,
        tensors=chosen.tensors,
        training=TrainingCard(
            trace=Path(trace.name).name,
            trace_sha256=trace.content_hash,
            algorithm=options.algorithm,
            seed=options.seed,
            settings=_settings(scenario, options),
            command=command,
        ),
        metrics={
            "validation": {"score": scores[chosen.label], "windows": len(validation), "finalists": len(finalists)},
            "test": _card_metrics(report),
        },
    )
    return report


def search_scorer(
    windows: tuple[TrafficWindow, ...],
    fallback: str,
    options: TrainingOptions,
    work: Path,
    *,
    fingerprint: str = "",
    say: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[float, float], None] = lambda _done, _total: None,
) -> list[Finalist]:
    """Search a replica scorer on ``windows``, starting at expected drain.

    Tuned on the very windows that it is then judged on, it shows how much there is to gain there at most.

    Args:
        windows: Traffic to score on.
        fallback: The heuristic whose decisions features are normalised by.
        options: How to search.
        work: Folder for checkpoint and TensorBoard events.
        fingerprint: Names what the windows depend on; see ``cem_search``.
        say: Told in a few words what is going on.
        on_progress: Told the candidates scored and their number.

    Returns:
        The start, the mean after each iteration, the last iteration's best.

    Raises:
        HandrailError: An option is out of range, or the checkpoint is of another search.
    """
    layout = layout_for(len(windows[0].fleet.replicas))
    say("sampling decisions of the fallback")
    sampled: list[ObservationSample] = []

    def sampler(layout: Layout) -> ObservationSample:
        stride = max(len(windows[0].trace) // MAX_SAMPLES, 1)
        sampled.append(ObservationSample(make_heuristic(fallback, layout), stride))
        return sampled[0]

    first = windows[0]
    replay(first.fleet, first.trace, sampler, first.objective, measured=first.measured, seed=first.seed)
    search = scorer_search(layout, sampled[0].observations, options.hidden)
    score = ScorerScore(search, layout, windows, min(options.per_iteration, len(windows)))
    say(f"searching {len(search.start)} parameters on {len(windows)} windows")
    total, done = options.iterations * options.population, 0

    def one_more() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    with search_log(work) as log:
        result = cem_search(
            score,
            search.start,
            search.first_std,
            population=options.population,
            elites=options.elites,
            iterations=options.iterations,
            seed=options.seed,
            workers=options.workers,
            checkpoint=work / "search.json",
            fingerprint=fingerprint,
            on_score=one_more,
            on_iteration=log.iteration,
        )
    labels = ["start", *(f"mean-{i + 1}" for i in range(len(result.iterations))), "best"]
    return [_scorer_finalist(label, score, vector) for label, vector in zip(labels, result.finalists(), strict=True)]


def _scorer_finalist(label: str, score: ScorerScore, vector: np.ndarray) -> Finalist:
    search: ScorerSearch = score.search
    return Finalist(
        label,
        score.network(vector),
        ScorerArchitecture(features=tuple(FeatureCard.of(f) for f in search.features), hidden=search.hidden),
        search.mean,
        search.std,
        dict(unflatten(vector, scorer_shapes(len(search.features), search.hidden))),
    )


def _fit(
    options: TrainingOptions,
    layout: Layout,
    prepared: Prepared,
    work: Path,
    say: Callable[[str], None],
    on_progress: Callable[[float, float], None],
) -> list[Finalist]:
    requests = min(EPISODE_REQUESTS, len(prepared.trace))
    env_fns = [
        partial(LLMRoutingEnv, prepared.trace, prepared.fleet, split="all", episode_requests=requests, seed=seed)
        for seed in range(ENVIRONMENTS[options.algorithm])
    ]
    say(f"training {options.algorithm} for {options.steps:,} steps")
    train = train_ppo if options.algorithm == "ppo" else train_dqn
    networks = train(
        env_fns,
        steps=options.steps,
        seed=options.seed,
        log_dir=work,
        on_step=lambda steps: on_progress(min(steps, options.steps), options.steps),
    )
    return [
        Finalist(f"step-{n.steps}", n.network(layout), n.architecture, n.mean, n.std, dict(n.tensors)) for n in networks
    ]


@dataclass(frozen=True, slots=True)
class _TestReplay:
    """Replays the test part under a network (given) or a heuristic (by name); picklable."""

    prepared: Prepared
    network: ReplicaScorer | Mlp

    def __call__(self, heuristic: str | None) -> tuple[dict[str, Any], float | None]:
        prepared, scenario = self.prepared, self.prepared.scenario
        if heuristic is None:
            window = TrafficWindow(
                prepared.fleet, prepared.trace, prepared.measured, scenario.objective, scenario.seed, np.empty(0)
            )
            run = replay_network(window, self.network, scenario.fallback)
        else:
            run = replay(
                prepared.fleet,
                prepared.trace,
                heuristic,
                scenario.objective,
                measured=prepared.measured,
                seed=scenario.seed,
            )
        return compute_metrics(run.results, scenario.objective), run.decisions.differing_share()


def _test(
    prepared: Prepared, network: ReplicaScorer | Mlp, workers: int, on_progress: Callable[[float, float], None]
) -> tuple[dict[str, dict[str, Any]], float]:
    names = [None, *HEURISTICS]
    metrics: dict[str, dict[str, Any]] = {}
    differs = 0.0
    with ordered_map(_TestReplay(prepared, network), workers) as run:
        for name, (found, share) in zip(names, run(names), strict=True):
            metrics[name or "learned"] = found
            differs = share if name is None and share is not None else differs
            on_progress(len(metrics), len(names))
    return metrics, differs


def _card_metrics(report: TrainingReport) -> dict[str, bool | int | float | str | None]:
    learned, fallback = report.test["learned"], report.test[report.fallback]
    out: dict[str, bool | int | float | str | None] = {
        "differs_from_fallback": report.differs_from_fallback,
        "fallback": report.fallback,
        "measured_requests": learned["measured_requests"],
    }
    for metric, key in TABLE_METRICS:
        out[f"{metric}.{key}"] = learned[metric][key]
        out[f"{metric}.{key}.fallback"] = fallback[metric][key]
    return out


def _settings(scenario: Scenario, options: TrainingOptions) -> dict[str, Any]:
    common = {
        "replicas": scenario.replicas,
        "preset": scenario.preset,
        "load": scenario.load,
        "rate": scenario.rate,
        "load_by": scenario.load_by,
        "window_s": None if scenario.window_s is None else str(scenario.window_s),
        "telemetry_delay_s": scenario.telemetry_delay_s,
        "fallback": scenario.fallback,
        "scenario_seed": scenario.seed,
    }
    if options.algorithm != "cem":
        return common | {"steps": options.steps, "episode_requests": EPISODE_REQUESTS}
    return common | {
        "iterations": options.iterations,
        "population": options.population,
        "elites": options.elites,
        "windows": options.windows,
        "per_iteration": options.per_iteration,
        "window_requests": options.window_requests,
    }


def _fingerprint(trace: RequestTrace, scenario: Scenario, options: TrainingOptions) -> str:
    """All that a checkpoint's scores depend on, iterations aside; the code itself included."""
    settings = {k: v for k, v in _settings(scenario, options).items() if k != "iterations"}
    return f"{trace.content_hash} {settings} {options.hidden} {source_hash()}"
