"""The metrics of a study, M1 to M14, from its cells; each in JSON's types."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common.tails import quantiles
from ..statistics import Interval, max_t_intervals, pooled_ratio
from . import arms
from .cells import QS, ArmData, Cell, log_ratios, pooled_value_ratio
from .config import DomainStudy, StudyConfig
from .counted import BROKEN, counted, finite, held, mean, median
from .gains import gain_and_harm
from .measure import MEASURES, tail_names


def worst_cell_tails(cells: Sequence[Cell], config: StudyConfig, domain: str) -> dict[str, Any]:
    """M1, for each tail: pooled ratio, simultaneous bounds, largest cell and largest placebo, worst window."""
    out: dict[str, Any] = {}
    for key in QS:
        chosen = held(cells, config, key)
        for tail in tail_names(domain):
            out[f"{tail}.{key}"] = _tail(chosen, tail, key, config)
    out["lost"] = _lost(held(cells, config))
    return out


def _tail(cells: Sequence[Cell], tail: str, key: str, config: StudyConfig) -> dict[str, Any]:
    cells = [cell for cell in cells if tail in cell.data.scales]
    if not cells:
        return {"cells": 0}
    pooled = pooled_ratio(
        [cell.guarded.counts[tail] for cell in cells],
        [cell.data.fallback.counts[tail] for cell in cells],
        [cell.group for cell in cells],
        QS[key],
        resamples=config.resamples,
        seed=config.seed,
    )
    logs = [log_ratios(cell.guarded, cell.data.fallback, tail, key) for cell in cells]
    finite = [k for k, values in enumerate(logs) if np.isfinite(values).all()]
    intervals = dict(zip(finite, _together(cells, logs, finite, config), strict=True))
    rows = [
        {
            "cell": cell.plan.name,
            "ratio": math.exp(float(np.mean(logs[k]))) if k in intervals else None,
            "interval": intervals[k].to_json() if k in intervals else None,
            "window": worst_window(cell.guarded, cell.data.fallback, tail),
        }
        for k, cell in enumerate(cells)
    ]
    placebo = placebo_spread(cells, tail, key)
    above = [row["cell"] for row in rows if row["interval"] is None or (row["interval"]["low"] or 0) > config.bar.cell]
    largest = max(rows, key=lambda row: math.inf if row["ratio"] is None else row["ratio"])
    return {
        "cells": len(cells),
        "pooled": pooled.to_json() if math.isfinite(pooled.estimate) else None,
        "largest": {"cell": largest["cell"], "ratio": largest["ratio"]},
        "placebo": placebo,
        "above": above,
        "rows": rows,
    }


def _together(
    cells: Sequence[Cell], logs: Sequence[NDArray[np.float64]], rows: Sequence[int], config: StudyConfig
) -> list[Interval]:
    return max_t_intervals([logs[k] for k in rows], [cells[k].group for k in rows], seed=config.seed)


def worst_window(ours: ArmData, theirs: ArmData, tail: str) -> float | None:
    """Largest ratio of p99s over the parts of a cell's replicates; None where none has enough items."""
    if tail not in ours.windows or tail not in theirs.windows:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = ours.windows[tail] / theirs.windows[tail]
    known = ratios[np.isfinite(ratios)]
    return float(known.max()) if len(known) else None


def placebo_spread(cells: Sequence[Cell], tail: str, key: str) -> dict[str, Any]:
    """Least and largest ratio of a placebo to the fallback over the cells' settings, each setting once."""
    ratios, windows = [], []
    settings = {cell.plan.setting: cell.data for cell in cells}
    for data in settings.values():
        for placebo in data.placebos:
            ratio = pooled_value_ratio(placebo, data.fallback, tail, key)
            ratios.append(math.inf if ratio is None else ratio)
            window = worst_window(placebo, data.fallback, tail)
            windows += [] if window is None else [window]
    if not ratios:
        return {"runs": 0, "low": None, "high": None, "window": None}
    high = max(ratios)
    return {
        "runs": len(ratios),
        "low": min(ratios),
        "high": high if math.isfinite(high) else None,
        "window": max(windows, default=None),
    }


def _lost(cells: Sequence[Cell]) -> dict[str, Any]:
    rows = [
        {
            "cell": cell.plan.name,
            "guarded": sum(cell.guarded.lost),
            "fallback": sum(cell.data.fallback.lost),
            "placebo": max((sum(p.lost) for p in cell.data.placebos), default=None),
        }
        for cell in cells
    ]
    more = [r["cell"] for r in rows if r["guarded"] > max(1.02 * r["fallback"], r["placebo"] or 0)]
    totals = {side: sum(row[side] for row in rows) for side in ("guarded", "fallback")}
    return {**totals, "more": more, "rows": [row for row in rows if row["guarded"] or row["fallback"]]}


