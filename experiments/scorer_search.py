"""Searching a scorer on the tails themselves, in any domain: the cross-entropy method over stretches of traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs.common import Layout
from ..policies.card import FeatureCard, ScorerArchitecture
from ..policies.learning.cem import cem_search
from ..policies.learning.features import ObservationSample, ScorerSearch
from ..policies.learning.tensorboard_log import search_log
from ..policies.network import scorer_shapes, unflatten
from .domains import domain_of
from .finalists import Finalist, TrainingOptions
from .replay import replay
from .splits import MeasuredWindow
from .tail_search import ScorerScore, TrafficWindow

MAX_SAMPLES = 4000
"""Decisions sampled at most for the normalisation of features."""

SetUp = Callable[[Layout, Sequence[NDArray[np.float32]], Sequence[int]], ScorerSearch]
"""From layout, sampled observations and hidden layers to features, normalisation and where a search starts."""


def sample_observations(
    system: Any, trace: Any, fallback: str, objective: Any, *, measured: MeasuredWindow | None = None, seed: int = 0
) -> list[NDArray[np.float32]]:
    """Observations from all over a replay of ``trace`` under the heuristic ``fallback``."""
    made: list[ObservationSample] = []

    def sampler(_: Layout) -> ObservationSample:
        heuristic = domain_of(system).make_heuristic(fallback, system)
        made.append(ObservationSample(heuristic, max(len(trace) // MAX_SAMPLES, 1)))
        return made[0]

    replay(system, trace, sampler, objective, measured=measured, seed=seed)
    return made[0].observations


def search_scorer(
    windows: tuple[TrafficWindow, ...],
    fallback: str,
    options: TrainingOptions,
    work: Path,
    set_up: SetUp,
    *,
    fingerprint: str = "",
    say: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[float, float], None] = lambda _done, _total: None,
) -> list[Finalist]:
    """Search a scorer on ``windows``, starting where ``set_up`` says.

    Tuned on the very windows that it is then judged on, it shows how much there is to gain there at most.

    Args:
        windows: Traffic to score on.
        fallback: The heuristic whose decisions features are normalised by.
        options: How to search.
        work: Folder for checkpoint and TensorBoard events.
        set_up: The domain's features and start.
        fingerprint: Names what the windows depend on; see ``cem_search``.
        say: Told in a few words what is going on.
        on_progress: Told the candidates scored and their number.

    Returns:
        The start, the mean after each iteration, the last iteration's best.

    Raises:
        HandrailError: An option is out of range, or the checkpoint is of another search.
    """
    first = windows[0]
    layout = domain_of(first.system).layout(first.system)
    say("sampling decisions of the fallback")
    observations = sample_observations(
        first.system, first.trace, fallback, first.objective, measured=first.measured, seed=first.seed
    )
    search = set_up(layout, observations, options.hidden)
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
    return [_finalist(label, score, vector) for label, vector in zip(labels, result.finalists(), strict=True)]


def _finalist(label: str, score: ScorerScore, vector: np.ndarray) -> Finalist:
    search: ScorerSearch = score.search
    return Finalist(
        label,
        score.network(vector),
        ScorerArchitecture(features=tuple(FeatureCard.of(f) for f in search.features), hidden=search.hidden),
        search.mean,
        search.std,
        dict(unflatten(vector, scorer_shapes(len(search.features), search.hidden))),
    )
