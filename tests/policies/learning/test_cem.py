"""Cross-entropy search: finds minima, repeats itself whatever the workers, and resumes where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from search_scores import TARGET, failing, noisy_quadratic, partly_undefined, quadratic

from handrail.policies.learning import cem
from handrail.policies.learning.cem import cem_search
from handrail.traces.errors import HandrailError

START, STD = np.zeros(3), np.ones(3)


@pytest.mark.parametrize("score", [quadratic, noisy_quadratic])
def test_the_minimum_is_found(score):
    result = cem_search(score, START, STD, population=40, elites=8, iterations=25, seed=1)
    np.testing.assert_allclose(result.iterations[-1].mean, TARGET, atol=0.2)
    assert result.iterations[-1].mean_value < 0.05 * result.iterations[0].mean_value


def test_candidate_0_is_the_mean_and_the_elites_are_the_best():
    result = cem_search(quadratic, START, STD, population=12, elites=3, iterations=2, seed=0, smoothing=1.0)
    first, second = result.iterations
    assert first.mean_value == quadratic((START, 0))
    assert second.mean_value == quadratic((np.array(first.mean), 1))
    assert first.best_value == quadratic((np.array(first.best), 0)) <= first.elite_value < first.mean_value


def test_undefined_scores_count_as_the_worst():
    result = cem_search(partly_undefined, START, STD, population=40, elites=8, iterations=20, seed=0)
    np.testing.assert_allclose(result.iterations[-1].mean, TARGET, atol=0.3)


def test_all_scores_undefined_leaves_the_search_where_it_is():
    def always_nan(candidate: cem.Candidate) -> float:
        return float("nan")

    result = cem_search(always_nan, START, STD, population=6, elites=2, iterations=2)
    assert result.iterations[-1].mean == tuple(START)
    assert result.iterations[-1].std == tuple(STD)


def test_a_deviation_of_0_keeps_a_parameter():
    result = cem_search(quadratic, [0.0, 7.0, 0.0], [1.0, 0.0, 1.0], population=20, elites=5, iterations=5)
    assert all(iteration.mean[1] == pytest.approx(7.0, abs=1e-12) for iteration in result.iterations)


def test_finalists_are_start_means_and_the_last_best():
    result = cem_search(quadratic, START, STD, population=6, elites=2, iterations=3)
    finalists = result.finalists()
    assert len(finalists) == 5
    np.testing.assert_array_equal(finalists[0], START)
    np.testing.assert_array_equal(finalists[3], result.iterations[2].mean)
    np.testing.assert_array_equal(finalists[4], result.iterations[2].best)


def test_two_workers_find_what_one_finds():
    one = cem_search(noisy_quadratic, START, STD, population=8, elites=3, iterations=3, seed=5, workers=1)
    two = cem_search(noisy_quadratic, START, STD, population=8, elites=3, iterations=3, seed=5, workers=2)
    assert one == two
    assert one != cem_search(noisy_quadratic, START, STD, population=8, elites=3, iterations=3, seed=6)


def test_a_broken_off_search_resumes_to_the_same_end(tmp_path: Path):
    path = tmp_path / "search.json"
    options = {"population": 8, "elites": 3, "seed": 2, "fingerprint": "trace"}
    whole = cem_search(noisy_quadratic, START, STD, iterations=5, **options)
    cem_search(noisy_quadratic, START, STD, iterations=2, checkpoint=path, **options)
    scored = []

    def counted(candidate: cem.Candidate) -> float:
        scored.append(candidate[1])
        return noisy_quadratic(candidate)

    ticks, told = [], []
    resumed = cem_search(
        counted,
        START,
        STD,
        iterations=5,
        checkpoint=path,
        on_score=lambda: ticks.append(1),
        on_iteration=lambda number, iteration: told.append((number, iteration)),
        **options,
    )
    assert told == list(enumerate(whole.iterations))
    assert resumed == whole
    assert scored == [2] * 8 + [3] * 8 + [4] * 8
    assert len(ticks) == 40


def test_a_checkpoint_of_another_search_is_refused(tmp_path: Path):
    path = tmp_path / "search.json"
    cem_search(quadratic, START, STD, population=6, elites=2, iterations=1, checkpoint=path, fingerprint="a")
    with pytest.raises(HandrailError, match=r"search\.json: the checkpoint is of a search with another fingerprint"):
        cem_search(quadratic, START, STD, population=6, elites=2, iterations=1, checkpoint=path, fingerprint="b")
    with pytest.raises(HandrailError, match="another population, seed"):
        cem_search(
            quadratic, START, STD, population=7, elites=2, iterations=1, seed=1, checkpoint=path, fingerprint="a"
        )
    for text in ("{", "[]", json.dumps({"iterations": [{"best": 1}]})):
        path.write_text(text)
        with pytest.raises(HandrailError, match=r"search\.json: not a readable checkpoint.*delete it"):
            cem_search(quadratic, START, STD, population=6, elites=2, iterations=1, checkpoint=path)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_score_comes_through(workers: int):
    with pytest.raises(ValueError, match="the replay failed"):
        cem_search(failing, START, STD, population=4, elites=2, iterations=1, workers=workers)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elites": 1}, "--elites"),
        ({"elites": 8}, "--elites"),
        ({"iterations": 0}, "--iterations"),
        ({"workers": 0}, "--workers"),
        ({"smoothing": 0.0}, "smoothing"),
        ({"std": [1.0, 1.0]}, "one shape"),
        ({"std": [1.0, 1.0, -1.0]}, "not negative"),
        ({"mean": [0.0, np.nan, 0.0]}, "finite"),
    ],
)
def test_arguments_out_of_range_are_clear_errors(changes: dict[str, object], message: str):
    arguments = {"mean": START, "std": STD, "population": 8, "elites": 3, "iterations": 2, **changes}
    with pytest.raises(HandrailError, match=message):
        cem_search(quadratic, arguments.pop("mean"), arguments.pop("std"), **arguments)
