"""Time a decision of every heuristic and architecture: ``python benchmarks/policy_latency.py [REPLICAS ...]``.

Prints microseconds a call of ``predict`` (the best of several repeats, observations in memory). Targets at 4 replicas:
heuristics 10, networks 40.
"""

from __future__ import annotations

import sys
import timeit

import numpy as np

from handrail.envs.llm_serving.layout import layout_for
from handrail.policies import HEURISTICS, make_heuristic
from handrail.policies.network import Feature, Mlp, ReplicaScorer, mlp_shapes, scorer_shapes

FEATURES = (
    *(Feature((name,)) for name in ("drain_s", "prefill_s", "ttft_s", "decode_step_s", "kv_fraction", "waiting")),
    Feature(("inflight",), "log1p"),
    Feature(("decode_step_s", "output_estimate_ktokens")),
)


def main(fleets: list[int]) -> None:
    """Print one line a policy, one column a fleet size."""
    columns = [measure(n) for n in fleets]
    print(f"{'us a decision':28s}" + "".join(f"{n:>8d}" for n in fleets))
    for name in columns[0]:
        print(f"{name:28s}" + "".join(f"{column[name]:8.2f}" for column in columns))


def measure(n_replicas: int) -> dict[str, float]:
    """Microseconds a decision, by policy."""
    layout, rng = layout_for(n_replicas), np.random.default_rng(0)
    observations = [np.ones(layout.size, np.float32) * rng.random(layout.size, np.float32) for _ in range(100)]
    for observation in observations:
        layout.replica(observation, "up")[:] = 1.0
    out = {name: timed(make_heuristic(name, layout).choose, observations) for name in HEURISTICS}
    for hidden in ((), (8,), (16, 16)):
        tensors = {k: rng.standard_normal(s) for k, s in scorer_shapes(len(FEATURES), hidden).items()}
        scorer = ReplicaScorer(layout, FEATURES, np.zeros(len(FEATURES)), np.ones(len(FEATURES)), tensors)
        out[f"replica-scorer {hidden}"] = timed(scorer.act, observations)
    for activation in ("tanh", "relu"):
        tensors = {k: rng.standard_normal(s) for k, s in mlp_shapes(layout.size, [64, 64], n_replicas).items()}
        mlp = Mlp(layout, np.zeros(layout.size), np.ones(layout.size), 10.0, activation, tensors)
        out[f"mlp (64, 64) {activation}"] = timed(mlp.act, observations)
    return out


def timed(choose, observations) -> float:
    """Best mean time over the observations, in microseconds."""

    def once() -> None:
        for observation in observations:
            choose(observation)

    return min(timeit.repeat(once, number=20, repeat=7)) / (20 * len(observations)) * 1e6


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:]] or [4, 32, 256])
