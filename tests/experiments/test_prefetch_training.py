"""Training a prefetch policy from a trace to a policy folder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from handrail.experiments.domains.prefetch_system import PrefetchScenario
from handrail.experiments.domains.prefetch_training import prefetching_finalists, prefetching_settings
from handrail.experiments.finalists import TrainingOptions
from handrail.experiments.scenario import cut_window, prepare
from handrail.policies import load_policy, save_policy
from handrail.policies.card import TrainingCard
from handrail.policies.learning.access_costs import CostWeights
from handrail.traces import load_access_trace

TRACE = load_access_trace("bundled-cache").head(8_000)
SCENARIO = PrefetchScenario(split="train", paced=4, menu=("none", "obl:1", "stride:4", "markov:1"))
NEEDS_TORCH = pytest.mark.skipif(
    not all(find_spec(p) for p in ("torch", "stable_baselines3", "sb3_contrib")), reason="training needs [train]"
)
SHORT = {"steps": 1_000, "iterations": 1, "population": 3, "elites": 2, "windows": 1, "window_items": 1_500}


@pytest.mark.parametrize("algorithm", ["bandit", "cem", pytest.param("ppo", marks=NEEDS_TORCH)])
def test_every_algorithm_gives_networks_that_become_policy_folders(algorithm: str, tmp_path: Path):
    options = TrainingOptions(algorithm=algorithm, **SHORT)
    train = prepare(TRACE, SCENARIO)
    told: list[tuple[float, float]] = []
    finalists = prefetching_finalists(
        options,
        cut_window(TRACE, SCENARIO),
        train,
        tmp_path / "training",
        fingerprint="test",
        seed=0,
        say=lambda words: None,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1][0] == told[-1][1]
    assert len({finalist.label for finalist in finalists}) == len(finalists)
    layout = train.domain.layout(train.system)
    last = finalists[-1]
    save_policy(
        tmp_path / "policy",
        name=algorithm,
        architecture=last.architecture,
        layout=layout,
        mean=last.mean,
        std=last.std,
        tensors=last.tensors,
        training=TrainingCard(
            trace=TRACE.name,
            trace_sha256=TRACE.content_hash,
            algorithm=algorithm,  # type: ignore[arg-type]
            seed=0,
            settings=prefetching_settings(SCENARIO, options),
        ),
        domain="prefetch",
    )
    assert load_policy(tmp_path / "policy", layout, domain="prefetch").card.training.settings["paced"] == 4


def test_the_weights_of_costs_are_named_where_they_count():
    settings = prefetching_settings(SCENARIO, TrainingOptions(algorithm="bandit"), CostWeights(tail=0.5))
    assert settings["tail_weight"] == 0.5
    assert "tail_weight" not in prefetching_settings(SCENARIO, TrainingOptions(algorithm="cem"))
