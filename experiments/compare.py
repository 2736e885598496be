"""Fallback, learned policy alone and learned policy behind its guard, on the same traffic."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..envs.common.tails import QUANTILES
from ..policies.guards import GuardConfig
from ..policies.parallel import run_jobs
from .arms import Arm, ArmResult, run_arm
from .domains import Domain, domain_named
from .guarding import calibrated, calibration_jobs, guard_thresholds, run_calibration
from .provenance import source_hash, versions
from .report.figure import draw_comparison
from .report.run_folder import MARKER_KEY, dump_json
from .scenario import Prepared, Scenario, check, cut_window, prepare
from .scenarios import NO_STRESS, Stress, stressed
from .scenarios.record import stress_entry, stress_notes, stress_title
from .splits import cut_split, gap_note

MAIN_ARMS = ("fallback", "unguarded", "guarded")
SMALL_TRACE = 4000
"""Items up to which starting worker processes costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison gave.

    Attributes:
        prepared: What was replayed.
        summary: Everything of the JSON that does not depend on the machine's speed.
        arms: The arms' results, in order.
        run: Content of ``run.json``.
    """

    prepared: Prepared
    summary: dict[str, Any]
    arms: tuple[ArmResult, ...]
    run: dict[str, Any]

    @property
    def default_name(self) -> str:
        """A folder name from the trace's name and a hash of everything that the results depend on."""
        stem = "".join(
            c if c.isalnum() or c in "-_" else "-" for c in Path(self.prepared.trace.name).name.split(".")[0]
        )
        return f"compare-{stem or 'trace'}-{hashlib.sha256(dump_json(self.run)).hexdigest()[:10]}"

    def files(self) -> dict[str, bytes]:
        """The run folder's files by name; of these only ``timing.json`` depends on the machine's speed."""
        by_name, domain = {arm.name: arm for arm in self.arms}, self.prepared.domain
        files = {
            "run.json": dump_json(self.run),
            "metrics.json": dump_json(self.summary),
            "timing.json": dump_json({arm.name: {"peak_rss_mb": arm.peak_rss_mb, **arm.timing} for arm in self.arms}),
            "figure.png": draw_comparison(
                {arm.name: arm.curve for arm in self.arms if arm.name in MAIN_ARMS and arm.curve is not None},
                by_name["guarded"].guard_states,
                domain.headline_limit(self.prepared.scenario.objective, self.prepared.system),
                _title(self.prepared) + stress_title(self.run),
                domain.report.figure,
            ),
        }
        for arm in self.arms:
            if arm.results_parquet is not None:
                files[f"results-{arm.name}.parquet"] = arm.results_parquet
            if arm.decisions_parquet is not None:
                files[f"decisions-{arm.name}.parquet"] = arm.decisions_parquet
        return files


