"""Synthetic observations of a prefetch policy, built arm by arm through the public layout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handrail.envs.common import Layout
from handrail.envs.prefetch.arms import Arm
from handrail.envs.prefetch.layout import layout_for

MENU = ("none", "obl:1", "stride:4", "readahead:32", "next-line:32")
LAYOUT = layout_for(len(MENU))
NONE, OBL, STRIDE, READAHEAD, NEXT_LINE = range(len(MENU))


def arms(*rows: dict[str, float], standing: int = OBL, **fields: float) -> NDArray[np.float32]:
    """An observation of the menu with these fields set arm by arm (the rest 0), and the global ``fields``."""
    observation = np.zeros(LAYOUT.size, dtype=np.float32)
    matrix = LAYOUT.replica_matrix(observation)
    names = [field.name for field in LAYOUT.replica_fields]
    for place, label in enumerate(MENU):
        known = {"up": 1.0, "is_off": float(place == NONE), "standing": float(place == standing)}
        known |= {"degree": float(Arm.parse(label).degree)} | (rows[place] if place < len(rows) else {})
        for name, value in known.items():
            matrix[place, names.index(name)] = value
    global_names = [field.name for field in LAYOUT.global_fields]
    for name, value in fields.items():
        LAYOUT.globals(observation)[global_names.index(name)] = value
    return observation


def random_arms(rng: np.random.Generator, layout: Layout = LAYOUT) -> NDArray[np.float32]:
    """Any numbers within bounds, one row marked as standing."""
    high = np.minimum(layout.high, 64.0)
    observation = (rng.random(layout.size) * high).astype(np.float32)
    layout.replica(observation, "up")[:] = 1.0
    marks = layout.replica(observation, "standing")
    marks[:] = 0.0
    marks[rng.integers(layout.n_replicas)] = 1.0
    return observation
