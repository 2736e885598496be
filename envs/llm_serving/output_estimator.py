"""What a router may believe of output lengths, which it cannot see."""

from __future__ import annotations

from .request import Request


class OutputEstimator:
    """Mean output length of the requests of a class that have ended so far; a prior before any has.

    With ``oracle`` it is the truth instead, which no router knows.
    """

    def __init__(self, prior_tokens: float, *, oracle: bool) -> None:
        self.prior_tokens = prior_tokens
        self.oracle = oracle
        self._count: dict[int, int] = {}
        self._tokens: dict[int, int] = {}

    def fork(self) -> OutputEstimator:
        """A copy that goes its own way."""
        twin = OutputEstimator(self.prior_tokens, oracle=self.oracle)
        twin._count, twin._tokens = self._count.copy(), self._tokens.copy()
        return twin

    def estimate(self, request: Request) -> float:
        """Expected output tokens of a request."""
        if self.oracle:
            return float(request.output)
        count = self._count.get(request.label, 0)
        return self._tokens[request.label] / count if count else self.prior_tokens

    def ended(self, request: Request) -> None:
        """A request's output length is now known."""
        label = request.label
        self._count[label] = self._count.get(label, 0) + 1
        self._tokens[label] = self._tokens.get(label, 0) + request.output
