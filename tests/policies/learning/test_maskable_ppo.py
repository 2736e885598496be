"""MaskablePPO on scheduling scorers: it learns what it must, exports what it learned, and repeats itself."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from job_toy import LAYOUT, SmallestArea, random_queue, share_right
from job_workload import CLUSTER, observations, workload

from handrail.envs.cluster.environment import ClusterSchedulingEnv
from handrail.envs.cluster.layout import layout_for
from handrail.policies import load_policy, save_policy
from handrail.policies.card import TrainingCard
from handrail.policies.learning.against_fallback import AgainstFallback
from handrail.policies.learning.job_features import job_search
from handrail.policies.learning.maskable_ppo import train_maskable_ppo
from handrail.policies.network import ReplicaScorer, scorer_shapes, unflatten
from handrail.traces.errors import HandrailError

pytestmark = pytest.mark.skipif(
    not all(find_spec(p) for p in ("torch", "stable_baselines3", "sb3_contrib")), reason="training needs [train]"
)

BANDIT = {
    "n_steps": 64,
    "batch_size": 128,
    "gamma": 0.0,
    "horizon_s": None,
    "temperature": 1.0,
    "learning_rate": 0.1,
    "target_kl": None,
}


def toy_search(hidden: tuple[int, ...] = ()):
    rng = np.random.default_rng(5)
    return job_search(LAYOUT, [random_queue(rng) for _ in range(300)], hidden)


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_what_the_start_does_not_know_is_learned_logged_and_exported(hidden: tuple[int, ...], tmp_path: Path):
    search = toy_search(hidden)
    seen: list[int] = []
    trained = train_maskable_ppo(
        [SmallestArea] * 4,
        layout=LAYOUT,
        search=search,
        steps=3_000,
        seed=0,
        log_dir=tmp_path / "log",
        snapshots=3,
        settings=BANDIT,
        on_step=seen.append,
    )
    start = unflatten(search.start, scorer_shapes(len(search.features), hidden))
    assert share_right(ReplicaScorer(LAYOUT, search.features, search.mean, search.std, start)) < 0.75
    last = trained[-1]
    assert share_right(last.network(LAYOUT)) > 0.8
    assert [t.steps for t in trained] == sorted({t.steps for t in trained})
    assert len(trained) <= 3
    assert last.steps >= 3_000
    assert last.label == f"step-{last.steps}"
    assert seen[-1] == last.steps
    assert list((tmp_path / "log").glob("events.out.tfevents.*"))

    save_policy(
        tmp_path / "policy",
        name="smallest area",
        architecture=last.architecture,
        layout=LAYOUT,
        mean=last.mean,
        std=last.std,
        tensors=last.tensors,
        training=TrainingCard(trace="toy", trace_sha256="0" * 64, algorithm="maskable-ppo", seed=0),
        domain="cluster",
    )
    loaded = load_policy(tmp_path / "policy", LAYOUT, domain="cluster")
    assert share_right(loaded.network) == share_right(last.network(LAYOUT))


def test_one_seed_gives_one_network():
    run = partial(
        train_maskable_ppo,
        [SmallestArea],
        layout=LAYOUT,
        search=toy_search((4,)),
        steps=300,
        snapshots=1,
        settings=BANDIT,
    )
    first, second, other = run(seed=1)[-1], run(seed=1)[-1], run(seed=2)[-1]
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name])
    assert any((tensor != other.tensors[name]).any() for name, tensor in first.tensors.items())


def test_it_trains_on_the_scheduling_environment():
    layout, trace = layout_for(CLUSTER.window), workload(400, seed=3)

    def env() -> AgainstFallback:
        return AgainstFallback(
            ClusterSchedulingEnv(trace, CLUSTER, split="all", episode_jobs=60), CLUSTER, tail_weight=0.2
        )

    trained = train_maskable_ppo(
        [env, env],
        layout=layout,
        search=job_search(layout, observations(300, seed=2)),
        steps=600,
        settings={"n_steps": 128, "batch_size": 64},
        snapshots=2,
    )
    assert all(np.isfinite(t.tensors["linear"]).all() for t in trained)
    assert (trained[-1].tensors["linear"] != trained[0].tensors["linear"]).any()


def test_no_steps_is_a_clear_error():
    with pytest.raises(HandrailError, match="--steps must be at least 1, got 0"):
        train_maskable_ppo([SmallestArea], layout=LAYOUT, search=toy_search(), steps=0)


@pytest.mark.parametrize("missing", ["torch", "stable_baselines3", "sb3_contrib"])
def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch, missing: str):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(HandrailError, match=r"needs the extra \[train\].*pip install -e '.\[train\]'"):
        train_maskable_ppo([SmallestArea], layout=LAYOUT, search=toy_search(), steps=10)


def test_the_modules_import_without_torch():
    import subprocess

    code = (
        "import sys, handrail.policies.learning.maskable_ppo, handrail.policies.learning.against_fallback; "
        "sys.exit(any(m.split('.')[0] in ('torch', 'stable_baselines3', 'sb3_contrib') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
