"""The contextual bandit: it solves what has a known answer, repeats itself, and becomes a policy folder."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from prefetch_toy import CACHE, LAYOUT, assert_solved, replayed, toy_search, two_tenants

from handrail.policies import load_policy, save_policy
from handrail.policies.card import TrainingCard
from handrail.policies.learning.bandit import BanditSettings, train_bandit
from handrail.traces.errors import HandrailError

TRACE = two_tenants(12_000, seed=1)
TEST = two_tenants(6_000, seed=2)
SETTINGS = BanditSettings(rounds=2, episode_accesses=6_000)

train = partial(train_bandit, TRACE, CACHE, layout=LAYOUT, search=toy_search(TRACE))


def test_it_learns_whom_to_prefetch_for_and_is_saved(tmp_path: Path):
    seen: list[int] = []
    scorers = train(steps=5_000, settings=SETTINGS, on_step=seen.append)
    assert [s.label for s in scorers] == ["step-0", *(f"step-{s.steps}" for s in scorers[1:])]
    assert len(scorers) == 1 + SETTINGS.rounds
    assert seen[-1] == scorers[-1].steps >= 5_000
    last = scorers[-1]
    assert_solved(last.network(LAYOUT), TEST)

    save_policy(
        tmp_path,
        name="two tenants",
        architecture=last.architecture,
        layout=LAYOUT,
        mean=last.mean,
        std=last.std,
        tensors=last.tensors,
        training=TrainingCard(trace="toy", trace_sha256="0" * 64, algorithm="bandit", seed=0),
        domain="prefetch",
    )
    loaded = load_policy(tmp_path, LAYOUT, domain="prefetch").network
    latency_s, chosen = replayed(TEST, lambda tenant, observation: loaded.act(observation))
    expected_s, expected = replayed(TEST, lambda tenant, observation: last.network(LAYOUT).act(observation))
    assert latency_s == expected_s
    np.testing.assert_array_equal(chosen, expected)


def test_one_seed_gives_one_scorer_whatever_the_workers():
    short = partial(train, steps=600, settings=BanditSettings(rounds=1, episode_accesses=1_500, hold=2, horizon=4))
    first, second, other = short(seed=1)[-1], short(seed=1, workers=2)[-1], short(seed=2)[-1]
    np.testing.assert_array_equal(first.tensors["linear"], second.tensors["linear"])
    assert first.steps == second.steps
    assert (first.tensors["linear"] != other.tensors["linear"]).any()


def test_one_arm_may_serve_all():
    config = CACHE.model_copy(update={"per_tenant": False})
    scorers = train_bandit(
        TRACE, config, layout=LAYOUT, search=toy_search(TRACE), steps=300, settings=BanditSettings(rounds=1)
    )
    assert np.isfinite(scorers[-1].tensors["linear"]).all()
    assert scorers[-1].tensors["linear"].any()


def test_no_torch_is_needed():
    import subprocess

    code = (
        "import sys, handrail.policies.learning.bandit; "
        "sys.exit(any(m.split('.')[0] in ('torch', 'stable_baselines3') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_errors_name_the_mend():
    with pytest.raises(HandrailError, match="--steps must be at least 1, got 0"):
        train(steps=0)
    with pytest.raises(HandrailError, match="leave out --hidden"):
        train_bandit(TRACE, CACHE, layout=LAYOUT, search=toy_search(TRACE, (4,)), steps=10)
    with pytest.raises(HandrailError, match="no replay has 900 intervals after a decision"):
        train(steps=10, settings=BanditSettings(horizon=900))


@pytest.mark.parametrize("values", [{"rounds": 0}, {"hold": 9}, {"calm": 0.0}, {"limit": float("inf")}])
def test_settings_out_of_range_are_named(values: dict[str, float]):
    with pytest.raises(HandrailError, match=f"the bandit's {next(iter(values))} must be"):
        BanditSettings(**values)  # type: ignore[arg-type]
