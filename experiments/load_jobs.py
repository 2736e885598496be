"""The load that a job trace offers to a cluster: measuring it, changing it, and saying what was done.

The *offered load* is the GPU-seconds (processor-seconds) of all jobs over the cluster's GPUs (processors) and the time
from the first arrival to the last.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs.cluster import ClusterConfig
from ..traces import JobTrace
from ..traces.errors import HandrailError
from .load import LOAD_TOLERANCE
from .rescale import MAX_COPIES, Kind, rescale

JOBS = Kind("jobs", "job", min_copy_s=86_400.0)

OVERLOAD = 0.95
"""Offered load above which queues only grow, so that a comparison would measure the trace's length."""

STRETCHED_LOAD = 0.8
"""Offered load that such a trace is stretched to."""

N_WINDOWS = 10
"""Parts of the time for which the offered load is given."""


@dataclass(frozen=True, slots=True)
class JobTraffic:
    """How jobs arrive.

    Attributes:
        jobs: Their number.
        duration_s: From the first arrival to the last.
        jobs_per_h: Jobs an hour; None where the duration is 0.
        interarrival_cv: Standard deviation over mean of the times between arrivals; None below 3 jobs.
        offered_load: Offered load; None where it is infinite or the duration is 0.
        window_loads: The same of each tenth of the time, for the jobs that arrive in it.
    """

    jobs: int
    duration_s: float
    jobs_per_h: float | None
    interarrival_cv: float | None
    offered_load: float | None
    window_loads: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class JobLoadChange:
    """What was done to a job trace's rate and what came of it.

    Attributes:
        method: ``superpose``, ``thin``, ``compress``, or ``as-is``.
        factor: Requested factor on the arrival rate.
        copies: Copies that were superposed; 1 with other methods.
        compression: Factor by which time was compressed (below 1: stretched); 1 with other methods.
        target_load: Requested offered load; None where a factor or nothing was asked for.
        stretched: Whether it was stretched because the trace offers more than the cluster can take.
        before: Traffic of the window as recorded.
        after: Traffic as replayed.
    """

    method: str
    factor: float
    copies: int
    compression: float
    target_load: float | None
    stretched: bool
    before: JobTraffic
    after: JobTraffic

    @property
    def utilisation(self) -> float | None:
        """The offered load as replayed."""
        return self.after.offered_load

    def to_json(self) -> dict[str, Any]:
        """The fields and the offered load, in JSON's types."""
        return {**asdict(self), "utilisation": self.utilisation}

    def note(self) -> str | None:
        """A sentence if the trace was stretched or is too much, or the load was missed by more than an eighth."""
        offered = self.utilisation
        if self.stretched:
            before = _number(self.before.offered_load)
            return f"the trace offers {before} of the cluster, so its time is stretched to a load of {_number(offered)}"
        if offered is not None and offered > OVERLOAD and self.target_load is None:
            return (
                f"the trace offers {offered:.3f} of the cluster: queues grow; --load {STRETCHED_LOAD:g} brings it down"
            )
        if self.target_load is None or offered is None or abs(offered / self.target_load - 1.0) <= LOAD_TOLERANCE:
            return None
        return f"a load of {self.target_load:g} was asked for and {offered:.3f} reached"

    def sentence(self) -> str:
        """One line for people: how, by how much, and the load that the cluster is offered."""
        how = {
            "superpose": f"x {self.factor:.4g} by superposing {self.copies} time-shifted copies"
            + (f" and keeping {self.factor / self.copies:.1%}" if self.factor < self.copies else "")
            + (f", of which {self.after.jobs:,} jobs from the middle" if self.copies > MAX_COPIES else ""),
            "thin": f"x {self.factor:.4g} by thinning",
            "compress": f"x {self.compression:.4g} by {'compressing' if self.compression > 1 else 'stretching'} time",
            "as-is": "as recorded",
        }[self.method]
        before, after = self.before, self.after
        grows = " (queues only grow)" if (after.offered_load or 0.0) > OVERLOAD else ""
        parts = [
            f"load: {how}; {_number(before.jobs_per_h)} -> {_number(after.jobs_per_h)} jobs/h",
            f"offered load {_number(before.offered_load)} -> {_number(after.offered_load)}{grows}",
            f"by tenth of the time {' '.join('-' if w is None else f'{w:.2f}' for w in after.window_loads)}",
            f"CV {_number(before.interarrival_cv)} -> {_number(after.interarrival_cv)}",
        ]
        return "; ".join(parts)


