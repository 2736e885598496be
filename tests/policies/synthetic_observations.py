"""Synthetic observations for policy tests, built field by field through the public layout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handrail.envs.common import Layout


def observe(layout: Layout, **fields: object) -> NDArray[np.float32]:
    """An observation with every replica up and the given fields set; all else is 0."""
    observation = np.zeros(layout.size, dtype=np.float32)
    layout.replica(observation, "up")[:] = 1.0
    global_names = [f.name for f in layout.global_fields]
    for name, value in fields.items():
        if name in global_names:
            layout.globals(observation)[global_names.index(name)] = value
        else:
            layout.replica(observation, name)[:] = value
    return observation


def random_observation(layout: Layout, rng: np.random.Generator) -> NDArray[np.float32]:
    """A busy fleet: whole counts, continuous times, one replica in eight down (never all)."""
    n = layout.n_replicas
    up = (rng.random(n) > 0.125).astype(float)
    up[rng.integers(n)] = 1.0
    return observe(
        layout,
        up=up,
        waiting=rng.integers(0, 5, n),
        waiting_ktokens=rng.random(n) * 10,
        running=rng.integers(0, 40, n),
        kv_fraction=rng.random(n),
        inflight=rng.integers(0, 40, n),
        inflight_prefill_ktokens=rng.random(n) * 20,
        drain_s=rng.random(n) * 30,
        ttft_s=rng.random(n) * 3,
        prefill_s=rng.random(n) * 0.3,
        decode_step_s=0.01 + rng.random(n) * 0.03,
        prefix_fraction=rng.random(n) * (rng.random(n) > 0.5),
        prompt_ktokens=rng.random() * 4,
        output_estimate_ktokens=rng.random(),
        rate_10s=rng.random() * 20,
        rate_60s=rng.random() * 20,
    )
