"""Broken prefetch selectors behind the default guard: what is left of the fallback's tails.

    python benchmarks/prefetch_sabotage.py --data ../shared [--out docs/results/prefetch_sabotage.md]

The headline mix of eight tenants (see ``prefetch_mix``; paced, two requests a tenant), cloudPhysicsIO (paced, eight),
the bundled trace (open): test parts all; MQSim's TPC-C and the CacheLib block trace (paced, eight), whole, since a part
of them has a few thousand accesses. The fallback ``standing`` (one-block lookahead under hysteresis) and each
``sabotage:*`` policy, alone and behind the guard, replay the same accesses. The guard's breaker has its reference from
validation parts (of the two whole traces, a part of what is replayed); its thresholds were set on validation parts too,
of the mix, the bundled trace and cloudPhysicsIO.

The bar is one-sided: p99 and p99.9 of access latency behind the guard at most 10 % above the fallback's, or at most the
placebo's highest where that is more. The standing scheme breaks no ties, so its placebo is the fallback on what chance
made of the input: for the mix, tenants turned against each other by other seeds; for cloudPhysicsIO, which records
whole seconds, accesses spread within them by other seeds. It says how far a tail moves where nobody does harm. The
other traces have no such freedom and no placebo: there the 10 % alone count. The last columns pair guarded with
fallback on the same draw: geometric mean over the draws, with its 95 % interval; kinds that the guard answers with the
fallback from the start (``nan``, ``slow``, ``raise``) are left out of them.

A cell counts only with 5,000 measured accesses (p99) or 50,000 (p99.9); others are printed with ``-`` for a verdict.
Where ``sabotage:worst`` alone does not reach 1.5 times the fallback's tail, holding it proves nothing of that tail.
The worst tenant's p99 is the highest of the tenants' ratios; it is printed and not judged.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prefetch_mix import TRACES, WINDOW, headline_mix, mix_cache

from handrail.experiments.arms import Arm, run_arm
from handrail.experiments.domains.prefetch import DOMAIN
from handrail.experiments.domains.prefetch_system import PrefetchScenario
from handrail.experiments.guarding import (
    CalibrationJob,
    calibrated,
    calibration_jobs,
    guard_thresholds,
    run_calibration,
)
from handrail.experiments.load_accesses import change_access_rate
from handrail.experiments.provenance import source_hash
from handrail.experiments.scenario import Prepared, prepare
from handrail.experiments.splits import whole_window
from handrail.experiments.statistics import geometric_mean_ratio
from handrail.policies import SABOTAGES
from handrail.policies.guards import GuardConfig
from handrail.policies.parallel import run_jobs
from handrail.traces import load_access_trace

LABELS = {"p99": "p99", "p999": "p99.9"}
MIN_MEASURED = {"p99": 5_000, "p999": 50_000}
BAR, HARMFUL = 1.10, 1.5
PAIRED = ("worst", "random", "constant")
HEADER = ("`sabotage:`", "guarded p99", "p99.9", "worst tenant's p99", "mean", "decided by it")
HEADER += ("alone p99", "p99.9", "kept by: p99", "p99.9", "same draw: p99", "p99.9")

Entry = dict[str, Any]
Ready = tuple[Prepared, GuardConfig]


def mix(data: Path, seed: int) -> Ready:
    """The headline mix of the test parts; the breaker's reference is of a validation mix."""
    scenario = PrefetchScenario(paced=WINDOW)
    earlier = headline_mix(data, "validation", 0)
    known = run_calibration(CalibrationJob(mix_cache(earlier), earlier, scenario, 1.0))
    trace = headline_mix(data, "test", seed)
    system = mix_cache(trace, ghost=True)
    _, change = change_access_rate(trace, 1.0, system)
    prepared = Prepared(scenario, trace.content_hash, trace, system, whole_window(), change, 0.0)
    return prepared, calibrated(guard_thresholds("", system), 1.0, [known])


