"""Broken policies behind the default guard, on every trace of a folder: what is left of the fallback's tails.

    python benchmarks/sabotage_study.py --data ../shared/traces/llm [--traces FILE ...] [--out docs/results/sabotage.md]

For each trace the load is brought to 0.8 of the capacity of h100:2,a100:2, and the fallback, the fallback with other
tie-breaks (the placebo) and each ``sabotage:*`` policy, alone and behind the guard, replay the same requests. The bar
is one-sided, since a lower tail is no harm: p99 behind the guard at most 10 % above the fallback's, or at most the
placebo's highest where that is more. A slice of fewer than 2,000 requests is reported and not judged. Where
``sabotage:worst`` alone does not reach 1.5 times the fallback's p99, holding it proves nothing of that metric.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from handrail.experiments.arms import Arm, run_arm
from handrail.experiments.compare import ratios
from handrail.experiments.domains.llm import DEFAULT_LOAD, LLMScenario
from handrail.experiments.guarding import calibrated, calibration_jobs, guard_thresholds, run_calibration
from handrail.experiments.load import LoadChange
from handrail.experiments.provenance import source_hash, versions
from handrail.experiments.scenario import Prepared, prepare
from handrail.experiments.statistics import geometric_mean_ratio
from handrail.policies import SABOTAGES
from handrail.policies.parallel import run_jobs
from handrail.traces import load_trace

LABELS = {"ttft_s": "TTFT", "tbt_s": "TBT", "e2e_s": "E2E"}
LATENCIES = tuple(LABELS)
KEY = "p99"
BAR = 1.10
"""Most that a tail behind the guard may be of the fallback's, where the placebo's spread is not wider."""

HARMFUL = 1.5
"""Least that the tail of ``sabotage:worst`` alone must be of the fallback's for the test to prove something."""

MIN_JUDGED_REQUESTS = 2000
MIN_PLACEBOS = 3
TRACE_SUFFIXES = (".csv", ".jsonl", ".gz", ".parquet")


@dataclass(frozen=True, slots=True)
class Study:
    """All arms of one trace, as the JSON entries of a comparison.

    Attributes:
        prepared: What was replayed.
        requests: Requests of the trace before its load was changed.
        fallback: The fallback's entry.
        placebos: Those of the fallback with other tie-breaks.
        alone: Entry of each sabotage without a guard, by kind.
        guarded: Entry of each sabotage behind the guard, by kind.
        guarded_ties: The same with the placebos' tie-breaks in the guard's fallback, by kind, in the placebos' order.
    """

    prepared: Prepared
    requests: int
    fallback: dict[str, Any]
    placebos: list[dict[str, Any]]
    alone: dict[str, dict[str, Any]]
    guarded: dict[str, dict[str, Any]]
    guarded_ties: dict[str, list[dict[str, Any]]]

    @property
    def judged(self) -> bool:
        """Whether the trace is long enough for a verdict."""
        return self.requests >= MIN_JUDGED_REQUESTS

    def placebo_ratios(self, metric: str) -> list[float | None]:
        """p99 of each placebo over the fallback's."""
        return [p99_ratio(entry, self.fallback, metric) for entry in self.placebos]

    def paired(self, kind: str, metric: str) -> str:
        """Geometric mean, with its 95 % interval, of guarded over fallback with the same tie-breaks in both."""
        ours = [entry[metric][KEY] for entry in (self.guarded[kind], *self.guarded_ties[kind])]
        theirs = [entry[metric][KEY] for entry in (self.fallback, *self.placebos)]
        return "inf" if None in ours or None in theirs else str(geometric_mean_ratio(ours, theirs))

    def verdict(self, kind: str, metric: str) -> str:
        """Which bar the tail of ``kind`` behind the guard keeps: ``10 %``, ``placebo``, or ``FAILS``."""
        if self.fallback[metric][KEY] is None:
            return "10 %"  # the fallback's own p99 lies among lost requests: nothing is worse
        ratio = p99_ratio(self.guarded[kind], self.fallback, metric)
        if ratio is not None and ratio <= BAR:
            return "10 %"
        spread = self.placebo_ratios(metric)
        if None in spread or (ratio is not None and ratio <= max(r for r in spread if r is not None)):
            return "placebo"
        return "FAILS"

    def lost_verdict(self, kind: str) -> str:
        """The same of the count of lost requests."""
        ours, theirs = lost(self.guarded[kind]), lost(self.fallback)
        if ours <= BAR * theirs:
            return "10 %"
        return "placebo" if ours <= max(lost(entry) for entry in self.placebos) else "FAILS"