def harmful_share(cells: Sequence[Cell], config: StudyConfig, domain: str) -> dict[str, Any]:
    """In which share of the shifted cells the policy alone fails."""
    shifted = [c for c in cells if c.plan.role in ("shift", "system") and c.data.load == "loaded"]
    shifted = [c for c in shifted if counted(c, config)]

    def share(these: Sequence[Cell]) -> dict[str, Any]:
        failing = [c.plan.name for c in these if worst_ratio(c, arms.UNGUARDED, domain) >= config.bar.harmful]
        return {"cells": len(these), "failing": len(failing), "share": len(failing) / len(these) if these else None}

    honest = [c for c in shifted if not c.plan.policy.startswith(BROKEN)]
    return {"all": share(shifted), "honest": share(honest)}


def worst_ratio(cell: Cell, arm: str, domain: str, key: str = "p99") -> float:
    """The largest ratio over the domain's tails; +inf where the arm failed or a tail is lost."""
    data = cell.arms[arm]
    if data.failed:
        return math.inf
    found = [cell.ratio(arm, tail, key) for tail in tail_names(domain) if tail in cell.data.scales]
    return max((math.inf if ratio is None else ratio for ratio in found), default=1.0)


def availability(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """M4 by policy and role: share of decisions, and who took the others."""
    out = []
    for policy, role in dict.fromkeys((c.plan.policy, c.plan.role) for c in cells):
        here = [c for c in cells if (c.plan.policy, c.plan.role) == (policy, role)]
        reasons: dict[str, int] = {}
        decisions = 0
        for cell in here:
            for facts in cell.guarded.facts:
                decisions += facts["guard"]["decisions"]
                for reason, count in facts["guard"]["interventions"].items():
                    reasons[reason] = reasons.get(reason, 0) + count
        shares = {r: n / max(decisions, 1) for r, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))}
        each = [mean(cell.guarded.availability) or 0.0 for cell in here]
        out.append({"policy": policy, "role": role, "cells": len(here), "availability": mean(each), "reasons": shares})
    return out


def detection(cells: Sequence[Cell], learned: Sequence[str], domain: str, config: StudyConfig) -> dict[str, Any]:
    """M6: from the onset of what makes the policy worse; and false alarms where nothing goes wrong."""
    rows = []
    for cell in cells:
        found = [event["detection"] for event in cell.events if "detection" in event]
        if not found or worst_ratio(cell, arms.UNGUARDED, domain) <= config.bar.contained:
            continue
        noticed = [d for d in found if d.intervened_s is not None]
        opened = [d.opened_s for d in found if d.opened_s is not None]
        rows.append(
            {
                "cell": cell.plan.name,
                "role": cell.plan.role,
                "replicates": len(found),
                "noticed": len(noticed),
                "intervened_s": median([d.intervened_s for d in noticed]),
                "intervened_decisions": median([d.intervened_decisions for d in noticed]),
                "opened": len(opened),
                "opened_s": median(opened),
                "harmed": sum(d.harmed for d in found),
            }
        )
    alarms = []
    for policy in dict.fromkeys(c.plan.policy for c in cells if c.plan.role == "clean"):
        here = [c for c in cells if c.plan.role == "clean" and c.plan.policy == policy]
        hours = sum(event["hours"] for cell in here for event in cell.events)
        openings = sum(event["openings"] for cell in here for event in cell.events)
        alarms.append({"policy": policy, "hours": hours, "openings": openings, "per_h": openings / hours})
    return {"rows": rows, "alarms": alarms}