def single(name: str, scenario: PrefetchScenario, data: Path, seed: int) -> Ready:
    """One trace, as a comparison makes it ready; the seed spreads whole seconds."""
    trace = load_access_trace(name if name == "bundled-cache" else data / "traces" / name, seed=seed)
    prepared = prepare(trace, scenario)
    jobs = calibration_jobs(trace, prepared.system, scenario, prepared.change, 1.0)
    guard = guard_thresholds("", prepared.system)
    return prepared, calibrated(guard, 1.0, [run_calibration(job) for job in jobs])


SETTINGS: dict[str, tuple[int, Callable[[Path, int], Ready]]] = {
    "Headline mix, test parts": (3, mix),
    "cloudPhysicsIO, test part": (
        5,
        partial(single, TRACES["volume"], PrefetchScenario(paced=8, split="test")),
    ),
    "Bundled trace, test part": (1, partial(single, "bundled-cache", PrefetchScenario(split="test"))),
    "MQSim TPC-C": (1, partial(single, TRACES["oltp"], PrefetchScenario(paced=8))),
    "CacheLib block trace": (1, partial(single, TRACES["chunks"], PrefetchScenario(paced=8))),
}
"""How many draws there are of each setting, and how one is made."""


@dataclass(frozen=True)
class Study:
    """JSON entries of all arms of one setting; of draws, the first is the one that is judged."""

    prepared: Prepared
    fallbacks: list[Entry]
    alone: dict[str, Entry]
    guarded: dict[str, list[Entry]]

    @property
    def measured(self) -> int:
        """Accesses that count."""
        return self.fallbacks[0]["measured_accesses"]

    def ratio(self, entry: Mapping[str, Any], key: str) -> float | None:
        """A tail over the fallback's of the first draw; None where the run failed."""
        return None if "failed" in entry else entry["access_s"][key] / self.fallbacks[0]["access_s"][key]

    def worst_tenant(self, entry: Mapping[str, Any]) -> float:
        """Highest p99 of a tenant over the fallback's."""
        known = self.fallbacks[0]["tenants"]
        return max(t["access_s"]["p99"] / known[name]["access_s"]["p99"] for name, t in entry["tenants"].items())

    def placebos(self, key: str) -> list[float]:
        """The fallback's tail on the other draws over that on the first."""
        return [ratio for entry in self.fallbacks[1:] if (ratio := self.ratio(entry, key)) is not None]

    def paired(self, kind: str, key: str) -> str:
        """Geometric mean, with its 95 % interval, of guarded over fallback on the same draw."""
        if len(self.guarded[kind]) < 2:
            return "-"
        both = (self.guarded[kind], self.fallbacks)
        return str(geometric_mean_ratio(*([entry["access_s"][key] for entry in side] for side in both)))

    def verdict(self, kind: str, key: str) -> str:
        """Which bar holds."""
        if self.measured < MIN_MEASURED[key]:
            return "-"
        ratio = self.ratio(self.guarded[kind][0], key)
        if ratio is not None and ratio <= BAR:
            return "10 %"
        return "placebo" if ratio is not None and ratio <= max(self.placebos(key), default=1.0) else "FAILS"


def run_entry(prepared: Prepared, arm: Arm) -> Entry:
    """The JSON entry of one arm."""
    return run_arm(prepared, arm).entry