def p99_ratio(entry: Mapping[str, Any], fallback: Mapping[str, Any], metric: str) -> float | None:
    """p99 of ``metric`` over the fallback's; None where the run failed or either is lost."""
    found = ratios(entry, fallback, LATENCIES)
    return None if found is None else found[metric][KEY]


def lost(entry: Mapping[str, Any]) -> int:
    """Measured requests that were rejected or left unfinished."""
    return sum(entry["lost"].values())


def run_entry(prepared: Prepared, arm: Arm) -> dict[str, Any]:
    """The JSON entry of one arm; its columns stay in the worker."""
    return run_arm(prepared, arm).entry


def study(path: Path, load: float, n_placebos: int, workers: int) -> Study:
    """Replay every arm on one trace; the number of workers changes no result."""
    trace = load_trace(path)
    prepared = prepare(trace, LLMScenario(load=load))
    change = prepared.change
    assert isinstance(change, LoadChange)
    assert change.capacity_rps is not None, "a scenario with a load measures capacity"
    capacity_rps = change.capacity_rps
    jobs = calibration_jobs(trace, prepared.system, prepared.scenario, prepared.change, capacity_rps)
    outcomes = run_jobs(run_calibration, jobs, workers)
    specs = {kind: f"sabotage:{kind}" for kind in SABOTAGES}
    guards = {
        kind: calibrated(guard_thresholds(spec, prepared.system), capacity_rps, outcomes)
        for kind, spec in specs.items()
    }
    ties = range(1, n_placebos + 1)
    arms = {("fallback", ""): Arm("fallback", "")}
    arms |= {("placebo", k): Arm(f"placebo-{k}", "", tie_seed=k) for k in ties}
    for kind, spec in specs.items():
        arms["alone", kind] = Arm("unguarded", spec)
        arms["guarded", kind] = Arm("guarded", spec, guards[kind])
        arms |= {(kind, k): Arm("guarded", spec, guards[kind], tie_seed=k) for k in ties}
    entries = dict(zip(arms, run_jobs(partial(run_entry, prepared), list(arms.values()), workers), strict=True))
    return Study(
        prepared,
        len(trace),
        fallback=entries["fallback", ""],
        placebos=[entries["placebo", k] for k in ties],
        alone={kind: entries["alone", kind] for kind in specs},
        guarded={kind: entries["guarded", kind] for kind in specs},
        guarded_ties={kind: [entries[kind, k] for k in ties] for kind in specs},
    )


def section(found: Study) -> str:
    """One trace in Markdown."""
    prepared, fallback = found.prepared, found.fallback
    tails = ", ".join(f"{LABELS[m]} {_seconds(fallback[m][KEY])}" for m in LATENCIES)
    spread = ", ".join(f"{LABELS[m]} {_span(found.placebo_ratios(m))}" for m in LATENCIES)
    lost_by_placebos = sorted(lost(entry) for entry in found.placebos)
    counts = (
        f"{found.requests:,} requests, {len(prepared.trace):,} replayed, {fallback['measured_requests']:,} measured"
    )
    lost_span = f"{lost_by_placebos[0]:,} to {lost_by_placebos[-1]:,}"
    header = ["`sabotage:`", "guarded TTFT", "TBT", "E2E", "lost, guarded / fallback", "decided by it"]
    header += ["alone TTFT", "TBT", "E2E", "kept by: TTFT", "TBT", "E2E", "lost"]
    lines = [
        f"## {Path(prepared.trace.name).name}",
        "",
        f"SHA-256 of its content: `{prepared.source_hash}`  ",
        f"{counts}; {prepared.change.sentence()}  ",
        f"fallback `{prepared.scenario.fallback}`, {KEY}: {tails}; lost {lost(fallback):,}  ",
        f"placebo ({len(found.placebos)} runs) / fallback: {spread}; lost {lost_span}",
        "",
        "| " + " | ".join(header) + " |",
        "|---|" + "--:|" * 8 + "---|" * 4,
    ]
    for kind, guarded in found.guarded.items():
        alone = found.alone[kind]
        cells = [kind, *(_number(p99_ratio(guarded, fallback, m)) for m in LATENCIES)]
        cells += [f"{lost(guarded):,} / {lost(fallback):,}", f"{guarded['availability']:.1%}"]
        cells += ["failed" if "failed" in alone else _number(p99_ratio(alone, fallback, m)) for m in LATENCIES]
        verdicts = [*(found.verdict(kind, m) for m in LATENCIES), found.lost_verdict(kind)]
        cells += verdicts if found.judged else ["-"] * len(verdicts)
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| with the same tie-breaks in both | TTFT | TBT | E2E |", "|---|--:|--:|--:|"]
    for kind in found.guarded:
        lines.append("| " + " | ".join([kind, *(found.paired(kind, m) for m in LATENCIES)]) + " |")
    lines += ["", _conclusion(found)]
    return "\n".join(lines) + "\n"