def returns(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """M7: after the end of a stress."""
    rows = []
    for cell in cells:
        found = [event["return"] for event in cell.events if "return" in event]
        if not found:
            continue
        back = [r.after_s for r in found if r.after_s is not None]
        harmed = sum(r.harmed_by_probes for r in found)
        rows.append(
            {
                "cell": cell.plan.name,
                "role": cell.plan.role,
                "replicates": len(found),
                "returned": len(back),
                "after_s": median(back),
                "harmed_by_probes": harmed,
            }
        )
    return rows


def flapping(cells: Sequence[Cell], domain: str) -> dict[str, Any]:
    """M8: switches per hour, and the headline tail within a window after a switch, pooled over cells."""
    hours = sum(event["hours"] for cell in cells for event in cell.events)
    switches = sum(event["switches"] for cell in cells for event in cell.events)
    tail = MEASURES[domain].headline
    fastest = max(
        (
            (sum(e["switches"] for e in c.events) / max(sum(e["hours"] for e in c.events), 1e-9), c.plan.name)
            for c in cells
        ),
        default=(0.0, ""),
    )
    ratio, items = _pools(cells, "after_switch", tail)
    per_h = switches / hours if hours else None
    most = {"cell": fastest[1], "per_h": fastest[0]}
    return {"per_h": per_h, "most": most, "after_switch": ratio, "after_switch_items": items}


def _pools(cells: Iterable[Cell], name: str, tail: str) -> tuple[float | None, int]:
    """p99 of guarded over fallback on the same rows of all cells, each on its own scale; and how many there are."""
    ours, theirs = [], []
    for cell in cells:
        for event in cell.events:
            pair = event.get(name, {}).get(tail)
            if pair is not None:
                ours.append(pair[0].astype(np.float64) / cell.data.scales[tail])
                theirs.append(pair[1].astype(np.float64) / cell.data.scales[tail])
    items = sum(map(len, ours))
    if items < 100:
        return None, items
    top, bottom = (quantiles(np.concatenate(side), [0.99])[0] for side in (ours, theirs))
    return (top / bottom if np.isfinite(top) and np.isfinite(bottom) and bottom > 0 else None), items


def bounds(cells: Sequence[Cell], overdue_passes: int = 500) -> dict[str, Any]:
    """M9: violations of proved bounds, recomputed from results: passes of overdue jobs, misses over the budget."""
    passes = [f["most_passes"] for c in cells for f in c.guarded.facts if f.get("most_passes") is not None]
    excesses = [event["budget_excess"] for c in cells for event in c.events if "budget_excess" in event]
    return {
        "starvation": {
            "runs": len(passes),
            "most_passes": max(passes, default=None),
            "violations": sum(p > overdue_passes for p in passes),
        },
        "budget": {"runs": len(excesses), "violations": sum(e > 0 for e in excesses)},
    }


def containment(cells: Sequence[Cell], domain: str, config: StudyConfig) -> list[dict[str, Any]]:
    """M12: policy and sensor faults: the tails from detection on, and how fast that was."""
    rows = []
    for cell in cells:
        if cell.plan.role not in ("policy", "sensor", "adversary"):
            continue
        worst, items = _since_detection(cell, "since_detection", domain)
        chance = [
            _since_detection(cell, f"since_detection.{arms.placebo(number)}", domain)[0]
            for number in range(1, len(cell.data.placebos) + 1)
        ]
        noticed = [e["detection"].intervened_s for e in cell.events if "detection" in e]
        noticed += [e["first_refusal_s"] for e in cell.events if "first_refusal_s" in e]
        known = [s for s in noticed if s is not None]
        rows.append(
            {
                "cell": cell.plan.name,
                "role": cell.plan.role,
                "load": cell.data.load,
                "counts": counted(cell, config),
                "items": items,
                "since_detection": worst if worst else None,
                "contained": worst <= config.bar.contained if worst else None,
                "placebo": max(chance, default=0.0) or None,
                "unguarded": finite(worst_ratio(cell, arms.UNGUARDED, domain)),
                "guarded": finite(worst_ratio(cell, arms.GUARDED, domain)),
                "noticed": len(known),
                "replicates": len(cell.events),
                "after_s": median(known),
                "availability": mean(cell.guarded.availability),
            }
        )
    return rows


def _since_detection(cell: Cell, name: str, domain: str) -> tuple[float, int]:
    """The largest p99 ratio over the domain's tails of the items from detection on, 0 for none; and how many."""
    worst, items = 0.0, 0
    for tail in tail_names(domain):
        if tail != "tbt_s":
            ratio, items = _pools([cell], name, tail)
            worst = max(worst, ratio or 0.0)
    return worst, items


def unhealthy(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """M14: cells where guarded and fallback both fail."""
    return [
        {
            "cell": cell.plan.name,
            "load": cell.data.load,
            "fallback": mean(cell.data.fallback.attainment),
            "guarded": mean(cell.guarded.attainment),
        }
        for cell in cells
        if cell.data.load == "saturated" and (mean(cell.guarded.attainment) or 0.0) < 0.9
    ]


def evaluate_domain(
    cells: Sequence[Cell], study: DomainStudy, config: StudyConfig, domain: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """All metrics of one domain that come from its cells."""
    say(f"{domain}: tails")
    m1 = worst_cell_tails(cells, config, domain)
    say(f"{domain}: gain and harm")
    by_class = {k: sum(c.data.load == k for c in cells) for k in ("light", "loaded", "saturated")}
    return {
        "cells": len(cells),
        "counted": sum(counted(c, config) for c in cells),
        "held": len(held(cells, config)),
        "classes": by_class,
        "M1": m1,
        "M2_M3": gain_and_harm(cells, config, domain, study.learned),
        "M4": availability(cells),
        "M6": detection(cells, study.learned, domain, config),
        "M7": returns(cells),
        "M8": flapping(cells, domain),
        "M9": bounds(cells),
        "M12": containment(cells, domain, config),
        "M14": unhealthy(cells),
        "harmful": harmful_share(cells, config, domain),
    }
