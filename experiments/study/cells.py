"""Runs put together again: cells with the tails of each arm by replicate, on the scale of the cell's own fallback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common.tails import quantiles
from ..statistics import log_counts
from . import arms
from .classify import Load, classify
from .config import StudyConfig
from .events import after_switches, best_of_both, come_back, detect, switches_by_block
from .guards import VALIDATION
from .matrix import CellPlan, Group, Setting, cells_of, groups_of
from .measure import MEASURES, TBT, tail_names
from .replays import Bench

Floats = NDArray[np.float64]
Run = tuple[dict[str, Any], dict[str, NDArray[Any]]]
Arrays = Mapping[str, NDArray[Any]]

QS = {"p99": 0.99, "p999": 0.999}
LEAST_VALUE = 0.02
"""Smallest tail of a replicate that ratios tell apart, in units of the cell's fallback p99."""

LOST_COST = 100.0
"""What a lost item costs a hindsight choice, in units of the fallback's p99."""

WINDOWS = 6
"""Parts of a replicate among which the worst is looked for."""

LEAST_WINDOW_ITEMS = 300
STATIC_GATE, ORACLE = "static-gate", "hindsight-oracle"


@dataclass(slots=True)
class ArmData:
    """One arm of a cell, all replicates.

    Attributes:
        values: By tail and ``mean``, ``p99`` or ``p999``: one value a replicate over the cell's scale, +inf where lost.
        counts: By tail: counts of relative values a replicate, shape (replicates, bins).
        windows: By tail: p99 of each part of each replicate over the scale, shape (replicates, WINDOWS); nan where
            there are too few items.
        lost: Lost items a replicate.
        attainment: Share of items that attain the objective, a replicate.
        availability: Share of decisions that were the policy's, a replicate; empty where it has no meaning.
        failed: Why it ended early, if it did.
        facts: Facts of each replicate.
    """

    values: dict[tuple[str, str], Floats] = field(default_factory=dict)
    counts: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    windows: dict[str, Floats] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    attainment: list[float] = field(default_factory=list)
    availability: list[float] = field(default_factory=list)
    failed: str = ""
    facts: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class SettingData:
    """A setting: its class and what its cells share.

    Attributes:
        setting: Which.
        load: Class, from the fallback alone.
        measured: Measured items, all replicates.
        scales: p99 of the fallback by tail, pooled over replicates; without those that are 0 or lost.
        arms: Shared arms by name.
        replicates: Their number.
    """

    setting: Setting
    load: Load
    measured: int
    scales: dict[str, float]
    arms: dict[str, ArmData]
    replicates: int

    @property
    def fallback(self) -> ArmData:
        return self.arms[arms.FALLBACK]

    @property
    def placebos(self) -> list[ArmData]:
        return [arm for name, arm in self.arms.items() if name.startswith("placebo-")]


@dataclass(slots=True)
class Cell:
    """A policy in a setting.

    Attributes:
        plan: Which.
        data: Its setting.
        arms: Its own arms by name; those put together from others too.
        events: One entry a replicate: detection, return, and pools for switches and containment.
    """

    plan: CellPlan
    data: SettingData
    arms: dict[str, ArmData]
    events: list[dict[str, Any]]

    @property
    def guarded(self) -> ArmData:
        return self.arms[arms.GUARDED]

    @property
    def unguarded(self) -> ArmData:
        return self.arms[arms.UNGUARDED]

    @property
    def group(self) -> tuple[str, str, str]:
        """What shares its replicates: cells of one trace at one load."""
        setting = self.plan.setting
        return setting.domain, setting.trace, setting.load_text

    def ratio(self, arm: str, tail: str, key: str) -> float | None:
        """The arm's tail over the fallback's, pooled over replicates; None where either is lost or not known."""
        ours = self.arms.get(arm)
        if ours is None or ours.failed or (tail, key) not in ours.values:
            return None
        return pooled_value_ratio(ours, self.data.fallback, tail, key)


def pooled_value_ratio(ours: ArmData, theirs: ArmData, tail: str, key: str) -> float | None:
    """Geometric mean over replicates of a tail over another's; None where one is lost or not known."""
    top, bottom = ours.values.get((tail, key)), theirs.values.get((tail, key))
    if top is None or bottom is None or len(top) != len(bottom):
        return None
    ratio = float(np.exp(np.mean(log_ratios(ours, theirs, tail, key))))
    return ratio if np.isfinite(ratio) else None


