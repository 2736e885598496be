"""Train, validation and test parts of a trace by time, and the measured part of a replayed window.

A trace of duration D gives ``train`` [0, 0.5 D), ``validation`` [0.5 D + gap, 0.7 D) and ``test`` [0.7 D + gap, D].
The gap keeps what was in flight in one part out of the next; it must be longer than the longest sojourn, which only a
replay can show: :func:`gap_note` compares the two afterwards.

Within a replayed window the first seconds fill the queues (warm-up) and the last ones keep requests coming until what
was measured has ended (cool-down). Both are replayed and neither is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..traces.errors import HandrailError

SplitName = Literal["all", "train", "validation", "test"]
SPLIT_NAMES: tuple[str, ...] = get_args(SplitName)

TRAIN_END, VALIDATION_END = 0.5, 0.7
"""Where the parts end, as shares of the trace's duration."""

GAP_SHARE = 0.02
"""Gap as a share of the trace's duration, where that is longer than the domain's shortest."""

MAX_GAP_SHARE = 0.06
"""The gap never takes more than this share, so that parts of a short trace are not empty."""

WARMUP_SHARE, COOLDOWN_SHARE = 0.10, 0.15
"""Largest share of a window that warm-up and cool-down may each take."""

MIN_FOR_MARGINS = 2_000
"""Items below which a window is measured whole: its margins would cost more than its start and end distort."""


@dataclass(frozen=True, slots=True)
class Margins:
    """How long what a domain's traces hold stays in the system, and what it is called.

    Attributes:
        item: The noun for a row of the trace.
        gap_s: Shortest gap between two parts, in seconds of the trace's own time.
        warmup_s: Warm-up of a window, in simulated seconds.
        cooldown_s: Cool-down of a window, in simulated seconds.
    """

    item: str = "request"
    gap_s: float = 120.0
    warmup_s: float = 60.0
    cooldown_s: float = 120.0


REQUEST_MARGINS = Margins()
"""Those of LLM requests, which are gone within minutes."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a trace.

    Attributes:
        name: ``all``, ``train``, ``validation`` or ``test``.
        start_s: Start, in seconds of the trace's own time.
        end_s: End (exclusive), in the same seconds.
        gap_s: Seconds left out before this part; 0 where nothing comes before it.
    """

    name: str
    start_s: float
    end_s: float
    gap_s: float


@dataclass(frozen=True, slots=True)
class MeasuredWindow:
    """Which arrivals of a replayed window are measured: those in [start_s, end_s), in simulated seconds."""

    start_s: float
    end_s: float

    def mask(self, arrival_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of ``arrival_s`` (seconds, shape (n,)) are measured, shape (n,)."""
        return (arrival_s >= self.start_s) & (arrival_s < self.end_s)


def gap_for(duration_s: float, margins: Margins = REQUEST_MARGINS) -> float:
    """Seconds left out between two parts of a trace of ``duration_s``."""
    return min(max(margins.gap_s, GAP_SHARE * duration_s), MAX_GAP_SHARE * duration_s)


def split_parts(trace: Any, margins: Margins = REQUEST_MARGINS) -> dict[str, Part]:
    """All parts of ``trace``, by name."""
    first, last = float(trace.arrival_s[0]), float(trace.arrival_s[-1])
    duration_s = last - first
    after_last = float(np.nextafter(last, np.inf))
    gap_s = gap_for(duration_s, margins)
    train_end, validation_end = first + TRAIN_END * duration_s, first + VALIDATION_END * duration_s
    parts = (
        Part("all", 0.0, after_last, 0.0),
        Part("train", first, train_end, 0.0),
        Part("validation", train_end + gap_s, validation_end, gap_s),
        Part("test", validation_end + gap_s, after_last, gap_s),
    )
    return {part.name: part for part in parts}


def cut_split(trace: Any, name: str, margins: Margins = REQUEST_MARGINS) -> Any:
    """The items of one part, re-based so that the part starts at 0; ``all`` gives the trace itself.

    Raises:
        HandrailError: There is no such part, or it holds no item.
    """
    if name not in SPLIT_NAMES:
        raise HandrailError(f"no split is named {name!r}; choose one of {', '.join(SPLIT_NAMES)}")
    if name == "all":
        return trace
    part = split_parts(trace, margins)[name]
    inside = (trace.arrival_s >= part.start_s) & (trace.arrival_s < part.end_s)
    if not inside.any():
        raise HandrailError(f"{trace.name}: its {name} part holds no {margins.item}; use a longer trace")
    return trace.window(part.start_s, part.end_s)


def measured_window(trace: Any, margins: Margins = REQUEST_MARGINS) -> MeasuredWindow:
    """The measured part of a window that is replayed whole: without warm-up and cool-down.

    A window of fewer than ``MIN_FOR_MARGINS`` items, or that would keep none, is measured whole.
    """
    if len(trace) < MIN_FOR_MARGINS:
        return whole_window()
    first, last = float(trace.arrival_s[0]), float(trace.arrival_s[-1])
    warmup_s = min(margins.warmup_s, WARMUP_SHARE * (last - first))
    cooldown_s = min(margins.cooldown_s, COOLDOWN_SHARE * (last - first))
    window = MeasuredWindow(first + warmup_s, last - cooldown_s)
    return window if window.mask(trace.arrival_s).any() else whole_window()


def whole_window() -> MeasuredWindow:
    """A window that measures every arrival."""
    return MeasuredWindow(0.0, float("inf"))


def gap_note(gap_s: float, longest_sojourn_s: float) -> str | None:
    """A sentence if the gap before a part was not longer than the longest sojourn seen, else ``None``."""
    if gap_s <= 0 or gap_s > longest_sojourn_s:
        return None
    return (
        f"the gap before this split ({gap_s:.1f} s) is not longer than the longest sojourn ({longest_sojourn_s:.1f} s)"
    )