def study(data: Path, draws: int, make: Callable[[Path, int], Ready], workers: int) -> Study:
    """Replay every arm."""
    fallbacks: list[Entry] = []
    alone: dict[str, Entry] = {}
    guarded: dict[str, list[Entry]] = {kind: [] for kind in SABOTAGES}
    first: Prepared | None = None
    for seed in range(draws):
        prepared, guard = make(data, seed)
        kinds = PAIRED if first else tuple(SABOTAGES)
        arms = {("fallback", ""): Arm("fallback", "")}
        arms |= {("guarded", kind): Arm("guarded", f"sabotage:{kind}", guard) for kind in kinds}
        if first is None:
            first = prepared
            arms |= {("alone", kind): Arm("unguarded", f"sabotage:{kind}") for kind in kinds}
        found = dict(zip(arms, run_jobs(partial(run_entry, prepared), list(arms.values()), workers), strict=True))
        fallbacks.append(found["fallback", ""])
        for (which, kind), entry in found.items():
            if which == "guarded":
                guarded[kind].append(entry)
            elif which == "alone":
                alone[kind] = entry
    assert first is not None, "a setting has a draw at least"
    return Study(first, fallbacks, alone, guarded)


def section(title: str, found: Study) -> str:
    """One setting in Markdown."""
    prepared, fallback = found.prepared, found.fallbacks[0]
    tails = ", ".join(f"{label} {fallback['access_s'][key]:.4g} s" for key, label in LABELS.items())
    trace = prepared.trace
    counts = f"{len(trace):,} accesses of {trace.n_tenants} tenants, {found.measured:,} measured"
    spread = "none"
    if found.placebos("p99"):
        spans = {label: found.placebos(key) for key, label in LABELS.items()}
        spread = ", ".join(f"{label} {_number(min(v))} to {_number(max(v))}" for label, v in spans.items())
        spread = f"{len(found.fallbacks) - 1} other draws / fallback: {spread}"
    lines = [
        f"## {title}",
        "",
        f"{counts}; {DOMAIN.describe_system(prepared)}; {prepared.change.sentence()}  ",
        f"fallback `{prepared.scenario.fallback}`: {tails}; placebo: {spread}",
        "",
        f"| {' | '.join(HEADER)} |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|---|--:|--:|",
    ]
    for kind, draws in found.guarded.items():
        guarded, alone = draws[0], found.alone[kind]
        cells = [kind, *(_number(found.ratio(guarded, key)) for key in LABELS)]
        cells += [_number(found.worst_tenant(guarded)), _number(found.ratio(guarded, "mean"))]
        cells += [f"{guarded['availability']:.1%}"]
        cells += ["failed" if "failed" in alone else _number(found.ratio(alone, key)) for key in LABELS]
        cells += [found.verdict(kind, key) for key in LABELS] + [found.paired(kind, key) for key in LABELS]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", conclusion(found)]
    return "\n".join(lines) + "\n"


def conclusion(found: Study) -> str:
    """What failed, and of which tails the test proves something."""
    counted = {key: label for key, label in LABELS.items() if found.measured >= MIN_MEASURED[key]}
    if not counted:
        return "Too few accesses for a verdict."
    broken = [f"{kind} {counted[k]}" for kind in SABOTAGES for k in counted if found.verdict(kind, k) == "FAILS"]
    harm = {key: found.ratio(found.alone["worst"], key) for key in counted}
    shown = ", ".join(f"{counted[k]} {'yes' if r is None or r >= HARMFUL else 'no'}" for k, r in harm.items())
    held = f"Fails: {', '.join(broken)}" if broken else "The guard holds"
    return f"{held}. `sabotage:worst` alone at least {HARMFUL:g} times the fallback's: {shown}."


def _number(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}" if ratio < 10 else f"{ratio:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(SETTINGS), help="settings; by default all")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/prefetch_sabotage.md"))
    options = parser.parse_args()
    about = __doc__.split("\n\n", 2)[2].strip()
    page = "# Broken prefetch selectors behind the guard\n\n"
    page += "    python benchmarks/prefetch_sabotage.py --data FOLDER\n\n"
    page += f"SHA-256 of the sources begins `{source_hash()[:16]}`. {about}\n"
    for title in options.only or SETTINGS:
        began = time.perf_counter()
        draws, make = SETTINGS[title]
        text = section(title, study(options.data, draws, make, options.workers))
        print(text, f"(took {time.perf_counter() - began:.0f} s)", flush=True)
        page += "\n" + text
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
