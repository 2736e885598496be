"""Average bounded slowdown on Lublin-1 under RLScheduler's protocol, beside the published figures, and the tails.

    python benchmarks/batch_scheduling.py --data ../shared [--standard]

Ten sequences of 1,024 jobs on 256 processors (Zhang et al., SC'20; the README of DIR-LAB/deep-batch-scheduler). The
mean is over the jobs of a sequence and then over sequences, tails are pooled; the standard deviation is that of the ten
means. With ``--standard`` the same sequences also under this project's standard protocol, where a choice is made anew
whenever something changes, with EASY and conservative backfilling.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from handrail.envs.cluster import ClusterConfig, ClusterSimulator
from handrail.envs.cluster.metrics import bounded_slowdown, wait_s
from handrail.traces import JobTrace, load_job_trace

STARTS = (1981, 2756, 4299, 8850, 3316, 2714, 5228, 7762, 4022, 7085)
LENGTH = 1024
DISCIPLINES = ("fcfs", "sjf", "f1", "wfp3", "unicep")
PUBLISHED = {
    "none": dict(zip(DISCIPLINES, (7273.77, 277.35, 258.37, 337.34, 381.71), strict=True)) | {"RLScheduler": 254.67},
    "reference": dict(zip(DISCIPLINES, (235.82, 73.31, 75.07, 126.50, 103.10), strict=True)) | {"RLScheduler": 58.64},
}
"""Of WFP3 and UNICEP the figures with the true wait; the published ones (19753.53 and 22274.74) use a negative one."""

HEADER = f"{'backfill':12s} {'order':12s} {'mean':>9s} {'sd':>8s} {'published':>10s}  "
HEADER += f"{'slowdown p95':>12s} {'p99':>8s}  {'wait p50':>9s} {'p95':>9s} {'p99':>9s} s"


def row(trace: JobTrace, protocol: str, backfill: str, discipline: str) -> str:
    """One line of the table."""
    knowledge = "user_estimate" if protocol == "rlscheduler" else "true"
    config = ClusterConfig.parse(
        processors=256, discipline=discipline, backfill=backfill, protocol=protocol, knowledge=knowledge
    )
    slowdowns, waits_s = [], []
    for start in STARTS:
        simulator = ClusterSimulator(config, trace.rows(start, LENGTH))
        simulator.advance()
        results = simulator.results()
        slowdowns.append(bounded_slowdown(results))
        waits_s.append(wait_s(results))
    means = [float(values.mean()) for values in slowdowns]
    p95, p99 = np.quantile(np.concatenate(slowdowns), [0.95, 0.99])
    w50, w95, w99 = np.quantile(np.concatenate(waits_s), [0.5, 0.95, 0.99])
    published = PUBLISHED.get(backfill, {}).get(discipline) if protocol == "rlscheduler" else None
    beside = "" if published is None else f"{published:.2f}"
    return (
        f"{backfill:12s} {discipline:12s} {np.mean(means):9.2f} {np.std(means, ddof=1):8.2f} {beside:>10s}  "
        f"{p95:12.0f} {p99:8.0f}  {w50:9.0f} {w95:9.0f} {w99:9.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--standard", action="store_true", help="also under the standard protocol")
    options = parser.parse_args()
    trace = load_job_trace(options.data / "traces/cluster/lublin_1_256procs.swf")
    print("RLScheduler's protocol")
    print(HEADER)
    for backfill, published in PUBLISHED.items():
        for discipline in DISCIPLINES:
            print(row(trace, "rlscheduler", backfill, discipline))
        print(f"{backfill:12s} {'RLScheduler':12s} {'':9s} {'':8s} {published['RLScheduler']:10.2f}")
    if options.standard:
        print("\nStandard protocol, run times known")
        print(HEADER)
        for backfill in ("none", "easy", "conservative"):
            for discipline in (*DISCIPLINES, "saf"):
                print(row(trace, "standard", backfill, discipline))


if __name__ == "__main__":
    main()
