"""Turns what a router knows into the observation vector of `layout.layout_for`.

No field looks ahead: output lengths enter as the estimate of the request's class, replicas as their reports of
``telemetry_delay_s`` ago, and the router's own books.
"""

from __future__ import annotations

from copy import copy
from math import exp

import numpy as np
from numpy.typing import NDArray

from ...traces import HandrailError
from .layout import GLOBAL_FIELDS, REPLICA_FIELDS, layout_for
from .prefix_index import PrefixIndex
from .replica import Replica
from .request import Request
from .router_view import KV_TOKENS, PENDING_TOKENS, RUNNING, SEQUENCES, SINCE_S, STEP_S, WAITING, RouterView
from .simulator import DecisionPoint, ServingSimulator

_FIELD = {field.name: i for i, field in enumerate(REPLICA_FIELDS)}
# Sizes at which a latency model is made linear for the router's estimates.
_PREFILL_TOKENS, _SEQUENCES, _KV_SHARE = 2048, 32, 0.5


class RouterObserver:
    """Observation of a decision point, float32 of shape (layout.size,).

    Attach it before the simulator's first `advance`; a simulator takes one.
    """

    def __init__(self, simulator: ServingSimulator) -> None:
        replicas = simulator.replicas
        n = len(replicas)
        self._simulator = simulator
        self.layout = layout_for(n)
        self.view = RouterView(replicas, simulator.config.telemetry_delay_s, simulator.estimator)
        simulator.view = self.view
        models = [_linear_model(replica) for replica in replicas]
        self._prefill_s, self._step_s, self._sequence_s, self._kv_s = (np.array(c) for c in zip(*models, strict=True))
        self._capacity = np.array([float(r.total_blocks * r.block_size) for r in replicas])
        self._max_seqs = np.array([float(r.max_num_seqs) for r in replicas])
        self._low = np.array([f.low for f in REPLICA_FIELDS])
        self._high = np.array([f.high for f in REPLICA_FIELDS])
        self._global_high = [f.high for f in GLOBAL_FIELDS]
        self._matrix = np.zeros((n, len(REPLICA_FIELDS)))
        self._rate_10s = 0.0
        self._rate_60s = 0.0
        self._last_s = 0.0
        self._index: PrefixIndex | None = None
        trace = simulator.trace
        if trace.prefix_blocks is not None and any(r.prefix_caching for r in replicas):
            self._block_tokens = trace.prefix_block_tokens
            chunks = int(self._capacity.sum()) // self._block_tokens
            self._index = PrefixIndex(n, chunks)
            simulator.prefix_index = self._index

    def fork(self, simulator: ServingSimulator) -> RouterObserver:
        """The observer of ``simulator``, a fork of this observer's; it has seen what this one has.

        Raises:
            HandrailError: ``simulator`` is no fork of a simulator with an observer.
        """
        if simulator.view is None:
            raise HandrailError("RouterObserver.fork() takes a fork of the simulator that the observer is attached to")
        twin = copy(self)
        twin._simulator = simulator
        twin.view = simulator.view
        twin._index = simulator.prefix_index
        twin._matrix = self._matrix.copy()
        return twin

    def __call__(self, point: DecisionPoint) -> NDArray[np.float32]:
        """The observation at a decision point: a new array, every value within the layout's bounds."""
        view = self.view
        now_s = point.now_s
        view.look(now_s)
        request = self._simulator.request_at_decision
        estimate = self._simulator.estimator.estimate(request)
        seen = view.seen
        tokens = request.prompt + request.generated
        prefix = self._prefix_fraction(request)
        new_tokens = tokens if prefix is None else tokens * (1.0 - prefix)

        inflight = view.inflight
        backlog = seen[:, PENDING_TOKENS] + view.unseen_tokens
        sequences = seen[:, SEQUENCES]
        since_s = now_s - seen[:, SINCE_S]
        # Context grows by one token a sequence and step since the report.
        step_s = seen[:, STEP_S]
        kv_tokens = seen[:, KV_TOKENS] + sequences * (since_s / np.maximum(step_s, 1e-9)) * (step_s > 0.0)
        rest_s = np.maximum(step_s - since_s, 0.0)
        batch = np.minimum(inflight + 1.0, self._max_seqs)
        decode_step_s = self._step_s + self._sequence_s * batch + self._kv_s * kv_tokens
        prefill_s = self._prefill_s * new_tokens
        backlog_s = rest_s + backlog * self._prefill_s
        each = np.maximum(inflight, 1.0)
        active = np.minimum(each, self._max_seqs)
        decode_s = view.decode_tokens * decode_step_s / active
        # A place or KV blocks that are not free come free as those in flight end, one remaining output at a time.
        left_s = view.decode_tokens / each * decode_step_s
        over_seqs = np.maximum(inflight + 1.0 - self._max_seqs, 0.0) / self._max_seqs
        over_kv = np.maximum(kv_tokens + backlog + tokens - self._capacity, 0.0) / self._capacity

        matrix = self._matrix
        matrix[:, 0] = point.action_mask
        matrix[:, 1] = seen[:, WAITING]
        matrix[:, 2] = seen[:, PENDING_TOKENS] * 1e-3
        matrix[:, 3] = seen[:, RUNNING]
        matrix[:, 4] = kv_tokens / self._capacity
        matrix[:, 5] = inflight
        matrix[:, 6] = view.prefill_tokens * 1e-3
        matrix[:, 7] = backlog_s + decode_s
        matrix[:, 8] = backlog_s + prefill_s + (over_seqs + over_kv) * left_s
        matrix[:, 9] = prefill_s
        matrix[:, 10] = decode_step_s
        matrix[:, 11] = 0.0 if prefix is None else prefix
        np.maximum(matrix, self._low, out=matrix)
        np.minimum(matrix, self._high, out=matrix)

        gap_s = now_s - self._last_s
        self._last_s = now_s
        self._rate_10s = self._rate_10s * exp(-gap_s / 10.0) + 0.1
        self._rate_60s = self._rate_60s * exp(-gap_s / 60.0) + 1.0 / 60.0
        out = np.empty(self.layout.size, dtype=np.float32)
        block = matrix.size
        out[:block] = matrix.ravel()
        high = self._global_high
        out[block] = min(tokens * 1e-3, high[0])
        out[block + 1] = min(estimate * 1e-3, high[1])
        out[block + 2] = min(self._rate_10s, high[2])
        out[block + 3] = min(self._rate_60s, high[3])
        out[block + 4] = 1.0 - self._simulator.n_up / len(matrix)
        return out

    def _prefix_fraction(self, request: Request) -> NDArray[np.float64] | None:
        if self._index is None:
            return None
        keys = self._simulator.arrivals.prefix_ids(request.row)
        request.chunk_keys = keys
        matched_tokens = self._index.matched_chunks(keys) * self._block_tokens
        return np.minimum(matched_tokens, request.prompt - 1) / request.prompt


def _linear_model(replica: Replica) -> tuple[float, float, float, float]:
    """Seconds per prompt token, per decode step, per sequence and per context token of a decode step.

    Secants of the latency model at ordinary sizes; exact where the model is linear.
    """
    latency, overhead_s = replica.latency, replica.overhead_s
    size = min(_PREFILL_TOKENS, replica.token_budget)
    prefill_s = (overhead_s + latency.step_s(size, size * (size + 1) * 0.5, 0, 0)) / size
    sequences = max(2, min(_SEQUENCES, replica.max_num_seqs))
    one_s = latency.step_s(0, 0.0, 1, 0)
    sequence_s = (latency.step_s(0, 0.0, sequences, 0) - one_s) / (sequences - 1)
    kv_tokens = max(1.0, replica.total_blocks * replica.block_size * _KV_SHARE)
    kv_s = (latency.step_s(0, 0.0, 1, kv_tokens) - one_s) / kv_tokens
    return prefill_s, overhead_s + one_s - sequence_s, sequence_s, kv_s
