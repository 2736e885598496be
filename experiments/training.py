"""Training a policy: on the train part of a trace, selected on its validation part, reported on its test part.

All three parts are brought to the scenario's load. The test part is replayed exactly as ``compare`` replays it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..policies import save_policy
from ..policies.card import TrainingCard
from ..policies.learning.tally import TrainingTally
from ..policies.parallel import ordered_map
from ..traces.errors import HandrailError
from .domains import domain_named
from .finalists import TrainingOptions
from .guarded_training import check_options, ready
from .guarding import GUARD_FILE
from .provenance import source_hash
from .replay import replay
from .scenario import Prepared, Scenario, cut_window, prepare
from .tail_search import Behind, NetworkScore, TrafficWindow, replay_network, traffic_windows

VALIDATION_WINDOWS = 2
"""Stretches of the validation part, each with its own random shifts."""

LEARNED, GUARDED = "learned", "learned, guarded"
"""The trained policy among what the test part is replayed under: alone, and behind the guard of its training."""

WORK_FOLDER = "training"
"""Subfolder of the policy folder for checkpoint and TensorBoard events."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What training gave.

    Attributes:
        label: Which of the finalists was chosen.
        validation_scores: Score of each finalist on validation by label, 0 = the fallback, lower is better.
        differs_from_fallback: Share of the test part's decisions in which the policy chose otherwise.
        test: Metrics on the test part by policy: the learned one under ``learned``, then (if it was trained behind a
            guard) behind that guard under ``learned, guarded``, then every heuristic.
        fallback: The heuristic that scores are relative to.
        trained_load: What was done to the rate of the train part, in words.
        test_load: The same for the test part.
        setting: What a reader must know of the scenario itself.
        during: What the training did to the system that it explored on, by name (see ``TrainingTally``); None where
            nothing was explored step by step.
        guarded: Whether it was trained, selected and reported behind a guard.
    """

    label: str
    validation_scores: dict[str, float]
    differs_from_fallback: float
    test: dict[str, dict[str, Any]]
    fallback: str
    trained_load: str
    test_load: str
    setting: tuple[str, ...] = ()
    during: dict[str, int | float] | None = None
    guarded: bool = False

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the result."""
        notes = list(self.setting)
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
            "during_training": self.during,
            "guarded": self.guarded,
            "notes": self.notes,
        }