def _conclusion(found: Study) -> str:
    harm = {m: p99_ratio(found.alone["worst"], found.fallback, m) for m in LATENCIES}
    text = ", ".join(f"{LABELS[m]} {'yes' if r is None or r >= HARMFUL else 'no'}" for m, r in harm.items())
    tested = f"`sabotage:worst` alone at least {HARMFUL:g} times the fallback's {KEY}: {text}."
    if not found.judged:
        return f"Fewer than {MIN_JUDGED_REQUESTS:,} requests: no verdict. {tested}"
    broken = [f"{kind} {LABELS[m]}" for kind in SABOTAGES for m in LATENCIES if found.verdict(kind, m) == "FAILS"]
    broken += [f"{kind} lost" for kind in SABOTAGES if found.lost_verdict(kind) == "FAILS"]
    return f"{'Fails: ' + ', '.join(broken) if broken else 'The guard holds'}. {tested}"


def preamble(options: argparse.Namespace, names: Sequence[str]) -> str:
    """What was run, with what, and how to read the tables."""
    made_with = ", ".join(f"{name} {version}" for name, version in versions().items() if name != "matplotlib")
    traces = f" --traces {' '.join(names)}" if options.traces else ""
    return f"""# Sabotage behind the guard

    python benchmarks/sabotage_study.py --data FOLDER{traces} --load {options.load:g} --placebos {options.placebos}

Made with {made_with}; SHA-256 of the sources begins `{source_hash()[:16]}`.

Fleet {LLMScenario().replicas}, the guard's default thresholds, its reference measured on each trace's validation part.
Numbers are {KEY} over the fallback's in the same run; `inf` where it falls among lost requests, `failed` where the
policy alone ended its run (an exception or an illegal action). The placebo is the fallback with other tie-breaks.
*Kept by* says which bar a tail keeps: `10 %` (at most {BAR:.2f} of the fallback's), else `placebo` (at most the
placebo's highest), else `FAILS`. Lower is no harm.

A p99 of few requests moves by chance alone: one other decision early on, and other requests meet. The second table of
each trace takes that out: guarded over fallback, the same tie-breaks in both, geometric mean over the fallback's own
and the placebos' tie-breaks with its 95 % t interval.
"""


def _number(ratio: float | None) -> str:
    if ratio is None:
        return "inf"
    return f"{ratio:.3f}" if ratio < 10 else f"{ratio:,.0f}"


def _seconds(value: float | None) -> str:
    return "inf" if value is None else f"{value:.4g} s"


def _span(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    high = _number(max(known)) if len(known) == len(values) else "inf"
    return f"{_number(min(known, default=None))} to {high}"


def main() -> None:
    """Replay, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the traces")
    parser.add_argument("--traces", nargs="+", help="file names in that folder; by default all of them")
    parser.add_argument("--load", type=float, default=DEFAULT_LOAD)
    parser.add_argument("--placebos", type=int, default=MIN_PLACEBOS, help=f"tie seeds, at least {MIN_PLACEBOS}")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/sabotage.md"))
    options = parser.parse_args()
    if options.placebos < MIN_PLACEBOS:
        parser.error(f"--placebos must be at least {MIN_PLACEBOS}")
    names = options.traces or sorted(p.name for p in options.data.iterdir() if p.name.endswith(TRACE_SUFFIXES))
    page = preamble(options, names)
    print(page)
    for name in names:
        began = time.perf_counter()
        text = section(study(options.data / name, options.load, options.placebos, options.workers))
        print(text)
        print(f"(took {time.perf_counter() - began:.0f} s)\n", flush=True)
        page += "\n" + text
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
