"""The bar: each clause met or missed, with its numbers, and where missed the cells with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .cells import Cell
from .config import StudyConfig
from .counted import mean
from .measure import MEASURES, tail_names

MET, MISSED, OPEN = "met", "missed", "no verdict"
MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of the bar.

    Attributes:
        name: What is asked.
        verdict: ``met``, ``missed``, or ``no verdict`` where nothing counts.
        numbers: What was found, in a few words.
        cells: Cells that miss it, each with a reason.
    """

    name: str
    verdict: str
    numbers: str
    cells: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge_domain(
    found: Mapping[str, Any], cells: Sequence[Cell], config: StudyConfig, domain: str, learned: Sequence[str]
) -> list[Clause]:
    """All clauses for one domain."""
    by_name = {cell.plan.name: cell for cell in cells}
    clauses = [_pooled(found, config, domain, key) for key in ("p99", "p999")]
    clauses += [_cells_above(found, by_name, config, domain, key) for key in ("p99", "p999")]
    clauses += [_within_placebo(found, by_name, domain, key) for key in ("p99", "p999")]
    clauses += [_lost(found, by_name)]
    clauses += _gains(found, config, domain)
    clauses += [_harmful(found, config), _bounds(found)]
    clauses += [_contained(found, role) for role in ("policy", "sensor", "adversary")]
    clauses += [_deterministic(found), _sound(found)]
    return clauses


def reason(cell: Cell | None, tail: str = "") -> str:
    """Why a cell may have missed, from what is known of it: stress, availability, interventions, placebo's reach."""
    if cell is None:
        return ""
    placebo = [arm.values[tail, "p99"] for arm in cell.data.placebos if (tail, "p99") in arm.values]
    spread = f"; placebo of its setting {min(map(float, map(_mean, placebo))):.2f}" if placebo else ""
    if len(placebo) > 1:
        spread += f"-{max(map(float, map(_mean, placebo))):.2f}"
    reasons: dict[str, int] = {}
    for facts in cell.guarded.facts:
        for name, count in facts["guard"]["interventions"].items():
            reasons[name] = reasons.get(name, 0) + count
    most = max(reasons, key=lambda name: reasons[name], default="none")
    share = mean(cell.guarded.availability) or 0.0
    return f"stress {cell.plan.setting.stress}; {share:.0%} of decisions by the policy; most refusals: {most}{spread}"


def _mean(values: Any) -> float:
    return float(values.mean())


def _named(names: Sequence[str], by_name: Mapping[str, Cell], tail: str = "") -> tuple[str, ...]:
    return tuple(f"{name} ({reason(by_name.get(name), tail)})" for name in list(names)[:MOST_NAMED])


def _span(interval: Mapping[str, Any]) -> str:
    ends = "" if interval["high"] is None else f" [{interval['low']:.3f}, {interval['high']:.3f}]"
    return f"{interval['estimate']:.3f}{ends}"


def _pooled(found: Mapping[str, Any], config: StudyConfig, domain: str, key: str) -> Clause:
    name = f"pooled {_label(key)} over the fallback's at most {config.bar.pooled:g}, upper bound included"
    parts, verdicts = [], []
    for tail in tail_names(domain):
        entry = found["M1"][f"{tail}.{key}"]
        if not entry["cells"]:
            continue
        pooled = entry["pooled"]
        parts.append(f"{tail} {'lost' if pooled is None else _span(pooled)} ({entry['cells']} cells)")
        bound = None if pooled is None else pooled["high"] if pooled["high"] is not None else pooled["estimate"]
        verdicts.append(bound is not None and bound <= config.bar.pooled)
    return Clause(name, _verdict(verdicts), "; ".join(parts) or "no loaded cell has enough items")


def _cells_above(
    found: Mapping[str, Any], by_name: Mapping[str, Cell], config: StudyConfig, domain: str, key: str
) -> Clause:
    name = f"no cell whose simultaneous lower bound of {_label(key)} is above {config.bar.cell:g}"
    cells, parts, verdicts = [], [], []
    for tail in tail_names(domain):
        entry = found["M1"][f"{tail}.{key}"]
        if entry["cells"]:
            verdicts.append(not entry["above"])
            parts.append(f"{tail} {len(entry['above'])} of {entry['cells']}")
            cells += [f"{tail}: {text}" for text in _named(entry["above"], by_name, tail)]
    return Clause(name, _verdict(verdicts), "; ".join(parts) or "no loaded cell has enough items", tuple(cells))


def _within_placebo(found: Mapping[str, Any], by_name: Mapping[str, Cell], domain: str, key: str) -> Clause:
    name = f"the largest cell's {_label(key)} not above the placebo's largest"
    cells, parts, verdicts = [], [], []
    for tail in tail_names(domain):
        entry = found["M1"][f"{tail}.{key}"]
        if not entry["cells"] or not entry["placebo"]["runs"]:
            continue
        ours, theirs = entry["largest"]["ratio"], entry["placebo"]["high"]
        kept = ours is not None and (theirs is None or ours <= theirs)
        verdicts.append(kept)
        shown = "lost" if ours is None else f"{ours:.3f}"
        parts.append(f"{tail} {shown} against {'lost' if theirs is None else f'{theirs:.3f}'}")
        if not kept:
            over = [r["cell"] for r in entry["rows"] if r["ratio"] is None or r["ratio"] > (theirs or 0.0)]
            cells += [f"{tail}: {text}" for text in _named(over, by_name, tail)]
    return Clause(name, _verdict(verdicts), "; ".join(parts) or "no loaded cell has enough items", tuple(cells))


