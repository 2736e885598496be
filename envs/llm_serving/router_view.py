"""What a router knows of its fleet: the replicas' reports, which are old, and its own books, which are not.

A report describes the replica's batch as it was when it last changed, no later than ``delay_s`` ago. What the router
sent since then and cannot yet see in a report stands in its own books. Everything is kept in arrays over the replicas,
so a decision costs no Python loop over them.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from .output_estimator import OutputEstimator
from .replica import Replica
from .request import Request

# Columns of `RouterView.seen`.
WAITING, PENDING_TOKENS, RUNNING, KV_TOKENS, SEQUENCES, STEP_S, SINCE_S = range(7)


class RouterView:
    """Kept by the simulator's event handlers while an observer is attached.

    Attributes:
        seen: What the router sees of the reports, shape (R, 7), by the columns named above.
        inflight: Requests sent there and not ended, shape (R,).
        prefill_tokens: Prompt tokens sent there without a first token yet, shape (R,).
        decode_tokens: Expected output tokens after the first of the requests in flight, shape (R,).
        unseen_tokens: Prompt tokens sent there that no visible report can include, shape (R,).
    """

    def __init__(self, replicas: list[Replica], delay_s: float, estimator: OutputEstimator) -> None:
        n = len(replicas)
        self.delay_s = delay_s
        self._estimator = estimator
        self.seen = np.zeros((n, 7))
        self.inflight = np.zeros(n)
        self.prefill_tokens = np.zeros(n)
        self.decode_tokens = np.zeros(n)
        self.unseen_tokens = np.zeros(n)
        self._reports: deque[tuple[float, int, tuple[float, ...]]] = deque()
        self._unseen: deque[tuple[float, int, float]] = deque()
        for replica in replicas:
            replica.reporting = True

    def fork(self, estimator: OutputEstimator) -> RouterView:
        """A copy that goes its own way, for a fork of the simulator with this ``estimator``."""
        twin = RouterView([], self.delay_s, estimator)
        for name in ("seen", "inflight", "prefill_tokens", "decode_tokens", "unseen_tokens", "_reports", "_unseen"):
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def look(self, now_s: float) -> None:
        """Bring `seen` and `unseen_tokens` to what is visible now."""
        visible_s = now_s - self.delay_s
        reports, seen = self._reports, self.seen
        while reports and reports[0][0] <= visible_s:
            _, replica, row = reports.popleft()
            seen[replica] = row
        unseen = self._unseen
        while unseen and unseen[0][0] <= visible_s:
            _, replica, tokens = unseen.popleft()
            self.unseen_tokens[replica] -= tokens

    # What the simulator tells

    def report(self, replica: Replica, now_s: float) -> None:
        """A replica's batch or queue has changed."""
        busy = replica.busy
        kv_tokens = replica.record_kv if busy else 0
        for request, _, _ in replica.chunks:
            kv_tokens += request.computed
        self._reports.append(
            (
                now_s,
                replica.index,
                (
                    len(replica.waiting),
                    replica.pending_tokens,
                    len(replica.running),
                    kv_tokens,
                    replica.record_n if busy else 0,
                    replica.a_s if busy else 0.0,
                    replica.anchor_s if busy else now_s,
                ),
            )
        )

    def sent(self, request: Request, replica: int, there_s: float) -> None:
        """The router has sent a request, which reaches the replica at ``there_s``."""
        request.estimate = max(self._estimator.estimate(request) - 1.0, 0.0)
        tokens = request.prompt + request.generated
        self.inflight[replica] += 1.0
        self.decode_tokens[replica] += request.estimate
        if request.first_token_s < 0.0:
            self.prefill_tokens[replica] += request.prompt
        self.unseen_tokens[replica] += tokens
        self._unseen.append((there_s, replica, tokens))

    def first_token(self, request: Request) -> None:
        """A request's first token came back through the router."""
        self.prefill_tokens[request.replica] -= request.prompt

    def ended(self, request: Request, replica: int) -> None:
        """A request ended or was turned away."""
        self.inflight[replica] -= 1.0
        self.decode_tokens[replica] -= request.estimate
        if request.first_token_s < 0.0:
            self.prefill_tokens[replica] -= request.prompt

    displaced = ended
