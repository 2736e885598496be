"""Learned prefetch selectors against every prefetcher under every controller, on the headline mix of real traces.

    python benchmarks/prefetch_study.py --data ../shared --policy ppo=policies/pretrained/prefetch \
        --policy bandit=policies/pretrained/prefetch_bandit [--tiers fifo,demand-first] [--split test] [--mixes 4] \
        [--workers 2] [--rows rows.json] [--out docs/results/prefetching.md]

The mix and its splits: see ``prefetch_mix``. Replicates are mixes of the same parts with other offsets of the tenants
against each other. Every prefetcher runs at several degrees, alone (``fixed``) and under Limoncello-style hysteresis;
feedback-directed prefetching steers each prefetcher's degree; the discounted-UCB bandit chooses among the policies' own
menu; all with one controller a tenant. A learned policy decides for each tenant every 64 accesses; ``guarded`` is the
same behind the default guard with the standing scheme (OBL under hysteresis) as its fallback, its breaker calibrated on
a validation mix.

For each scheme: mean access latency, the worst tenant's p99.9 and bytes moved, over the same without prefetching.
Intervals are 95 % (Student's t over the logarithms of the paired ratios).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from prefetch_mix import headline_mix, mix_cache
from scipy import stats

from handrail.envs.prefetch import CacheConfig, PrefetchResults, PrefetchSimulator
from handrail.envs.prefetch.metrics import Objective
from handrail.experiments.domains import domain_named
from handrail.experiments.guarding import CalibrationJob, calibrated, guard_thresholds, run_calibration
from handrail.experiments.replay import replay
from handrail.policies.guards import GuardedPolicy, build_guard
from handrail.policies.parallel import run_jobs

DEGREES = {
    "next-line": (1,),
    "obl": (1, 8),
    "stride": (1, 4, 16),
    "readahead": (8,),
    "best-offset": (1,),
    "markov": (1, 4),
    "mithril": (2,),
    "leap": (8,),
    "spp": (1, 4),
    "amp": (8,),
}
STEERED = ("fixed", "hysteresis")
NONE = "none, fixed"
FALLBACK = "obl:1, hysteresis"
MEASURES = ("mean", "p999", "bytes")
SLACK_P999, SLACK_BYTES = 1.02, 1.10
BATCH = 40
ABOUT = """Eight tenants of one cache, parts of four real traces that no policy was trained on (the mix: see
`benchmarks/prefetch_mix.py`), each with up to two requests under way. A *scheme* is a prefetcher at a degree under a
controller, the same for all tenants but steered for each by itself; the bandit chooses among the policies' own menu.
All figures are ratios, geometric means over mixes of the same parts with other offsets, 95 % intervals of the paired
ratios. The worst tenant's p99.9 is the largest of the eight ratios; tenants have 6,000 to 50,000 accesses a mix, so it
is a noisy figure for the small ones.
"""


@dataclass(frozen=True)
class Cell:
    """One replay: a scheme on one mix."""

    data: Path
    split: str
    seed: int
    tier: str
    scheme: str
    folder: Path | None = None


@dataclass(frozen=True)
class Row:
    """What a replay gave, by tenant where there are several."""

    mean_s: float
    p999_s: dict[str, float]
    mean_by_tenant_s: dict[str, float]
    n_bytes: int
    notes: dict[str, float] = field(default_factory=dict)


def schemes() -> list[str]:
    """Every prefetcher under every controller."""
    arms = [f"{name}:{degree}" for name, degrees in DEGREES.items() for degree in degrees]
    names = [NONE, *(f"{arm}, {controller}" for arm in arms for controller in STEERED)]
    return [*names, *(f"{name}, feedback" for name in DEGREES), "menu, bandit"]


def configured(cell: Cell, **values) -> CacheConfig:
    """The cache of a cell's mix."""
    trace = headline_mix(cell.data, cell.split, cell.seed)
    return mix_cache(trace, tier={"discipline": cell.tier}, **values)