def _lost(found: Mapping[str, Any], by_name: Mapping[str, Cell]) -> Clause:
    lost = found["M1"]["lost"]
    numbers = f"guarded {lost['guarded']:,}, fallback {lost['fallback']:,}"
    held_any = [not lost["more"]] if found["held"] else []
    name = "lost items of each cell at most 1.02 of the fallback's, or the placebo's"
    return Clause(name, _verdict(held_any), numbers, _named(lost["more"], by_name))


def _gains(found: Mapping[str, Any], config: StudyConfig, domain: str) -> list[Clause]:
    clauses = []
    for tail, key in MEASURES[domain].gains:
        entry = found["M2_M3"][f"{tail}.{key}"]
        label = f"{tail} {_label(key)}"
        gain = entry["gain"]
        if gain is None:
            clauses.append(
                Clause(f"gain of {label} retained", OPEN, "no loaded cell where the learned policy is better")
            )
            continue
        verdict = MET if gain["estimate"] >= config.bar.gain else MISSED
        share = "" if entry["availability"] is None else f" at {entry['availability']:.1%} availability"
        numbers = f"{_span(gain)} over {gain['cells']} cells{share}"
        clauses.append(Clause(f"gain of {label} retained at least {config.bar.gain:.0%}", verdict, numbers))
        clauses.append(_above_nulls(f"gain of {label} above the nulls, paired", entry["nulls"]))
        everywhere = f"gain less harm of {label} above the nulls, paired, over all cells that have them"
        clauses.append(_above_nulls(everywhere, entry["nulls_everywhere"]))
        insured = f"gain less harm of {label} above the nulls, paired, with the cells where the policy itself breaks"
        clauses.append(_above_nulls(insured, entry["nulls_insured"]))
    return clauses


def _above_nulls(name: str, nulls: Mapping[str, Any]) -> Clause:
    beaten, parts = [], []
    for null in ("shifted-intervals", "static-gate"):
        row = nulls.get(null)
        if row is not None:
            beaten.append(row["beaten"])
            kept = "" if row["gain"] is None else f" keeps {row['gain']:.3f},"
            parts.append(f"{null}{kept} guard ahead by {_span(row['guard_ahead_by'])} ({row['cells']} cells)")
    return Clause(name, _verdict(beaten), "; ".join(parts) or "no nulls")


def _harmful(found: Mapping[str, Any], config: StudyConfig) -> Clause:
    every, honest = found["harmful"]["all"], found["harmful"]["honest"]
    bar = config.bar
    name = f"alone, policies fail (at least {bar.harmful:g}x) in at least {bar.harmful_share:.0%} of shifted cells"
    if every["share"] is None:
        return Clause(name, OPEN, "no shifted cell counts")
    other = "none count" if honest["share"] is None else f"{honest['failing']} of {honest['cells']}"
    numbers = f"{every['failing']} of {every['cells']}; without sabotaged policies {other}"
    return Clause(name, MET if every["share"] >= bar.harmful_share else MISSED, numbers)


def _bounds(found: Mapping[str, Any]) -> Clause:
    starvation, budget = found["M9"]["starvation"], found["M9"]["budget"]
    runs = starvation["runs"] + budget["runs"]
    violations = starvation["violations"] + budget["violations"]
    numbers = f"starvation {starvation['violations']} in {starvation['runs']} runs"
    numbers += f"; budget {budget['violations']} in {budget['runs']} runs"
    verdict = OPEN if not runs else MET if not violations else MISSED
    return Clause("no violation of a proved bound", verdict, numbers)


def _contained(found: Mapping[str, Any], role: str) -> Clause:
    what = {"policy": "every policy fault", "sensor": "sensor faults", "adversary": "adversaries (reported apart)"}[
        role
    ]
    name = f"{what} contained: p99 from detection on within 10 % of the fallback's"
    rows = [r for r in found["M12"] if r["role"] == role and r["contained"] is not None and r["counts"]]
    rows = [r for r in rows if r["load"] == "loaded"]
    if not rows:
        return Clause(name, OPEN, "no cell counts")
    missed = [r for r in rows if not r["contained"]]
    cells = tuple(_missed_fault(r) for r in missed[:MOST_NAMED])
    numbers = f"{len(rows) - len(missed)} of {len(rows)} cells"
    return Clause(name, MET if not missed else MISSED, numbers, cells)


def _missed_fault(row: Mapping[str, Any]) -> str:
    spread = "unknown" if row["placebo"] is None else f"{row['placebo']:.2f}"
    share = "-" if row["availability"] is None else f"{row['availability']:.0%}"
    found = f"{row['since_detection']:.2f} from detection on; {share} by the policy; placebo on the same items {spread}"
    return f"{row['cell']} ({found})"


def _deterministic(found: Mapping[str, Any]) -> Clause:
    rows = found["M11"]
    equal = sum(r["equal"] for r in rows)
    verdict = _verdict([r["equal"] for r in rows])
    return Clause("equal decision logs of runs made twice", verdict, f"{equal} of {len(rows)} equal")


def _sound(found: Mapping[str, Any]) -> Clause:
    rows = found["failures"]
    named = dict.fromkeys(f"{row['cell']} ({row['arm']}: {row['reason']})" for row in rows)
    numbers = f"{len(rows)} runs in {len({row['cell'] for row in rows})} cells"
    verdict = MET if not rows else MISSED
    return Clause("no run of the fallback or behind the guard ends early", verdict, numbers, tuple(named)[:MOST_NAMED])


def _verdict(parts: Sequence[bool]) -> str:
    return OPEN if not parts else MET if all(parts) else MISSED


def _label(key: str) -> str:
    return {"p99": "p99", "p999": "p99.9"}.get(key, key)