def compare(
    trace: Any,
    scenario: Scenario,
    policy: str = "bundled",
    *,
    placebo: int = 0,
    guard_file: Path | None = None,
    stress: Stress = NO_STRESS,
    isolate_s: float | None = None,
    workers: int = 1,
    command: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Comparison:
    """Compare on ``trace`` under ``scenario``.

    Args:
        trace: The whole trace.
        scenario: Window, load, system, objective, fallback. Without a split: ``test`` if the policy was trained on this
            trace and the whole of it is given, else ``all``.
        policy: What ``--policy`` takes.
        placebo: How many times to run the fallback against itself with other tie-breaks.
        guard_file: The guard, in YAML or JSON; None for the policy folder's, else the domain's.
        stress: What goes wrong in every arm; the guard is calibrated without it.
        isolate_s: Seconds of wall time a decision for the policy in a process of its own; None for this process.
        workers: Most processes at once; it changes no result.
        command: The command line for ``run.json``, without paths.
        say: Told in a few words what is going on.
        on_progress: Called with the replays done and their number.

    Raises:
        HandrailError: The trace, scenario or policy cannot be used.
    """
    domain = domain_named(scenario.domain)
    check(scenario)
    window = cut_window(trace, scenario)
    described = _describe_policy(policy, domain, domain.system(scenario, window), scenario.seed)
    seen = described["trained_on"] == trace.content_hash
    split = scenario.split or ("test" if seen and scenario.window_s is None else "all")
    scenario = scenario.model_copy(update={"split": split})
    prepared = prepare(trace, scenario, say)
    thresholds = guard_thresholds(policy, prepared.system, guard_file)
    workers = workers if len(prepared.trace) > SMALL_TRACE else 1
    stressed(prepared, stress)  # says what has no meaning here before the calibration takes its time

    capacity_per_s = domain.capacity_per_s(prepared, cut_split(window, split, domain.margins), say)
    jobs = calibration_jobs(window, prepared.system, scenario, prepared.change, capacity_per_s)
    n_arms = len(MAIN_ARMS) + placebo
    done, total = 0, len(jobs) + n_arms

    def one_more() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    on_progress(0, total)
    say("calibrating the guard on the validation part")
    outcomes = run_jobs(run_calibration, jobs, workers, one_more)
    guard = calibrated(thresholds, capacity_per_s, outcomes)
    say("replaying")
    arms = [Arm("fallback", policy), Arm("unguarded", policy), Arm("guarded", policy, guard)]
    arms += [Arm(f"placebo-{k}", policy, tie_seed=k) for k in range(1, placebo + 1)]
    results = tuple(run_jobs(partial(run_arm, prepared, stress=stress, isolate_s=isolate_s), arms, workers, one_more))
    summary = _summarize(prepared, described, results)
    run = _describe_run(prepared, described, guard, capacity_per_s, placebo, command)
    under = stress_entry(prepared, stress, isolate_s)
    summary |= under
    summary["notes"] += stress_notes(prepared, stress, isolate_s)
    return Comparison(prepared, summary, results, run | under)


def _summarize(prepared: Prepared, described: Mapping[str, Any], arms: Sequence[ArmResult]) -> dict[str, Any]:
    entries, report = {arm.name: arm.entry for arm in arms}, prepared.domain.report
    summary: dict[str, Any] = {name: dict(entries[name]) for name in MAIN_ARMS}
    fallback = entries["fallback"]
    summary["ratio"] = {name: ratios(entries[name], fallback, report.metrics) for name in ("unguarded", "guarded")}
    summary["gain_kept"] = {
        f"{metric}.{key}": gain_kept(fallback, entries["unguarded"], entries["guarded"], metric, key)
        for metric, key in report.gain_of
    }
    placebos = [arm.entry for arm in arms if arm.name.startswith("placebo")]
    if placebos:
        summary["placebo"] = _spread(placebos, fallback, report.metrics)
    summary.update(prepared.domain.about(prepared))
    summary["load"] = prepared.change.to_json()
    summary["split"] = prepared.scenario.split
    summary["policy"] = described["name"]
    summary["fallback_policy"] = prepared.scenario.fallback
    sound = [arm for arm in arms if arm.name in ("fallback", "guarded")]
    longest_s, last_end_s = max(arm.longest_sojourn_s for arm in sound), max(arm.last_end_s for arm in sound)
    notes = (
        *prepared.domain.notes(prepared),
        _seen_note(prepared, described),
        prepared.change.note(),
        gap_note(prepared.gap_s, longest_s),
        _margin_note(prepared, last_end_s),
    )
    summary["notes"] = [note for note in notes if note]
    return summary


def ratios(
    entry: Mapping[str, Any], fallback: Mapping[str, Any], metrics: Sequence[str]
) -> dict[str, dict[str, float | None]] | None:
    """Each quantile of each of ``metrics`` over the fallback's; None where either is lost, or the arm failed."""
    if "failed" in entry:
        return None
    return {
        metric: {key: _ratio(entry[metric][key], fallback[metric][key]) for key in ("mean", *QUANTILES)}
        for metric in metrics
    }


def gain_kept(
    fallback: Mapping[str, Any], unguarded: Mapping[str, Any], guarded: Mapping[str, Any], metric: str, key: str
) -> float | None:
    """Share of the learned policy's gain that is left behind the guard; None where it has no gain alone."""
    if "failed" in unguarded:
        return None
    base, alone, behind = (entry[metric][key] for entry in (fallback, unguarded, guarded))
    if base is None or alone is None or behind is None or not alone < base:
        return None
    return (base - behind) / (base - alone)


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


def _spread(
    placebos: Sequence[Mapping[str, Any]], fallback: Mapping[str, Any], metrics: Sequence[str]
) -> dict[str, Any]:
    """The least and greatest ratio of the placebos to the fallback, and the most that any of them lost."""
    each = [ratios(entry, fallback, metrics) or {} for entry in placebos]
    spread: dict[str, Any] = {}
    for metric in metrics:
        spread[metric] = {}
        for key in ("mean", *QUANTILES):
            values = [ratio[metric][key] for ratio in each]
            known = [value for value in values if value is not None]
            complete = len(known) == len(values)
            spread[metric][key] = {
                "low": min(known) if known else None,
                "high": max(known) if known and complete else None,
            }
    return {"runs": len(placebos), "ratio": spread, "most_lost": max(sum(e["lost"].values()) for e in placebos)}


def _margin_note(prepared: Prepared, last_end_s: float) -> str | None:
    if prepared.measured.end_s == float("inf"):
        too_few = f"too few {prepared.domain.items} for warm-up and cool-down: all are measured"
        return None if prepared.scenario.whole else too_few
    last_arrival_s = float(prepared.trace.arrival_s[-1])
    if last_end_s <= last_arrival_s:
        return None
    return f"arrivals end at {last_arrival_s:.1f} s and the last measured {prepared.domain.item} at {last_end_s:.1f} s"


def _seen_note(prepared: Prepared, described: Mapping[str, Any]) -> str | None:
    scenario = prepared.scenario
    if described["trained_on"] != prepared.source_hash or (scenario.split == "test" and scenario.window_s is None):
        return None
    return "the policy was trained on this trace; only its test split (without --window) is unseen"


def _describe_policy(spec: str, domain: Domain, system: Any, seed: int) -> dict[str, Any]:
    policy = domain.make_policy(spec, system, seed)
    card = getattr(policy, "card", None)
    return {
        "name": str(getattr(policy, "name", spec)),
        "sha256": getattr(policy, "policy_hash", None),
        "trained_on": card.training.trace_sha256 if card is not None else None,
    }


def _describe_run(
    prepared: Prepared,
    described: Mapping[str, Any],
    guard: GuardConfig,
    capacity_per_s: float,
    placebo: int,
    command: Sequence[str],
) -> dict[str, Any]:
    scenario = prepared.scenario
    return {
        MARKER_KEY: "compare",
        "command": list(command),
        "config": scenario.model_dump(mode="json", exclude={"window_s"})
        | {"window_s": [_finite(x) for x in scenario.window_s] if scenario.window_s is not None else None},
        **prepared.domain.describe_run(prepared, capacity_per_s),
        "policy": dict(described),
        "guard": guard.model_dump(mode="json"),
        "placebo": placebo,
        "load": prepared.change.to_json(),
        "measured_s": [_finite(prepared.measured.start_s), _finite(prepared.measured.end_s)],
        "trace": {
            "name": Path(prepared.trace.name).name,
            "sha256": prepared.source_hash,
            "replayed_sha256": prepared.trace.content_hash,
            prepared.domain.items: len(prepared.trace),
        },
        "versions": versions(),
        "sources_sha256": source_hash(),
    }


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


def _title(prepared: Prepared) -> str:
    load = prepared.change.utilisation
    at = f" at {load:.2f} of capacity" if load is not None else ""
    name = Path(prepared.trace.name).name
    return f"{name} on {prepared.domain.describe_system(prepared)}{at}: {len(prepared.trace):,} {prepared.domain.items}"