def log_ratios(ours: ArmData, theirs: ArmData, tail: str, key: str) -> Floats:
    """Log ratio of a tail a replicate; +inf where ours alone is lost, 0 where both are.

    Both sides count as ``LEAST_VALUE`` at least: a replicate in which next to nothing waits says nothing by a ratio.
    """
    top, bottom = (np.maximum(side.values[tail, key], LEAST_VALUE) for side in (ours, theirs))
    with np.errstate(invalid="ignore"):
        logs = np.log(top) - np.log(bottom)
    return np.where(top == bottom, 0.0, logs)


def load_cells(bench: Bench, only: str | None = None) -> list[Cell]:
    """All cells of which every run is there, in the order of the config."""
    replicates: dict[Setting, list[Group]] = {}
    for group in groups_of(bench.config, only):
        replicates.setdefault(group.setting, []).append(group)
    plans: dict[Setting, list[CellPlan]] = {}
    for plan in cells_of(bench.config, only):
        plans.setdefault(plan.setting, []).append(plan)
    verdicts: dict[tuple[str, str, str, str], bool | None] = {}
    cells: list[Cell] = []
    for setting, groups in replicates.items():
        groups.sort(key=lambda group: group.replicate)
        cells += _setting_cells(bench, setting, groups, plans[setting], verdicts)
    order = {plan.name: number for number, plan in enumerate(cells_of(bench.config, only))}
    return sorted(cells, key=lambda cell: order[cell.plan.name])


def _setting_cells(
    bench: Bench,
    setting: Setting,
    groups: Sequence[Group],
    plans: Sequence[CellPlan],
    verdicts: dict[tuple[str, str, str, str], bool | None],
) -> list[Cell]:
    split, config = bench.config.split, bench.config

    def runs(arm: str, policy: str, numbers: Sequence[int]) -> list[Run] | None:
        keys = [bench.key(setting, n, arm, policy, split) for n in numbers]
        if not all(bench.store.has(key) for key in keys):
            return None
        found = [bench.store.read(key) for key in keys]
        return None if arm in arms.NULLS and _failed(found) else found

    every = [group.replicate for group in groups]
    fallback = runs(arms.FALLBACK, "", every)
    if fallback is None or _failed(fallback):
        return []
    cache: dict[tuple[int, ...], tuple[SettingData, list[Run], list[list[Run]]]] = {}

    def shared(numbers: tuple[int, ...]) -> tuple[SettingData, list[Run], list[list[Run]]]:
        if numbers not in cache:
            ours = [fallback[every.index(n)] for n in numbers]
            names = [arms.placebo(k) for k in range(1, max(g.placebos for g in groups) + 1)]
            placebos = [found for name in names if (found := runs(name, "", numbers)) is not None]
            scales = fallback_scales(setting.domain, ours)
            data: dict[str, ArmData] = {arms.FALLBACK: arm_data(ours, scales, config)}
            for name in (*names, arms.CHECKED_FALLBACK, arms.RULE_WITHIN_CHECKS):
                found = runs(name, "", numbers)
                if found is not None:
                    data[name] = arm_data(found, scales, config)
            facts = [run[0] for run in ours]
            measured = sum(fact["measured"] for fact in facts)
            setting_data = SettingData(setting, classify(facts), measured, scales, data, len(numbers))
            cache[numbers] = setting_data, ours, placebos
        return cache[numbers]

    cells = []
    for plan in plans:
        numbers = tuple(group.replicate for group in groups if plan.policy in group.policies)
        guarded, unguarded = runs(arms.GUARDED, plan.policy, numbers), runs(arms.UNGUARDED, plan.policy, numbers)
        if guarded is None or unguarded is None or _failed(guarded):
            continue
        data, base, placebos = shared(numbers)
        own = {
            arms.GUARDED: arm_data(guarded, data.scales, config),
            arms.UNGUARDED: arm_data(unguarded, data.scales, config),
        }
        for name in (*arms.NULLS, arms.DELAYED):
            found = runs(name, plan.policy, numbers)
            if found is not None:
                own[name] = arm_data(found, data.scales, config)
        study = config.domains[setting.domain]  # type: ignore[index]
        if plan.nulls and not own[arms.UNGUARDED].failed:
            oracle = _oracle_runs(setting.domain, base, unguarded, guarded, data.scales, config.blocks_of_time)
            own[ORACLE] = arm_data(oracle, data.scales, config)
            key = (setting.domain, setting.trace, setting.load_text, plan.policy)
            if key not in verdicts:
                verdicts[key] = deploys(bench, setting, plan.policy)
            if verdicts[key] is not None:
                own[STATIC_GATE] = own[arms.UNGUARDED] if verdicts[key] else data.fallback
        events = [
            _events(guarded[k], base[k], [runs[k] for runs in placebos], data.scales, study.switch_window_s)
            for k in range(len(guarded))
        ]
        cells.append(Cell(plan, data, own, events))
    return cells


