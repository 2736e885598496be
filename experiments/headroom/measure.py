"""Headroom of a decision problem on a stretch of a trace, and the share of it that a learned policy takes.

Four answers to "how well could it be done", from the cheap to the impossible: the best single heuristic; the best
heuristic of each time window (chosen afterwards); a scorer searched on the very stretch that it is judged on; and one
step of lookahead with the truth in hand. The headroom is what the best of them is below the fallback. It is a lower
bound: none of the four is optimal.

Whatever is chosen afterwards as the best of many profits from chance. So the same number of placebos (the fallback with
other tie-breaks) goes through the same choice, and stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...envs.common.tails import quantiles
from ...policies.parallel import run_jobs
from ...traces.errors import HandrailError
from ..finalists import TrainingOptions
from ..replay import replay
from ..scenario import Prepared
from ..scorer_search import search_scorer
from ..splits import measured_window
from ..tail_search import TAIL_QUANTILES, NetworkScore, TrafficWindow, replay_network
from .lookahead import Lookahead

WORTH_LEARNING = 0.05
"""Headroom below which a problem is declared not worth learning."""

LOOKAHEAD_ITEMS = {"llm": 60, "cluster": 60, "prefetch": 1500}
"""How many arrivals, at the mean rate, a lookahead sees."""

CANDIDATES = 6
"""Actions that a lookahead compares."""

STATISTICS = ("mean", "p99")


@dataclass(frozen=True, slots=True)
class HeadroomOptions:
    """How headroom is measured.

    Attributes:
        windows: Time windows of which each may have a heuristic of its own.
        items: Longest stretch, from its start.
        iterations, population: Of the search; 0 iterations for none.
        lookahead: Whether to look ahead.
        workers: Processes that replay; they change no result.
        seed: Seed of the search.
    """

    windows: int = 6
    items: int = 6_000
    iterations: int = 6
    population: int = 16
    lookahead: bool = True
    workers: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Contender:
    """What is replayed: a heuristic (with other tie-breaks for a placebo), the lookahead, or the learned policy."""

    kind: str
    name: str
    tie_seed: int | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """The headline metric of the measured items, by arrival."""

    arrival_s: NDArray[np.float64]
    value: NDArray[np.float64]


def measure_headroom(
    prepared: Prepared,
    policy: str,
    options: HeadroomOptions,
    work: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[float, float], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Measure, and say it in JSON's types.

    Args:
        prepared: The trace on its system.
        policy: The learned policy whose share of the headroom is given.
        options: How.
        work: Folder for the search's checkpoint.
        say: Told in a few words what is going on.
        on_progress: Told how far it is.

    Raises:
        HandrailError: The learned policy fails on the way, there are more windows than items, or an option is out of
            range.
    """
    prepared = _shortened(prepared, options.items)
    _check_windows(prepared, options.windows)
    domain, scenario = prepared.domain, prepared.scenario
    rivals = [name for name in domain.rivals(prepared.system) if name != scenario.fallback]
    contenders = [
        _Contender("fallback", scenario.fallback),
        *(_Contender("heuristic", name) for name in rivals),
        *(_Contender("placebo", scenario.fallback, tie_seed) for tie_seed in range(1, len(rivals) + 1)),
        _Contender("learned", policy),
        *([_Contender("lookahead", "lookahead")] if options.lookahead else []),
    ]
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        on_progress(done, len(contenders))

    say("replaying heuristics, placebos, the policy and the lookahead")
    seen = run_jobs(partial(_replay, prepared), contenders, options.workers, one_more)
    runs = dict(zip(contenders, seen, strict=True))
    fallback = runs[contenders[0]]
    assert fallback is not None, "the fallback ends its run"
    edges = _edges(fallback.arrival_s, options.windows)

    found: dict[str, dict[str, Any]] = {}
    heuristics = {c.name: s for c, s in runs.items() if c.kind in ("fallback", "heuristic") and s is not None}
    placebos = {str(c.tie_seed): s for c, s in runs.items() if c.kind == "placebo" and s is not None}
    lookahead = next((s for c, s in runs.items() if c.kind == "lookahead"), None)
    learned = next(s for c, s in runs.items() if c.kind == "learned")
    if learned is None:
        raise HandrailError(f"--policy {policy}: raised or acted illegally on the way; name one that ends its run")
    searched = _search(prepared, options, work, say, on_progress) if options.iterations else None
    for statistic in STATISTICS:
        found[statistic] = _compare(statistic, fallback, heuristics, placebos, searched, lookahead, learned, edges)
    return {
        "domain": domain.name,
        domain.items: len(prepared.trace),
        "metric": domain.report.figure.quantity,
        "fallback": scenario.fallback,
        "policy": policy,
        "windows": options.windows,
        "load": prepared.change.to_json(),
        **found,
    }


