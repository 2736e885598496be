"""What always-on prefetching does to the p99.9 of tenants that gain nothing by it, as bandwidth tightens.

    python benchmarks/neighbour_tail.py --data ../shared --out docs/results/neighbour_tail.md [--workers 2]

The headline mix (see ``prefetch_mix``), its train parts, so that nothing here is seen of what policies are judged on.
Four tenants prefetch all the time (volumes and chunks), four never do (kv and oltp: the neighbours).
The tier's server is sized so that demand misses alone use 20 to 100 % of it at the trace's own pace, while its latency
stays as it is; at each size p99.9 of the
neighbours' access latency is set against the same tier without any prefetching. Means over mixes with different
offsets; bars are 95 % intervals (Student's t) over the logarithms of the paired ratios.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from prefetch_mix import headline_mix, mix_cache

from handrail.envs.prefetch import PrefetchSimulator
from handrail.policies.parallel import run_jobs

LOADS = (0.2, 0.4, 0.6, 0.8, 1.0)
PREFETCHERS = ("none", "obl:8", "stride:4", "readahead:32")
REFERENCE_LOAD = 0.6
"""The tier's latency is that of this load at every load: only its server gets slower."""
DISCIPLINES = ("fifo", "demand-first", "bounded")
PREFETCHING = ("volume-a", "volume-b", "chunks-a", "chunks-b")
WINDOW = 4
"""Accesses that a tenant has under way."""

ABOUT = (
    "Eight tenants share one cache and one tier: four prefetch all the time (two cloud volumes, and two with large "
    "sequential reads), four never do (two of KV blocks, two OLTP), each with up to {window} accesses under way. The "
    "table gives the neighbours' p99.9 access latency over the same without any prefetching, a geometric mean over {n} "
    "mixes with its 95 % interval ({accesses:,} accesses of neighbours a mix). Under `fifo` and `bounded` nothing "
    "tells a prefetch from demand in the queue; under `demand-first` a demand fetch waits for one prefetch at most, "
    "the one in service."
)


@dataclass(frozen=True)
class Cell:
    """One replay."""

    data: Path
    seed: int
    load: float
    arm: str
    discipline: str


@dataclass(frozen=True)
class Tails:
    """What a replay gave.

    Attributes:
        neighbour_s: p99.9 of the accesses of the tenants that do not prefetch, together [s].
        own_mean_s: Mean of those that do [s].
        utilisation: Share of the tier's time in use while accesses came.
        accesses: Accesses of the neighbours.
    """

    neighbour_s: float
    own_mean_s: float
    utilisation: float
    accesses: int


def run(cell: Cell) -> Tails:
    """Replay one cell: the arm for those that prefetch, none for the others."""
    trace = headline_mix(cell.data, "train", cell.seed)
    arm = cell.arm
    latency_s = mix_cache(trace, tier_load=REFERENCE_LOAD, window=WINDOW).tier.latency_s
    config = mix_cache(
        trace,
        tier_load=cell.load,
        window=WINDOW,
        tier={"discipline": cell.discipline, "latency_s": latency_s},
        menu=("none", arm) if arm != "none" else ("none", "obl:1"),
        prefetcher="none",
        controller="fixed",
        every_accesses=len(trace),
    )
    simulator = PrefetchSimulator(config, trace, decide="policy")
    point = simulator.advance()
    while point is not None:
        prefetches = trace.tenant_names[point.tenant] in PREFETCHING and arm != "none"
        simulator.apply(simulator.config.menu.index(arm) if prefetches else 0)
        point = simulator.advance()
    results = simulator.results()
    theirs = np.isin(results.tenant, [trace.tenant_names.index(name) for name in PREFETCHING])
    neighbour = results.access_s[~theirs]
    used = sum(results.work_s) / results.end_s
    return Tails(
        float(np.quantile(neighbour, 0.999)), float(results.access_s[theirs].mean()), float(used), len(neighbour)
    )


def interval(ratios: np.ndarray) -> tuple[float, float, float]:
    """Geometric mean of paired ratios and its 95 % interval."""
    logs = np.log(ratios)
    n = len(logs)
    t = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}[n]
    half = t * float(logs.std(ddof=1)) / np.sqrt(n)
    return tuple(float(np.exp(x)) for x in (logs.mean(), logs.mean() - half, logs.mean() + half))  # type: ignore[return-value]