def _failed(runs: Sequence[Run]) -> bool:
    return any("failed" in facts for facts, _ in runs)


def failures(bench: Bench, only: str | None = None) -> list[dict[str, Any]]:
    """Runs of the fallback or of a guarded policy that ended early, which nothing stands behind."""
    rows = []
    for group in groups_of(bench.config, only):
        for arm, policy in ((arms.FALLBACK, ""), *((arms.GUARDED, policy) for policy in group.policies)):
            key = bench.key(group.setting, group.replicate, arm, policy, bench.config.split)
            facts = bench.store.facts(key) if bench.store.has(key) else {}
            if "failed" in facts:
                cell = f"{group.setting.name}/{policy or arms.FALLBACK}"
                rows.append({"cell": cell, "replicate": group.replicate, "arm": arm, "reason": facts["failed"]})
    return sorted(rows, key=lambda row: (row["cell"], row["replicate"]))


def deploys(bench: Bench, setting: Setting, policy: str) -> bool | None:
    """Whether a static gate takes the policy: on the validation part its tails are no longer than the fallback's.

    By the geometric mean of the gains' ratios; None where the validation runs are not there.
    """
    clean = Setting(setting.domain, setting.trace, setting.load_text, "none")
    found = []
    for arm, name in ((arms.FALLBACK, ""), (arms.UNGUARDED, policy)):
        key = bench.key(clean, 0, arm, name, VALIDATION)
        if not bench.store.has(key):
            return None
        found.append(bench.store.facts(key))
    fallback, alone = found
    if "failed" in alone:
        return False
    logs = []
    for tail, key in MEASURES[setting.domain].gains:
        ours, theirs = alone["tails"][tail][key], fallback["tails"][tail][key]
        if ours is None:
            return False
        if theirs:
            logs.append(np.log(max(ours, 1e-12) / theirs))
    return bool(np.mean(logs) <= 0.0) if logs else False


def fallback_scales(domain: str, runs: Sequence[Run]) -> dict[str, float]:
    scales = {}
    for tail in tail_names(domain):
        pooled = np.concatenate([arrays[f"tail.{tail}"].astype(np.float64) for _, arrays in runs])
        if len(pooled) == 0:
            continue
        (p99,) = quantiles(pooled, [0.99])
        if np.isfinite(p99) and p99 > 0:
            scales[tail] = p99
    return scales


def arm_data(runs: Sequence[Run], scales: Mapping[str, float], config: StudyConfig) -> ArmData:
    """One arm from its runs, one a replicate."""
    data = ArmData(facts=[facts for facts, _ in runs])
    for facts, _ in runs:
        if "failed" in facts:
            data.failed = facts["failed"]
            return data
        data.lost.append(sum(facts["lost"].values()))
        data.attainment.append(facts["slo_attainment"])
        if "guard" in facts or "availability" in facts:
            data.availability.append(facts["guard"]["availability"] if "guard" in facts else facts["availability"])
    for tail, scale in scales.items():
        columns = [arrays[f"tail.{tail}"].astype(np.float64) / scale for _, arrays in runs]
        if any(len(column) == 0 for column in columns):
            continue
        for key, q in QS.items():
            data.values[tail, key] = np.array([quantiles(column, [q])[0] for column in columns])
        data.values[tail, "mean"] = np.array([float(column.mean()) for column in columns])
        data.counts[tail] = np.stack([log_counts(column, 1.0) for column in columns])
        if tail != TBT:
            data.windows[tail] = np.array(
                [
                    _window_p99s(column, arrays["block"], config.blocks_of_time)
                    for column, (_, arrays) in zip(columns, runs, strict=True)
                ]
            )
    return data


def _window_p99s(column: Floats, block: NDArray[np.uint8], blocks: int) -> list[float]:
    part = block.astype(np.int64) * WINDOWS // blocks
    found = [column[part == k] for k in range(WINDOWS)]
    return [quantiles(x, [0.99])[0] if len(x) >= LEAST_WINDOW_ITEMS else np.nan for x in found]


