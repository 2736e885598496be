"""Renumbering ids so that neither their order nor their distance tells anything."""

from __future__ import annotations

import numpy as np

from ..errors import TraceError
from .access_trace import AccessTrace
from .columns import PERMUTED


def permute_keys(trace: AccessTrace, seed: int) -> AccessTrace:
    """The same trace with keys 0..distinct - 1, dealt out by a permutation drawn from ``seed``.

    Where ids are numbered in order of first appearance, the next id is what comes next: that tells the future. Equal
    keys stay equal, so hits and misses without address-based prefetching stay as they are.

    Raises:
        TraceError: ``seed`` is negative.
    """
    if seed < 0:
        raise TraceError(f"seed must be 0 or more, got {seed}")
    distinct, rank = np.unique(trace.key, return_inverse=True)
    numbers = np.random.default_rng(seed).permutation(len(distinct)).astype(np.int64)
    return trace.replace(key=numbers[rank.ravel()], notes={**trace.notes, PERMUTED: seed})
