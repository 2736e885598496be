"""What becomes of requests that failed in the recording (0 response tokens)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..errors import TraceError
from .request_trace import RequestTrace
from .transforms import in_order

Failures = Literal["drop", "keep", "retry"]

# A client library's usual back-off: the OpenAI Python client waits between INITIAL_RETRY_DELAY 0.5 s and
# MAX_RETRY_DELAY 8.0 s before it asks again.
RETRY_AFTER_LOW_S = 0.5
RETRY_AFTER_HIGH_S = 8.0
# Responses are drawn from this many successful requests with the nearest prompt lengths.
RETRY_NEIGHBOURS = 64


def handle_failures(trace: RequestTrace, prompt_known: np.ndarray, mode: str, seed: int) -> RequestTrace:
    """Drop, keep or retry the failed requests of ``trace``, and count them in its notes.

    ``retry``: the failed request is replaced by the same request 0.5 to 8 s later (uniform), answered this time; its
    response length is that of a random one among the 64 successful requests with the nearest prompt length, and where
    the recording lost the prompt length too, both lengths are those of a random successful request.

    Args:
        trace: The trace as recorded.
        prompt_known: Whether the recording has the prompt length, bool, shape (n,).
        mode: ``drop``, ``keep`` or ``retry``.
        seed: Seed of the draws for ``retry``.

    Raises:
        TraceError: Unknown mode, or nothing is left after dropping.
    """
    failed = trace.output_tokens == 0
    count = int(failed.sum())
    notes: dict[str, Any] = {**trace.notes, "failed": count, "failures": mode}
    if mode not in ("drop", "keep", "retry"):
        raise TraceError(f"failures={mode!r} is not known; take drop, keep or retry")
    if mode == "keep" or count == 0:
        return trace.replace(notes=notes)
    if count == len(trace):
        raise TraceError("every request failed (0 response tokens), so there is nothing to replay; take another trace")
    if mode == "drop":
        return trace.select(~failed).replace(notes=notes)
    return _retried(trace, failed, prompt_known, np.random.default_rng(seed)).replace(notes=notes)


def _retried(
    trace: RequestTrace, failed: np.ndarray, prompt_known: np.ndarray, rng: np.random.Generator
) -> RequestTrace:
    rows = np.flatnonzero(failed)
    successes = np.flatnonzero(~failed)
    by_length = successes[np.argsort(trace.prompt_tokens[successes], kind="stable")]
    lengths = trace.prompt_tokens[by_length]
    neighbours = min(RETRY_NEIGHBOURS, len(by_length))
    low = np.clip(np.searchsorted(lengths, trace.prompt_tokens[rows]) - neighbours // 2, 0, len(by_length) - neighbours)
    nearest = by_length[low + rng.integers(0, neighbours, len(rows))]
    anyone = successes[rng.integers(0, len(successes), len(rows))]
    delay_s = rng.uniform(RETRY_AFTER_LOW_S, RETRY_AFTER_HIGH_S, len(rows))

    model = np.where(prompt_known[rows], nearest, anyone)
    prompt_tokens, output_tokens = trace.prompt_tokens.copy(), trace.output_tokens.copy()
    prompt_tokens[rows] = np.where(prompt_known[rows], prompt_tokens[rows], trace.prompt_tokens[model])
    output_tokens[rows] = trace.output_tokens[model]
    arrival_s = trace.arrival_s.copy()
    arrival_s[rows] += delay_s
    return in_order(trace.replace(prompt_tokens=prompt_tokens, output_tokens=output_tokens), arrival_s)
