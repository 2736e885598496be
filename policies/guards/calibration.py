"""The breaker's reference: the fallback's own share of violations by load, from its validation runs."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common.layout import Layout
from ...traces.errors import HandrailError
from ..interface import Feedback, Policy


def reference_curve(
    loads: Sequence[float] | NDArray[np.float64],
    violated: Sequence[bool] | NDArray[np.bool_],
    *,
    window_outcomes: int = 200,
    quantile: float = 0.99,
    bins: int = 8,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A monotone curve load -> share of violations that the fallback itself reaches in a window of outcomes.

    Outcomes come in clusters, so not the mean share but a high quantile of the share over windows of the breaker's own
    length is taken: overlapping windows, sorted by mean load into bins of equal count, one quantile a bin, made
    monotone by pooling adjacent violators (Ayer et al. 1955).

    Args:
        loads: Load that each outcome is charged at, in the order in which outcomes became known, shape (n,).
        violated: Whether each missed its objective, shape (n,).
        window_outcomes: The breaker's window; shorter where there are fewer outcomes.
        quantile: Share of the fallback's windows that shall lie at or below the curve.
        bins: Most points of the curve.

    Returns:
        ``loads`` (rising) and ``shares`` (never falling), of equal length, for ``BreakerConfig``.

    Raises:
        HandrailError: There are no outcomes, or the two are not of one length.
    """
    load = np.asarray(loads, dtype=np.float64)
    missed = np.asarray(violated, dtype=np.float64)
    if load.ndim != 1 or load.shape != missed.shape or load.size == 0:
        raise HandrailError(
            f"calibration needs outcomes in pairs of load and violation, got {load.size}, {missed.size}"
        )
    width = min(window_outcomes, load.size)
    starts = np.arange(0, load.size - width + 1, max(width // 8, 1))
    window_load = _window_means(load, starts, width)
    window_share = _window_means(missed, starts, width)
    order = np.argsort(window_load, kind="stable")
    points: list[tuple[float, float, int]] = []  # mean load, quantile of the share, windows
    for members in np.array_split(order, min(bins, order.size)):
        here = float(window_load[members].mean())
        share = float(np.quantile(window_share[members], quantile))
        points.append((here, share, members.size))
        while len(points) > 1 and (points[-2][1] >= points[-1][1] or points[-2][0] >= points[-1][0]):
            (load_a, share_a, n_a), (load_b, share_b, n_b) = points[-2:]
            n = n_a + n_b
            points[-2:] = [((load_a * n_a + load_b * n_b) / n, (share_a * n_a + share_b * n_b) / n, n)]
    return tuple(p[0] for p in points), tuple(min(max(p[1], 0.0), 1.0) for p in points)


def _window_means(values: NDArray[np.float64], starts: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    sums = np.concatenate(([0.0], np.cumsum(values)))
    return (sums[starts + width] - sums[starts]) / width


class ReferenceCalibrator:
    """A policy that decides as the fallback does and collects what :func:`reference_curve` needs.

    Run it in the fallback's place over validation windows (one object a window), then give the outcomes of all to
    :func:`reference_curve`.

    Attributes:
        loads: Load that each outcome is charged at: the higher of that at its decision and that when it became known.
        violated: Whether each outcome missed its objective.
    """

    def __init__(self, fallback: Policy, layout: Layout, *, load_field: str, capacity_per_s: float) -> None:
        self.loads = array("d")
        self.violated = array("b")
        self.name = getattr(fallback, "name", type(fallback).__name__)
        self._fallback = fallback
        self._layout = layout
        self._load_field = load_field
        self._capacity_per_s = capacity_per_s
        self._load_at = array("d")
        self._feedback: Feedback | None = None

    @property
    def latency_s(self) -> float:
        """The fallback's decision latency, in simulated seconds."""
        return getattr(self._fallback, "latency_s", 0.0)

    def notify(self, feedback: Feedback) -> None:
        """Keep the outcomes until the load of this decision is known, and pass the feedback on."""
        self._feedback = feedback
        notify = getattr(self._fallback, "notify", None)
        if notify is not None:
            notify(feedback)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Decide as the fallback does.

        Raises:
            HandrailError: ``notify`` was not called for this decision.
        """
        if self._feedback is None:
            raise HandrailError("call notify(feedback) before each predict: calibration needs the outcomes")
        load = self._layout.scalar(observation, self._load_field) / self._capacity_per_s
        self._load_at.append(load)
        for outcome in self._feedback.outcomes:
            self.loads.append(max(self._load_at[outcome.decision], load))
            self.violated.append(outcome.violated)
        self._feedback = None
        return self._fallback.predict(observation, state, episode_start, deterministic)