def _oracle_runs(
    domain: str,
    fallback: Sequence[Run],
    unguarded: Sequence[Run],
    guarded: Sequence[Run],
    scales: Mapping[str, float],
    blocks: int,
) -> list[Run]:
    """The hindsight choice of each replicate: block by block the fallback's items or the policy's."""
    out: list[Run] = []
    tails = [tail for tail in scales if tail != TBT]
    for (facts, theirs), (_, ours), (guard_facts, guard) in zip(fallback, unguarded, guarded, strict=True):
        costs = np.stack([_block_costs(arrays, tails, scales, blocks) for arrays in (theirs, ours)])
        switches = switches_by_block(guard, guard_facts["start_s"], guard_facts["span_s"], blocks)
        choice = best_of_both(costs, switches)
        takes = choice[theirs["block"]] == 1
        if not np.array_equal(theirs["row"], ours["row"]):
            continue
        arrays = {**theirs}
        for tail in tails:
            arrays[f"tail.{tail}"] = np.where(takes, ours[f"tail.{tail}"], theirs[f"tail.{tail}"])
        if f"tail.{TBT}" in theirs:
            share = float(takes.mean())
            arrays[f"tail.{TBT}"] = ours[f"tail.{TBT}"] if share > 0.5 else theirs[f"tail.{TBT}"]
        headline = f"tail.{MEASURES[domain].headline}"
        lost = int(np.count_nonzero(np.isinf(arrays[headline])))
        attained = np.where(takes, ours["attained"], theirs["attained"])
        made = {
            **facts,
            "arm": ORACLE,
            "lost": {"all": lost},
            "slo_attainment": float(attained.mean()),
            "availability": float(takes.mean()),
        }
        out.append((made, arrays))
    return out


def _block_costs(
    arrays: Mapping[str, NDArray[Any]], tails: Sequence[str], scales: Mapping[str, float], blocks: int
) -> Floats:
    """What each block adds beyond the fallback's p99 of each tail, and a little of all else, so that ties are rare."""
    total = np.zeros(len(arrays["row"]))
    for tail in tails:
        relative = np.minimum(arrays[f"tail.{tail}"].astype(np.float64) / scales[tail], LOST_COST)
        total += np.maximum(relative - 1.0, 0.0) + 0.01 * relative
    return np.bincount(arrays["block"], weights=total, minlength=blocks)[:blocks].astype(np.float64)


def _events(
    guarded: Run, fallback: Run, placebos: Sequence[Run], scales: Mapping[str, float], window_s: float
) -> dict[str, Any]:
    (facts, ours), (_, theirs) = guarded, fallback
    hours = facts["span_s"] / 3600.0
    tails = [tail for tail in scales if tail != TBT]
    same = np.array_equal(ours["row"], theirs["row"])
    found: dict[str, Any] = {
        "hours": hours,
        "switches": len(facts["guard"]["transitions"]),
        "openings": facts["guard"]["openings"],
    }
    if same:
        inside = after_switches(facts, ours, window_s)
        found["after_switch"] = {t: (ours[f"tail.{t}"][inside], theirs[f"tail.{t}"][inside]) for t in tails}
    if facts["window_s"] is not None:
        onset_s, end_s = facts["window_s"]
        noticed = detect(facts, ours, theirs, onset_s)
        found["detection"] = noticed
        if end_s < float(ours["arrival_s"][-1]):
            found["return"] = come_back(ours, theirs, end_s)
        since_s = onset_s + (noticed.intervened_s or 0.0)
    else:
        refused = np.nonzero(~ours["learned"])[0]
        onset_s = facts["start_s"]
        since_s = float(ours["decision_s"][refused[0]]) if len(refused) else onset_s
        found["first_refusal_s"] = since_s - onset_s if len(refused) else None
        found["first_refusal_decisions"] = int(refused[0]) if len(refused) else None
    if same:
        later = ours["arrival_s"] >= since_s
        found["since_detection"] = {t: (ours[f"tail.{t}"][later], theirs[f"tail.{t}"][later]) for t in tails}
        for number, (_, chance) in enumerate(placebos, start=1):
            if np.array_equal(chance["row"], theirs["row"]):
                pairs = {t: (chance[f"tail.{t}"][later], theirs[f"tail.{t}"][later]) for t in tails}
                found[f"since_detection.{arms.placebo(number)}"] = pairs
    if "budget" in facts:
        found["budget_excess"] = _budget_excess(facts["budget"], ours, theirs)
    return found


def _budget_excess(budget: Mapping[str, float], ours: Arrays, theirs: Arrays) -> int:
    """Accesses at which the misses so far exceed (1 + excess) x the fallback's + what is spare: 0 where it holds.

    The fallback's own run stands for the ghost, which runs the same scheme on the same accesses.
    """
    n = 8 * min(len(ours["missed"]), len(theirs["missed"]))
    real, ghost = (np.cumsum(np.unpackbits(side["missed"])[:n].astype(np.int64)) for side in (ours, theirs))
    return int(np.count_nonzero(real > (1.0 + budget["excess_share"]) * ghost + budget["spare_misses"]))
