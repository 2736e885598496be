"""A rule that needs no report from any replica: the router's own books, weighed by how fast each replica is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....envs.common import Layout
from ...fields import global_index, replica_slice
from .base import ScoredHeuristic

DECODE_SHARE = 0.2
"""What a request in flight counts of a thousand prompt tokens, chosen on validation parts (bundled, Azure 2023): with 0
the gaps between tokens grow on the bundled trace, with 1 the time to first token does on all three."""

LEAST_KTOKENS = 1e-3


class OwnBooks(ScoredHeuristic):
    """Shortest prefill backlog by own count, in seconds of that replica, plus a share for what is in flight.

    Score = t x (prompt tokens sent there without a first token yet + this prompt's new tokens + ``DECODE_SHARE`` x
    requests in flight), with t the replica's time for a thousand prompt tokens. Counts and speeds are the router's own,
    so that broken telemetry changes nothing: the last rung behind a guard that doubts its sensors.
    """

    name = "own-books"
    knows = "none"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self._inflight = replica_slice(layout, "inflight")
        self._backlog = replica_slice(layout, "inflight_prefill_ktokens")
        self._prefill_s = replica_slice(layout, "prefill_s")
        self._prefix = replica_slice(layout, "prefix_fraction")
        self._prompt = global_index(layout, "prompt_ktokens")

    def scores(self, observation: NDArray[np.float32]) -> NDArray[np.floating]:
        new_ktokens = observation[self._prompt] * (1.0 - observation[self._prefix])
        prefill_s = observation[self._prefill_s]
        per_ktoken_s = prefill_s / np.maximum(new_ktokens, LEAST_KTOKENS)
        ahead = observation[self._backlog] + DECODE_SHARE * observation[self._inflight]
        return prefill_s + per_ktoken_s * ahead
