"""What happened over time in one guarded run, beside the fallback's run on the same traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
HALF_OPEN = 2


@dataclass(frozen=True, slots=True)
class Detection:
    """When a guard noticed what had begun.

    Attributes:
        intervened_s: From the onset to the first decision that was not the policy's; None for never.
        intervened_decisions: Decisions until then.
        opened_s: From the onset to the first opening of the supervisor; None for never.
        harmed: Items from the onset to the first intervention that attain the objective under the fallback alone.
    """

    intervened_s: float | None
    intervened_decisions: int | None
    opened_s: float | None
    harmed: int


@dataclass(frozen=True, slots=True)
class Return:
    """How the policy came back.

    Attributes:
        after_s: From the end to the policy's first decision with the supervisor closed; None for never.
        harmed_by_probes: Items decided by probes that attain the objective under the fallback alone.
    """

    after_s: float | None
    harmed_by_probes: int


def harmed_rows(guarded: Arrays, fallback: Arrays) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Rows, and their arrivals, of items that attain the objective under the fallback and not behind the guard."""
    rows, ours, theirs = np.intersect1d(guarded["row"], fallback["row"], assume_unique=True, return_indices=True)
    worse = fallback["attained"][theirs] & ~guarded["attained"][ours]
    return rows[worse], guarded["arrival_s"][ours][worse]


def detect(facts: Mapping[str, Any], guarded: Arrays, fallback: Arrays, onset_s: float) -> Detection:
    """Time to detect what began at ``onset_s``."""
    times_s, learned = guarded["decision_s"], guarded["learned"]
    first = int(np.searchsorted(times_s, onset_s, side="left"))
    objected = np.nonzero(~learned[first:])[0]
    at = first + int(objected[0]) if len(objected) else None
    intervened_s = None if at is None else float(times_s[at]) - onset_s
    opened = [t[0] for t in facts["guard"]["transitions"] if t[3] == "open" and t[0] >= onset_s]
    until_s = np.inf if intervened_s is None else onset_s + intervened_s
    _, arrivals_s = harmed_rows(guarded, fallback)
    harmed = int(np.count_nonzero((arrivals_s >= onset_s) & (arrivals_s <= until_s)))
    return Detection(
        intervened_s, None if at is None else at - first, min(opened) - onset_s if opened else None, harmed
    )


def come_back(guarded: Arrays, fallback: Arrays, end_s: float) -> Return:
    """Time to return after ``end_s``, and what probes cost over the whole run."""
    times_s, learned, state = guarded["decision_s"], guarded["learned"], guarded["state"]
    back = np.nonzero((times_s >= end_s) & learned & (state == 0))[0]
    probes = guarded["item"][learned & (state == HALF_OPEN)]
    rows, _ = harmed_rows(guarded, fallback)
    return Return(float(times_s[back[0]]) - end_s if len(back) else None, int(np.isin(rows, probes).sum()))


def after_switches(facts: Mapping[str, Any], arrays: Arrays, window_s: float) -> NDArray[np.bool_]:
    """Which measured items arrive within ``window_s`` after a change of the supervisor's state, shape (measured,)."""
    inside = np.zeros(len(arrays["row"]), dtype=bool)
    arrival_s = arrays["arrival_s"]
    for at_s, *_ in facts["guard"]["transitions"]:
        inside |= (arrival_s >= at_s) & (arrival_s < at_s + window_s)
    return inside


def best_of_both(costs: NDArray[np.float64], switches: int) -> NDArray[np.int64]:
    """The cheapest choice of one of two runs for each block with at most ``switches`` changes, by dynamic programming.

    An approximation from below: a queue left behind by one run would be taken over by the other.

    Args:
        costs: Finite cost of each run in each block, shape (2, blocks).
        switches: Most changes from one block to the next.

    Returns:
        0 or 1 for each block, shape (blocks,); of equal costs the earlier change.
    """
    blocks = costs.shape[1]
    best = np.full((switches + 1, 2), np.inf)
    best[0] = costs[:, 0]
    came = np.zeros((blocks, switches + 1, 2), dtype=np.int8)  # 1 where the choice changed on entering the block
    for block in range(1, blocks):
        stay = best
        change = np.full_like(best, np.inf)
        change[1:] = best[:-1, ::-1]
        changed = change < stay
        best = np.where(changed, change, stay) + costs[:, block]
        came[block] = changed
    used, choice = np.unravel_index(int(np.argmin(best)), best.shape)
    out = np.empty(blocks, dtype=np.int64)
    for block in range(blocks - 1, -1, -1):
        out[block] = choice
        if came[block, used, choice]:
            used, choice = used - 1, 1 - choice
    return out


def switches_by_block(guarded: Arrays, start_s: float, span_s: float, blocks: int) -> int:
    """How often the one who makes most of a block's decisions changes from block to block."""
    place = np.clip(((guarded["decision_s"] - start_s) / span_s * blocks).astype(np.int64), 0, blocks - 1)
    made = np.bincount(place, minlength=blocks)
    ruled = np.bincount(place, weights=guarded["learned"].astype(float), minlength=blocks)
    rules = ruled[made > 0] > 0.5 * made[made > 0]
    return int(np.count_nonzero(rules[1:] != rules[:-1]))