def work_s(trace: JobTrace, system: ClusterConfig) -> NDArray[np.float64]:
    """GPU-seconds of each job where the cluster has GPUs, processor-seconds where it has processors, shape (n,)."""
    if system.size_unit == "processors":
        return trace.area_s
    return trace.tasks * trace.gpu_milli / 1000.0 * trace.run_s


def offered_load(trace: JobTrace, system: ClusterConfig) -> float | None:
    """Offered load of ``trace`` on a cluster; None where it is infinite or has no duration."""
    return _load(work_s(trace, system), trace.duration_s, system)


def describe_job_traffic(trace: JobTrace, system: ClusterConfig) -> JobTraffic:
    """Rate, burstiness and offered load, over the whole time and by tenth of it."""
    n, duration_s = len(trace), trace.duration_s
    gaps_s = np.diff(trace.arrival_s)
    cv = float(np.std(gaps_s) / np.mean(gaps_s)) if n >= 3 and duration_s > 0 else None
    windows: tuple[float | None, ...] = ()
    if duration_s > 0:
        part_s, work = duration_s / N_WINDOWS, work_s(trace, system)
        place = np.minimum(((trace.arrival_s - trace.arrival_s[0]) / part_s).astype(np.int64), N_WINDOWS - 1)
        windows = tuple(_load(work[place == k], part_s, system) for k in range(N_WINDOWS))
    per_h = n / duration_s * 3600.0 if duration_s > 0 else None
    return JobTraffic(n, duration_s, per_h, cv, offered_load(trace, system), windows)


def change_job_rate(
    trace: JobTrace,
    factor: float,
    system: ClusterConfig,
    method: str | None = None,
    seed: int = 0,
    *,
    target_load: float | None = None,
    stretched: bool = False,
) -> tuple[JobTrace, JobLoadChange]:
    """Multiply the arrival rate of ``trace`` by ``factor``; see :func:`~handrail.experiments.rescale.rescale`.

    Args:
        trace: The window to be replayed.
        factor: Factor on the arrival rate, > 0.
        system: The cluster, for the offered load.
        method: One of ``LOAD_METHODS``; by default what ``default_method`` says.
        seed: Seed of shifts and of thinning.
        target_load: The load that was asked for, for the record.
        stretched: Whether nobody asked, for the record.

    Raises:
        HandrailError: The factor or method is none, the method cannot reach the factor, or no job is left.
    """
    changed, chosen, copies, compression = rescale(trace, factor, method, seed, JOBS)
    before, after = (describe_job_traffic(t, system) for t in (trace, changed))
    return changed, JobLoadChange(chosen, factor, copies, compression, target_load, stretched, before, after)


def change_job_load(
    trace: JobTrace, target_load: float, system: ClusterConfig, method: str | None = None, seed: int = 0
) -> tuple[JobTrace, JobLoadChange]:
    """Bring ``trace`` to an offered load of ``target_load``; see :func:`change_job_rate`.

    Raises:
        HandrailError: The load is no positive number, the trace has none, or the method cannot reach it.
    """
    if not (math.isfinite(target_load) and target_load > 0):
        raise HandrailError(f"--load must be a positive share of capacity, not {target_load:g}")
    offered = offered_load(trace, system)
    if not offered:
        raise HandrailError(
            f"{trace.name}: the window offers no finite load (fewer than two arrival times, or jobs that never end); "
            "use a longer one, or --rate"
        )
    factor = target_load / offered
    return change_job_rate(trace, factor, system, method, seed, target_load=target_load)


def stretch_overload(trace: JobTrace, system: ClusterConfig, seed: int = 0) -> tuple[JobTrace, JobLoadChange]:
    """``trace`` as it is, or stretched to ``STRETCHED_LOAD`` where it offers more than ``OVERLOAD``."""
    offered = offered_load(trace, system)
    if offered is None or offered <= OVERLOAD:
        return change_job_rate(trace, 1.0, system, seed=seed)
    return change_job_rate(trace, STRETCHED_LOAD / offered, system, "compress", seed, stretched=True)


def _load(work: NDArray[np.float64], duration_s: float, system: ClusterConfig) -> float | None:
    total_s = float(work.sum())
    return total_s / (system.size * duration_s) if duration_s > 0 and math.isfinite(total_s) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