def train_policy(
    trace: Any,
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
        scenario: Window, load, system, objective, fallback; its split is not used.
        options: How to train.
        out: The policy folder; ``out/training`` holds checkpoint and TensorBoard events.
        command: The command line for ``policy.json``.
        say: Told in a few words what is going on.
        on_progress: Told how far the present part is, and of how much.

    Raises:
        HandrailError: An option is out of range, the trace is too short for three parts, or the extra ``[train]`` is
            missing (algorithms that need it).
    """
    domain = domain_named(scenario.domain)
    if options.algorithm not in domain.algorithms:
        raise HandrailError(f"--algo {options.algorithm!r} is unknown; choose one of {', '.join(domain.algorithms)}")
    check_options(options)
    parts = {
        split: prepare(trace, scenario.model_copy(update={"split": split}), say)
        for split in ("train", "validation", "test")
    }
    window = cut_window(trace, scenario)
    train_seed, validation_seed = (int(s.generate_state(1)[0]) for s in np.random.SeedSequence(options.seed).spawn(2))
    readied = ready(options, window, parts["train"], say)
    options, tally = readied.options, TrainingTally()
    behind = Behind(options.guard, scenario.fallback) if options.guard is not None else None
    finalists = domain.finalists(
        options,
        window,
        parts["train"],
        out / WORK_FOLDER,
        fingerprint=_fingerprint(trace, scenario, options),
        seed=train_seed,
        say=say,
        on_progress=on_progress,
        tally=tally,
    )

    say("selecting on validation")
    validation = traffic_windows(
        window, parts["validation"], scenario.fallback, n=VALIDATION_WINDOWS, seed=validation_seed
    )
    validation = [drawn.behind_guard(options.guard, scenario.fallback) for drawn in validation]
    scores: dict[str, float] = {}
    with ordered_map(NetworkScore(tuple(validation)), options.workers) as score:
        for finalist, value in zip(finalists, score([f.network for f in finalists]), strict=True):
            scores[finalist.label] = math.inf if math.isnan(value) else value
            on_progress(len(scores), len(finalists))
    chosen = min(finalists, key=lambda f: scores[f.label])

    say("replaying the test part under the policy and every heuristic")
    test, differs = _test(parts["test"], chosen.network, behind, options.workers, on_progress)
    report = TrainingReport(
        chosen.label,
        scores,
        differs,
        test,
        scenario.fallback,
        parts["train"].change.sentence(),
        parts["test"].change.sentence(),
        tuple(domain.notes(parts["test"])),
        _during(tally, readied.fallback_share),
        options.guarded,
    )
    save_policy(
        out,
        domain=domain.name,  # type: ignore[arg-type]
        name=f"{options.algorithm} on {Path(trace.name).name}",
        architecture=chosen.architecture,
        layout=domain.layout(parts["train"].system),
        mean=chosen.mean,
        std=chosen.std,
        tensors=chosen.tensors,
        training=TrainingCard(
            trace=Path(trace.name).name,
            trace_sha256=trace.content_hash,
            algorithm=options.algorithm,  # type: ignore[arg-type]
            seed=options.seed,
            settings=domain.training_settings(scenario, options),
            command=command,
        ),
        metrics={
            "validation": {"score": scores[chosen.label], "windows": len(validation), "finalists": len(finalists)},
            "test": _card_metrics(report, parts["test"]),
            **({} if report.during is None else {"training": report.during}),
        },
    )
    if options.guard is not None:
        (out / GUARD_FILE).write_text(options.guard.to_json(), encoding="utf-8")
    return report


@dataclass(frozen=True, slots=True)
class _TestReplay:
    """Replays the test part under the network, alone or guarded, or under a heuristic, by name; picklable."""

    prepared: Prepared
    network: Any
    behind: Behind | None

    def __call__(self, name: str) -> tuple[dict[str, Any], float | None]:
        prepared, scenario = self.prepared, self.prepared.scenario
        if name in (LEARNED, GUARDED):
            window = TrafficWindow(
                prepared.system,
                prepared.trace,
                prepared.measured,
                scenario.objective,
                scenario.seed,
                np.empty(0),
                self.behind if name == GUARDED else None,
            )
            run = replay_network(window, self.network, scenario.fallback)
        else:
            run = replay(
                prepared.system,
                prepared.trace,
                name,
                scenario.objective,
                measured=prepared.measured,
                seed=scenario.seed,
            )
        return prepared.domain.metrics(run.results, scenario.objective), run.decisions.differing_share()


def _test(
    prepared: Prepared, network: Any, behind: Behind | None, workers: int, on_progress: Callable[[float, float], None]
) -> tuple[dict[str, dict[str, Any]], float]:
    names = [LEARNED, *([] if behind is None else [GUARDED]), *prepared.domain.rivals(prepared.system)]
    metrics: dict[str, dict[str, Any]] = {}
    differs = 0.0
    with ordered_map(_TestReplay(prepared, network, behind), workers) as run:
        for name, (found, share) in zip(names, run(names), strict=True):
            metrics[name] = found
            differs = share if name == LEARNED and share is not None else differs
            on_progress(len(metrics), len(names))
    return metrics, differs


def _card_metrics(report: TrainingReport, test: Prepared) -> dict[str, bool | int | float | str | None]:
    learned, fallback = report.test[LEARNED], report.test[report.fallback]
    measured = f"measured_{test.domain.items}"
    out: dict[str, bool | int | float | str | None] = {
        "differs_from_fallback": report.differs_from_fallback,
        "fallback": report.fallback,
        measured: learned[measured],
    }
    for metric, key in test.domain.report.training:
        out[f"{metric}.{key}"] = learned[metric][key]
        out[f"{metric}.{key}.fallback"] = fallback[metric][key]
        if GUARDED in report.test:
            out[f"{metric}.{key}.guarded"] = report.test[GUARDED][metric][key]
    return out


def _during(tally: TrainingTally, fallback_share: float | None) -> dict[str, int | float] | None:
    """What the tally holds, beside the fallback's own share of missed objectives where that was measured."""
    if tally.decisions == 0:
        return None
    measured = {} if fallback_share is None else {"violations_per_1000_fallback": 1000.0 * fallback_share}
    return {**tally.to_json(), **measured}


def _fingerprint(trace: Any, scenario: Scenario, options: TrainingOptions) -> str:
    """All that a checkpoint's scores depend on, iterations aside; the code itself included."""
    settings = domain_named(scenario.domain).training_settings(scenario, options)
    settings.pop("iterations", None)
    return f"{trace.content_hash} {settings} {options.hidden} {source_hash()}"