def _shortened(prepared: Prepared, items: int) -> Prepared:
    if len(prepared.trace) <= items:
        return prepared
    trace = prepared.trace.head(items)
    return replace(prepared, trace=trace, measured=measured_window(trace, prepared.domain.margins))


def _check_windows(prepared: Prepared, windows: int) -> None:
    """Refuse windows without an item, before any replay.

    Raises:
        HandrailError: There would be one.
    """
    arrival_s = np.asarray(prepared.trace.arrival_s)
    arrival_s = arrival_s[prepared.measured.mask(arrival_s)]
    if windows > len(arrival_s):
        raise HandrailError(
            f"--windows {windows}: the stretch has only {len(arrival_s):,} measured {prepared.domain.items}; "
            "take fewer windows, or a longer stretch by --items"
        )
    if (np.bincount(_window_of(arrival_s, _edges(arrival_s, windows)), minlength=windows) == 0).any():
        raise HandrailError(
            f"--windows {windows}: a window would have none of the {len(arrival_s):,} measured "
            f"{prepared.domain.items}, of which some arrive at once; take fewer windows"
        )


def _replay(prepared: Prepared, contender: _Contender) -> _Seen | None:
    domain, scenario, system = prepared.domain, prepared.scenario, prepared.system

    def build(_: Layout) -> Any:
        if contender.kind == "learned":
            return domain.make_policy(contender.name, system, scenario.seed)
        if contender.kind == "lookahead":
            fallback = domain.make_heuristic(scenario.fallback, system, scenario.seed)
            return Lookahead(fallback, _horizon_s(prepared), CANDIDATES)
        return domain.make_heuristic(contender.name, system, scenario.seed, contender.tie_seed)

    run = replay(system, prepared.trace, build, scenario.objective, measured=prepared.measured, seed=scenario.seed)
    return None if run.results is None else _seen(prepared, run.results)


def _seen(prepared: Prepared, results: Any) -> _Seen:
    measured = np.asarray(results.measured)
    return _Seen(np.asarray(results.arrival_s)[measured], prepared.domain.headline(results)[measured])


def _horizon_s(prepared: Prepared) -> float:
    arrival_s = prepared.trace.arrival_s
    gap_s = float(arrival_s[-1] - arrival_s[0]) / max(len(arrival_s) - 1, 1)
    return gap_s * LOOKAHEAD_ITEMS[prepared.domain.name]


