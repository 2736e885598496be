"""A request while it is in the system; its row in the result columns is written when it ends."""

from __future__ import annotations


class Request:
    """One request in flight.

    Attributes:
        row: Row of the trace.
        arrival_s, prompt, output: As in the trace ([s], [tokens], [tokens]).
        generated: Output tokens emitted so far; while decoding it lags, see `generated_base`.
        computed: Known tokens whose KV is computed or being computed (while in prefill).
        pending: Uncomputed prompt tokens that its replica reports for it.
        generated_base: While decoding, ``generated = generated_base + step`` at the end of decode step ``step``.
        finish_step: The decode step that emits its last token; -1 when it is not decoding.
        held: Extents of cached content that it holds, in block order.
        keys: (content key, full blocks) of its prompt's chunks.
        first_record: Number of the first step record that has gaps of its; -1 when it is not decoding.
        leaving: Its last token is in flight: it is not scheduled and keeps its place until that step has ended.
        order: Its replica's running count of admissions when it was admitted last.
        scheduled_s, first_token_s, last_token_s: When that happened, -1 before [s].
        own_start: Blocks of its prompt that have keys; later ones are its own.
        label, estimate: Its class, and the output length the router expected when it sent it [tokens].
        decision: Number of the router's decision that sent it.
        chunk_keys: Its prefix blocks in the trace, once a router has looked at them.
        measured: Whether it counts.
    """

    # Defaults stand in the class: a request is made once an arrival, in the hot path.
    generated = 0
    computed = 0
    generated_base = 0
    finish_step = -1
    first_record = -1
    preemptions = 0
    replica = -1
    leaving = False
    scheduled_s = -1.0
    first_token_s = -1.0
    last_token_s = -1.0
    held: list[int] | None = None
    keys: list[tuple[int, int]] | None = None
    chunk_keys: list[int] | None = None
    own_start = 0
    label = 0
    estimate = 0.0
    order = 0
    decision = -1

    def __init__(self, row: int, arrival_s: float, prompt: int, output: int, measured: bool) -> None:
        self.row = row
        self.arrival_s = arrival_s
        self.prompt = prompt
        self.output = output
        self.measured = measured
        self.pending = prompt

    def fork(self) -> Request:
        """A copy for a forked simulator."""
        twin = Request.__new__(Request)
        twin.__dict__.update(self.__dict__)
        if self.held is not None:
            twin.held = self.held.copy()
        return twin


class RequestForks(dict[Request, Request]):
    """The copies of requests in flight, each made when it is asked for first."""

    def __missing__(self, request: Request) -> Request:
        twin = self[request] = request.fork()
        return twin