def run(cell: Cell) -> Row:
    """Replay one cell."""
    trace = headline_mix(cell.data, cell.split, cell.seed)
    if cell.folder is None:
        arm, _, controller = cell.scheme.partition(", ")
        name, _, degree = arm.partition(":")
        values = {"prefetcher": "obl" if name == "menu" else name, "degree": int(degree or 1), "controller": controller}
        simulator = PrefetchSimulator(configured(cell, **values), trace)
        simulator.advance()
        return describe(simulator.results(), trace.tenant_names, {})
    return learned(cell)


def learned(cell: Cell) -> Row:
    """Replay a policy folder, alone or behind its guard."""
    domain = domain_named("prefetch")
    trace = headline_mix(cell.data, cell.split, cell.seed)
    system = configured(cell, ghost=cell.scheme.endswith("guarded"))
    made: list[GuardedPolicy] = []

    def build(layout):
        policy = domain.make_policy(str(cell.folder), system)
        if not cell.scheme.endswith("guarded"):
            return policy
        fallback = domain.make_heuristic("standing", system)
        made.append(GuardedPolicy(policy, fallback, build_guard(calibrated_guard(cell), layout), layout))
        return made[0]

    outcome = replay(system, trace, build, Objective())
    if outcome.failure is not None:
        raise SystemExit(f"{cell.scheme}: {outcome.failure.reason}")
    notes = {"availability": made[0].availability} if made else {}
    return describe(outcome.results, trace.tenant_names, notes)


def calibrated_guard(cell: Cell):
    """The policy's guard, its breaker's reference measured on a validation mix."""
    domain = domain_named("prefetch")
    trace = headline_mix(cell.data, "validation", 0)
    system = configured(Cell(cell.data, "validation", 0, cell.tier, cell.scheme))
    scenario = domain.scenario_type()
    guard = domain.fit_guard(guard_thresholds(str(cell.folder), system), system)
    return calibrated(guard, 1.0, [run_calibration(CalibrationJob(system, trace, scenario, 1.0))])


def describe(results: PrefetchResults, names: tuple[str, ...], notes: dict[str, float]) -> Row:
    """The measures of a replay."""
    each = {name: results.access_s[results.tenant == code] for code, name in enumerate(names)}
    return Row(
        float(results.access_s.mean()),
        {name: float(np.quantile(values, 0.999)) for name, values in each.items()},
        {name: float(values.mean()) for name, values in each.items()},
        sum(results.fetch_bytes),
        notes,
    )