def draw(found: dict[tuple[str, str, float], tuple[float, float, float]], path: Path) -> None:
    """One panel a discipline: the neighbours' p99.9 over that without prefetching, against the tier's load."""
    figure = Figure(figsize=(12.0, 4.2), layout="constrained")
    axes = figure.subplots(1, len(DISCIPLINES), sharey=True)
    colours = colormaps["viridis"](np.linspace(0.0, 0.9, len(PREFETCHERS) - 1))
    for axis, discipline in zip(axes, DISCIPLINES, strict=True):
        for arm, colour in zip(PREFETCHERS[1:], colours, strict=True):
            rows = np.array([found[arm, discipline, load] for load in LOADS])
            axis.plot(LOADS, rows[:, 0], marker="o", markersize=3, color=colour, label=arm)
            axis.fill_between(LOADS, rows[:, 1], rows[:, 2], color=colour, alpha=0.15)
        axis.axhline(1.0, color="0.4", linewidth=0.8)
        axis.set_yscale("log")
        axis.set_title(discipline)
        axis.set_xlabel("share of the tier that demand misses alone use")
    axes[0].set_ylabel("neighbours' p99.9 access latency\nover that without prefetching")
    axes[0].legend(title="prefetcher of the others", fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def page(found: dict, tail: dict, own: dict, used: dict, n: int, accesses: int, command: str) -> str:
    """The results page."""
    lines = [
        "# What prefetching does to a neighbour's tail",
        "",
        f"`{command}`",
        "",
        ABOUT.format(n=n, accesses=accesses, window=WINDOW),
        "",
        "![p99.9 of the neighbours against the load of the tier](../images/neighbour_tail.png)",
        "",
    ]
    for discipline in DISCIPLINES:
        lines += [f"## {discipline}", "", "| prefetcher | " + " | ".join(f"{load:.0%}" for load in LOADS) + " |"]
        lines += ["|---|" + "--:|" * len(LOADS)]
        for arm in PREFETCHERS[1:]:
            cells = [found[arm, discipline, load] for load in LOADS]
            lines.append(f"| `{arm}` | " + " | ".join(f"{a:.2f} [{b:.2f}, {c:.2f}]" for a, b, c in cells) + " |")
        lines.append("")
    lines += ["## The tail itself, under fifo", "", "p99.9 of the neighbours in seconds.", ""]
    lines += ["| prefetcher | " + " | ".join(f"{load:.0%}" for load in LOADS) + " |", "|---|" + "--:|" * len(LOADS)]
    for arm in PREFETCHERS:
        cells = [f"{tail[arm, load]:.3f}" for load in LOADS]
        lines.append(f"| `{arm}` | " + " | ".join(cells) + " |")
    lines.append("")
    lines += [
        "## What those who prefetch get, under fifo",
        "",
        "Their mean access latency over the same without prefetching, and in brackets the share of the tier in use.",
        "",
        "| prefetcher | " + " | ".join(f"{load:.0%}" for load in LOADS) + " |",
        "|---|" + "--:|" * len(LOADS),
    ]
    for arm in PREFETCHERS[1:]:
        cells = [f"{own[arm, 'fifo', load]:.2f} ({used[arm, 'fifo', load]:.0%})" for load in LOADS]
        lines.append(f"| `{arm}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--mixes", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/results/neighbour_tail.md"))
    options = parser.parse_args()
    cells = [
        Cell(options.data, seed, load, arm, discipline)
        for seed in range(options.mixes)
        for load in LOADS
        for arm in PREFETCHERS
        for discipline in (DISCIPLINES if arm != "none" else ("fifo",))
    ]
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        if done % 20 == 0:
            print(f"{done} of {len(cells)} replays", flush=True)

    tails = dict(zip(cells, run_jobs(run, cells, options.workers, one_more), strict=True))
    found, own, used = {}, {}, {}
    tail = {
        (arm, load): float(
            np.mean([tails[Cell(options.data, seed, load, arm, "fifo")].neighbour_s for seed in range(options.mixes)])
        )
        for arm in PREFETCHERS
        for load in LOADS
    }
    for arm in PREFETCHERS[1:]:
        for discipline in DISCIPLINES:
            for load in LOADS:
                pairs = [
                    (
                        tails[Cell(options.data, seed, load, arm, discipline)],
                        tails[Cell(options.data, seed, load, "none", "fifo")],
                    )
                    for seed in range(options.mixes)
                ]
                key = (arm, discipline, load)
                found[key] = interval(np.array([a.neighbour_s / b.neighbour_s for a, b in pairs]))
                own[key] = float(np.mean([a.own_mean_s / b.own_mean_s for a, b in pairs]))
                used[key] = float(np.mean([a.utilisation for a, _ in pairs]))
    command = f"python benchmarks/neighbour_tail.py --data ../shared --mixes {options.mixes}"
    accesses = next(iter(tails.values())).accesses
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page(found, tail, own, used, options.mixes, accesses, command), encoding="utf-8")
    draw(found, options.out.parent.parent / "images" / "neighbour_tail.png")


if __name__ == "__main__":
    main()
