"""Train the batch scheduling policy that is bundled as ``policies/pretrained/cluster_batch``.

It sees nothing but workloads of the project's own Lublin-model generator: 128 and 256 processors, several loads, run
times known as RLScheduler's protocol has it (the request is the run time). MaskablePPO starts at SJF with EASY
backfilling; the cross-entropy method then refines what it found, and smallest area first with EASY too. The score of a
policy over sequences of 1,024 jobs on a cluster that is empty at first is

    log(mean bounded slowdown / best mean of SJF, SAF and F1 with EASY)
        + max(0, log(p99 wait / (1.03 p99 wait of FCFS with EASY)))

averaged over the kinds of workload. Finalists are chosen on sequences of other seeds.

    python benchmarks/train_batch_policy.py --out policies/pretrained/cluster_batch
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scheduling_sequences import EASY_HEURISTICS, WINDOW, Sequences, batch_cluster, play, play_scorer

from handrail.envs.cluster import layout_for
from handrail.envs.cluster.environment import ClusterSchedulingEnv
from handrail.envs.cluster.metrics import Objective
from handrail.experiments.scorer_search import sample_observations
from handrail.policies import save_policy
from handrail.policies.card import FeatureCard, ScorerArchitecture, TrainingCard
from handrail.policies.learning.against_fallback import AgainstFallback
from handrail.policies.learning.cem import cem_search
from handrail.policies.learning.features import ScorerSearch
from handrail.policies.learning.job_features import ESTIMATE, SCHEDULING_FEATURES, job_search, search_from
from handrail.policies.learning.maskable_ppo import train_maskable_ppo
from handrail.policies.network import Feature, ReplicaScorer, scorer_shapes, unflatten
from handrail.policies.parallel import ordered_map
from handrail.traces import JobTrace
from handrail.traces.cluster.lublin import generate
from handrail.traces.cluster.lublin_config import LublinConfig

KINDS = ((256, 1.0), (128, 0.7))
"""Processors and factor on the arrival rate of each kind of workload."""

LENGTH = 1024
TRAIN_EACH, TEST_EACH = 20, 24
"""Sequences a kind for training and for choosing."""

FEATURES = (*SCHEDULING_FEATURES, Feature(("wait_s",)))
"""The wait itself too: its logarithm alone cannot put very long waits before all else."""

AREA = Feature(("size_share", "estimate_s"), "log1p")

WAIT_MARGIN, WAIT_WEIGHT = 1.03, 1.0
PPO_ENVIRONMENTS, TAIL_WEIGHT = 8, 1.0


@dataclass(frozen=True)
class Kind:
    """Sequences of one kind of workload with what the heuristics make of them.

    Attributes:
        sequences: The jobs and the cluster.
        best: Mean bounded slowdown of each sequence under each of SJF, SAF and F1 with EASY, shape (3, n).
        waits_s: Waits under FCFS with EASY, one array a sequence.
    """

    sequences: Sequences
    best: np.ndarray
    waits_s: tuple[np.ndarray, ...]


def workload(processors: int, rate: float, jobs: int, seed: int) -> JobTrace:
    """A generated trace whose users ask for exactly what they need."""
    trace = generate(LublinConfig(jobs=jobs, processors=processors), seed)
    trace = trace.scale_rate(rate) if rate != 1.0 else trace
    return trace.replace(estimate_s=np.array(trace.run_s))


def make_kind(processors: int, rate: float, n: int, seed: int) -> Kind:
    """``n`` sequences, each from a trace of its own, taken from its middle."""
    parts = []
    for k in range(n):
        trace = workload(processors, rate, 3 * LENGTH, seed + k)
        parts.append(trace.rows(LENGTH, LENGTH))
    sequences = Sequences(tuple(parts), batch_cluster(processors))
    best = np.array([[played.slowdown.mean() for played in play(sequences, name)] for name in EASY_HEURISTICS])
    return Kind(sequences, best, tuple(played.wait_s for played in play(sequences, "fcfs")))


@dataclass(frozen=True)
class Score:
    """The score of a parameter vector; what ``cem_search`` calls, picklable."""

    search: ScorerSearch
    kinds: tuple[Kind, ...]

    def scorer(self, vector: np.ndarray) -> ReplicaScorer:
        """The scorer with these parameters."""
        shapes = scorer_shapes(len(self.search.features), self.search.hidden)
        return ReplicaScorer(
            layout_for(WINDOW), self.search.features, self.search.mean, self.search.std, unflatten(vector, shapes)
        )

    def __call__(self, candidate: tuple[np.ndarray, int]) -> float:
        vector, _ = candidate
        scorer = self.scorer(vector)
        total = 0.0
        for kind in self.kinds:
            played = play_scorer(kind.sequences, scorer)
            slowdown = np.mean([p.slowdown.mean() for p in played])
            wait_s = np.quantile(np.concatenate([p.wait_s for p in played]), 0.99)
            fcfs_s = np.quantile(np.concatenate(kind.waits_s), 0.99)
            total += math.log(slowdown / kind.best.mean(axis=1).min())
            total += WAIT_WEIGHT * max(0.0, math.log((wait_s + 60.0) / (WAIT_MARGIN * fcfs_s + 60.0)))
        return total / len(self.kinds)


def smallest_area(search: ScorerSearch) -> np.ndarray:
    """The search's start with the area in the place of the run time."""
    vector = search.start.copy()
    estimate, area = search.features.index(ESTIMATE), search.features.index(AREA)
    vector[area] = vector[estimate] * search.std[area] / search.std[estimate]
    vector[estimate] = 0.0
    return vector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=50_000, help="environment steps of MaskablePPO")
    parser.add_argument("--iterations", type=int, default=10, help="of the search; half as many from PPO")
    parser.add_argument("--population", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    train = tuple(make_kind(p, r, TRAIN_EACH, 1000 * (k + 1)) for k, (p, r) in enumerate(KINDS))
    choose = tuple(make_kind(p, r, TEST_EACH, 100_000 + 1000 * k) for k, (p, r) in enumerate(KINDS))
    observations = [
        observation
        for kind in train
        for part in kind.sequences.parts[:2]
        for observation in sample_observations(kind.sequences.system, part, "sjf", Objective())[::8]
    ]
    layout = layout_for(WINDOW)
    search = job_search(layout, observations, features=FEATURES)
    print(f"{len(search.features)} features, {len(observations):,} observations", flush=True)

    found: dict[str, np.ndarray] = {"start": search.start, "smallest area": smallest_area(search)}
    if arguments.steps:
        long = workload(256, 1.0, 20_000, 7)
        system = batch_cluster(256)
        env_fns = [
            lambda seed=seed: AgainstFallback(
                ClusterSchedulingEnv(long, system, split="all", episode_jobs=LENGTH, seed=seed),
                system.model_copy(update={"backfill": "easy"}),
                TAIL_WEIGHT,
            )
            for seed in range(PPO_ENVIRONMENTS)
        ]
        for trained in train_maskable_ppo(
            env_fns, layout=layout, search=search, steps=arguments.steps, seed=arguments.seed
        ):
            start = search_from(search, trained.tensors).start
            found[f"ppo {trained.label}"] = start
    score = Score(search, train)
    whole = Score(search, choose)
    with ordered_map(whole, arguments.workers) as evaluate:
        values = dict(zip(found, evaluate([(v, 0) for v in found.values()]), strict=True))
    for label, value in values.items():
        print(f"{label}: {value:+.4f}", flush=True)
    ppo_best = min((label for label in values if label.startswith("ppo")), key=values.__getitem__, default=None)
    for origin in ("smallest area", *([ppo_best] if ppo_best else [])):
        result = cem_search(
            score,
            found[origin],
            search.first_std,
            population=arguments.population,
            elites=max(arguments.population // 4, 2),
            iterations=arguments.iterations if origin == "smallest area" else arguments.iterations // 2,
            seed=arguments.seed,
            workers=arguments.workers,
            on_iteration=lambda i, it: print(
                f"  {i} elite {it.elite_value:+.4f} mean {it.mean_value:+.4f}", flush=True
            ),
        )
        last = result.finalists()[1:][-6:]
        for k, vector in enumerate(last):
            found[f"cem from {origin} {k - len(last)}"] = vector
    with ordered_map(whole, arguments.workers) as evaluate:
        values = dict(zip(found, evaluate([(v, 0) for v in found.values()]), strict=True))
    for label, value in sorted(values.items(), key=lambda pair: pair[1]):
        print(f"{label}: {value:+.4f}", flush=True)
    chosen = min(values, key=values.__getitem__)
    vector = found[chosen]
    tensors = unflatten(vector, scorer_shapes(len(search.features), search.hidden))
    save_policy(
        arguments.out,
        domain="cluster",
        name="batch scheduling on Lublin-model workloads",
        architecture=ScorerArchitecture(
            features=tuple(FeatureCard.of(f) for f in search.features), hidden=search.hidden
        ),
        layout=layout,
        mean=search.mean,
        std=search.std,
        tensors=tensors,
        training=TrainingCard(
            trace="generated: lublin",
            trace_sha256=workload(256, 1.0, 3 * LENGTH, 1000).content_hash,
            algorithm="maskable-ppo",
            seed=arguments.seed,
            settings={
                "steps": arguments.steps,
                "iterations": arguments.iterations,
                "population": arguments.population,
                "chosen": chosen,
                "kinds": json.dumps(KINDS),
            },
            command="python benchmarks/train_batch_policy.py",
        ),
        metrics={"validation": {"score": values[chosen], "start": values["start"]}},
    )
    print(f"chosen: {chosen}; {dict(zip((f.label for f in search.features), vector.round(2), strict=False))}")


if __name__ == "__main__":
    main()