def ratios(rows: list[Row], base: list[Row], measure: str) -> np.ndarray:
    """Paired ratios, one a mix; p999 is the worst tenant's."""
    if measure == "mean":
        return np.array([a.mean_s / b.mean_s for a, b in zip(rows, base, strict=True)])
    if measure == "bytes":
        return np.array([a.n_bytes / b.n_bytes for a, b in zip(rows, base, strict=True)])
    return np.array([max(a.p999_s[t] / b.p999_s[t] for t in a.p999_s) for a, b in zip(rows, base, strict=True)])


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Geometric mean and its 95 % interval."""
    logs = np.log(values)
    half = float(stats.t.ppf(0.975, len(logs) - 1)) * float(logs.std(ddof=1)) / len(logs) ** 0.5
    middle = float(logs.mean())
    return float(np.exp(middle)), float(np.exp(middle - half)), float(np.exp(middle + half))


def show(values: np.ndarray) -> str:
    """A ratio with its interval."""
    middle, low, high = interval(values)
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def table(found: dict[str, list[Row]], names: list[str]) -> list[str]:
    """A row a scheme, best mean first."""
    base = found[NONE]
    order = sorted(names, key=lambda name: float(np.log(ratios(found[name], base, "mean")).mean()))
    lines = ["| scheme | mean | worst tenant's p99.9 | bytes |", "|---|--:|--:|--:|"]
    for name in order:
        cells = " | ".join(show(ratios(found[name], base, measure)) for measure in MEASURES)
        lines.append(f"| {name} | {cells} |")
    return lines


def section(found: dict[str, list[Row]], policies: list[str], tier: str, options: argparse.Namespace) -> str:
    """One tier's part of the results page."""
    base = found[NONE]
    plain = [name for name in found if name not in policies]
    level = {name: float(np.exp(np.log(ratios(found[name], base, "mean")).mean())) for name in plain}
    best = min(plain, key=level.__getitem__)
    kept = [
        name
        for name in plain
        if interval(ratios(found[name], base, "p999"))[0] <= SLACK_P999
        and interval(ratios(found[name], base, "bytes"))[0] <= SLACK_BYTES
    ]
    best_kept = min(kept, key=level.__getitem__)
    lines = [f"## Tier: {tier}; {options.split} parts, {options.mixes} mixes", ""]
    lines += [f"Lowest mean of all prefetchers and controllers: **{best}**; of those that keep every tenant's p99.9"]
    lines[-1] += f" within {SLACK_P999:.2f} and bytes within {SLACK_BYTES:.1f}: **{best_kept}**."
    lines += ["", "| policy | mean / best | mean / best that keeps both | p99.9 / none | bytes / none | decides |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    for name in policies:
        rows = found[name]
        decides = np.mean([row.notes.get("availability", 1.0) for row in rows])
        cells = [show(ratios(rows, found[other], "mean")) for other in (best, best_kept)]
        cells += [show(ratios(rows, base, measure)) for measure in ("p999", "bytes")]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {decides:.0%} |")
    lines += ["", "Everything over no prefetching:", "", *table(found, list(found)), ""]
    lines += ["Mean access latency and p99.9 by tenant over no prefetching:", ""]
    tenants = list(base[0].p999_s)
    shown = [*policies, best, best_kept, FALLBACK]
    lines += ["| scheme | " + " | ".join(tenants) + " |", "|---|" + "--:|" * len(tenants)]
    for name in dict.fromkeys(shown):
        cells = []
        for tenant in tenants:
            pairs = list(zip(found[name], base, strict=True))
            mean = np.mean([a.mean_by_tenant_s[tenant] / b.mean_by_tenant_s[tenant] for a, b in pairs])
            tail = np.mean([a.p999_s[tenant] / b.p999_s[tenant] for a, b in pairs])
            cells.append(f"{mean:.2f} / {tail:.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _label(cell: Cell) -> str:
    return f"{cell.tier}/{cell.split}/{cell.seed}/{cell.scheme}"


def kept_rows(path: Path | None, cells: list[Cell]) -> dict[Cell, Row]:
    """Rows of an earlier run that was broken off, or of other policies; delete the file after a change of the code."""
    if path is None or not path.exists():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    return {cell: Row(**kept[_label(cell)]) for cell in cells if _label(cell) in kept}


def keep_rows(path: Path | None, rows: dict[Cell, Row]) -> None:
    """Add rows to the file."""
    if path is not None:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        kept |= {_label(cell): asdict(row) for cell, row in rows.items()}
        path.write_text(json.dumps(kept), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--policy", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--tiers", default="fifo", help="disciplines of the tier, with commas between them")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--mixes", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rows", type=Path, help="JSON file that keeps what was replayed, to go on from")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folders: dict[str, Path | None] = dict.fromkeys(schemes())
    policies = []
    for text in options.policy:
        name, _, folder = text.partition("=")
        for label in (name, f"{name}, guarded"):
            policies.append(label)
            folders[label] = Path(folder)
    tiers = [part.strip() for part in options.tiers.split(",")]
    cells = [
        Cell(options.data, options.split, seed, tier, scheme, folder)
        for tier in tiers
        for seed in range(options.mixes)
        for scheme, folder in folders.items()
    ]
    rows = kept_rows(options.rows, cells)
    missing = [cell for cell in cells if cell not in rows]
    done = len(rows)

    def one_more() -> None:
        nonlocal done
        done += 1
        if done % 20 == 0:
            print(f"{done} of {len(cells)} replays", flush=True)

    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        rows |= dict(zip(batch, run_jobs(run, batch, options.workers, one_more), strict=True))
        keep_rows(options.rows, rows)
    named = " ".join(f"--policy {text}" for text in options.policy)
    lines = ["# Learned prefetch selectors", ""]
    lines += [f"`python benchmarks/prefetch_study.py --data ../shared {named} --tiers {options.tiers}`", "", ABOUT]
    for tier in tiers:
        found = {
            scheme: [
                rows[Cell(options.data, options.split, seed, tier, scheme, folder)] for seed in range(options.mixes)
            ]
            for scheme, folder in folders.items()
        }
        lines.append(section(found, policies, tier, options))
    text = "\n".join(lines)
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