def _search(
    prepared: Prepared,
    options: HeadroomOptions,
    work: Path,
    say: Callable[[str], None],
    on_progress: Callable[[float, float], None],
) -> _Seen | None:
    """The scorer that is best on the stretch that it was searched on."""
    scenario, domain = prepared.scenario, prepared.domain
    base = replay(
        prepared.system,
        prepared.trace,
        scenario.fallback,
        scenario.objective,
        measured=prepared.measured,
        seed=scenario.seed,
    )
    window = TrafficWindow(
        prepared.system,
        prepared.trace,
        prepared.measured,
        scenario.objective,
        scenario.seed,
        domain.tails(base.results, TAIL_QUANTILES),
    )
    training = TrainingOptions(
        algorithm="cem",
        seed=options.seed,
        iterations=options.iterations,
        population=options.population,
        elites=max(options.population // 4, 2),
        windows=1,
        per_iteration=1,
        workers=options.workers,
    )
    work.mkdir(parents=True, exist_ok=True)
    finalists = search_scorer(
        (window,),
        scenario.fallback,
        training,
        work,
        _set_up(domain.name),
        fingerprint=prepared.trace.content_hash,
        say=say,
        on_progress=on_progress,
    )
    networks = [finalist.network for finalist in finalists]
    scores = run_jobs(NetworkScore((window,)), networks, options.workers)
    run = replay_network(window, networks[int(np.argmin(scores))])
    return None if run.results is None else _seen(prepared, run.results)


def _set_up(domain: str) -> Any:
    """The domain's features and start of a search."""
    if domain == "llm":
        from ...policies.learning.features import scorer_search

        return scorer_search
    if domain == "cluster":
        from ...policies.learning.job_features import job_search

        return job_search
    from ...policies.learning.arm_features import arm_search

    return arm_search


def _edges(arrival_s: NDArray[np.float64], windows: int) -> NDArray[np.float64]:
    """Window bounds in time, with equally many arrivals each; shape (windows - 1,)."""
    return np.quantile(arrival_s, np.arange(1, windows) / windows)


def _window_of(arrival_s: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Number of the window that each arrival falls into."""
    return np.searchsorted(edges, arrival_s, side="right")


def statistic_of(values: NDArray[np.float64], statistic: str) -> float:
    """Mean or p99 of latencies; +inf where it falls among the lost."""
    return float(values.mean()) if statistic == "mean" else float(quantiles(values, (0.99,))[0])


def _by_window(seen: _Seen, statistic: str, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    place = _window_of(seen.arrival_s, edges)
    return np.array([statistic_of(seen.value[place == k], statistic) for k in range(len(edges) + 1)])


def _pieced(runs: Sequence[_Seen], statistic: str, edges: NDArray[np.float64]) -> float:
    """The statistic over all items when each window has the run that is best in it."""
    each = np.array([_by_window(run, statistic, edges) for run in runs])
    best = each.argmin(axis=0)
    values = [runs[int(k)].value[_window_of(runs[int(k)].arrival_s, edges) == window] for window, k in enumerate(best)]
    return statistic_of(np.concatenate(values), statistic)


def _compare(
    statistic: str,
    fallback: _Seen,
    heuristics: dict[str, _Seen],
    placebos: dict[str, _Seen],
    searched: _Seen | None,
    lookahead: _Seen | None,
    learned: _Seen,
    edges: NDArray[np.float64],
) -> dict[str, Any]:
    base = statistic_of(fallback.value, statistic)
    single = {name: statistic_of(run.value, statistic) for name, run in heuristics.items()}
    best_name = min(single, key=lambda name: single[name])
    answers: dict[str, float | None] = {
        "best_heuristic": single[best_name],
        "best_heuristic_per_window": _pieced(list(heuristics.values()), statistic, edges),
        "searched_on_it": None if searched is None else statistic_of(searched.value, statistic),
        "lookahead": None if lookahead is None else statistic_of(lookahead.value, statistic),
    }
    ours = statistic_of(learned.value, statistic)
    chance = _pieced([fallback, *placebos.values()], statistic, edges)
    known = {name: value for name, value in answers.items() if value is not None and np.isfinite(value)}
    best = min(known.values(), default=base)
    headroom = 1.0 - best / base if 0.0 < base < np.inf else None
    return {
        "fallback": _finite(base),
        "best_heuristic_name": best_name,
        **{name: None if value is None else _finite(value) for name, value in answers.items()},
        "placebos_per_window": _finite(chance),
        "learned": _finite(ours),
        "headroom": headroom,
        "learned_share": (base - ours) / (base - best) if headroom and np.isfinite(ours) and best < base else None,
        "worth_learning": None if headroom is None else headroom >= WORTH_LEARNING,
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
