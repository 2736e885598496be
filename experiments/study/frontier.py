"""M11 and M13: runs repeated in other processes, and the sweep of margins on validation; M10 from timings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import arms
from .cells import Cell, arm_data, fallback_scales, pooled_value_ratio
from .guards import VALIDATION
from .measure import MEASURES, tail_names
from .replays import Bench
from .runner import frontier_jobs, repeated_groups


def determinism(bench: Bench, domain: str) -> list[dict[str, Any]]:
    """M11: hash of the decision log of runs that were made twice, and whether two processes made them."""
    rows = []
    for group in repeated_groups(bench.config):
        if group.setting.domain != domain:
            continue
        for policy in group.policies:
            split = bench.config.split
            keys = [bench.key(group.setting, 0, arm, policy, split) for arm in (arms.GUARDED, arms.REPEATED)]
            if not all(bench.store.has(key) for key in keys):
                continue
            hashes = [bench.store.facts(key)["guard"]["log_sha256"] for key in keys]
            pids = [bench.store.timing(key).get("pid") for key in keys]
            rows.append(
                {
                    "cell": f"{group.setting.name}/{policy}",
                    "log_sha256": hashes[0],
                    "equal": hashes[0] == hashes[1],
                    "two_processes": pids[0] != pids[1],
                }
            )
    return rows


def frontier(bench: Bench, domain: str) -> list[dict[str, Any]]:
    """M13: for each factor on the margins the largest tail ratio over policies, and the gain that is kept."""
    study = bench.config.domains[domain]  # type: ignore[index]
    points = []
    for job in frontier_jobs(bench.config):
        setting = job.group.setting
        if setting.domain != domain:
            continue

        def runs(arm: str, policy: str, factor: float = 1.0, place: Any = setting) -> list[Any]:
            return [bench.store.read(bench.key(place, 0, arm, policy, VALIDATION, factor))]

        base = runs(arms.FALLBACK, "")
        scales = fallback_scales(domain, base)
        fallback = arm_data(base, scales, bench.config)
        ratios, kept, possible, shares = {}, 0.0, 0.0, {}
        tail, key = MEASURES[domain].gains[0]
        for policy in job.group.policies:
            guarded = arm_data(runs(arms.GUARDED, policy, job.factor), scales, bench.config)
            alone = arm_data(runs(arms.UNGUARDED, policy), scales, bench.config)
            found = [pooled_value_ratio(guarded, fallback, t, "p99") for t in tail_names(domain) if t in scales]
            ratios[policy] = max((np.inf if r is None else r for r in found), default=1.0)
            shares[policy] = guarded.availability[0]
            if policy in study.learned and not alone.failed:
                better = float((fallback.values[tail, key] - alone.values[tail, key])[0])
                if better > 0:
                    possible += better
                    kept += float((fallback.values[tail, key] - guarded.values[tail, key])[0])
        largest = max(ratios.values(), default=1.0)
        points.append(
            {
                "factor": job.factor,
                "largest": largest if np.isfinite(largest) else None,
                "gain": kept / possible if possible else None,
                "availability": shares,
            }
        )
    return points


def overhead(bench: Bench, cells: Sequence[Cell]) -> dict[str, Any]:
    """M10: wall microseconds a decision that the guard adds to policy and fallback, and what the same delay does.

    Wall clock: differs from machine to machine and belongs to no promise of equal results.
    """
    added, ratios = [], []
    split = bench.config.split
    for cell in cells:
        setting = cell.plan.setting
        if cell.plan.role != "clean" or cell.unguarded.failed:
            continue
        times = [
            bench.store.timing(bench.key(setting, 0, arm, policy, split))
            for arm, policy in (
                (arms.GUARDED, cell.plan.policy),
                (arms.UNGUARDED, cell.plan.policy),
                (arms.FALLBACK, ""),
            )
        ]
        if all(t.get("decisions") for t in times):
            guarded, alone, fallback = (1e6 * t["decide_s"] / t["decisions"] for t in times)
            added.append(guarded - alone - fallback)
        if arms.DELAYED in cell.arms:
            tail = MEASURES[setting.domain].headline
            if tail in cell.data.scales:
                ratios.append(pooled_value_ratio(cell.arms[arms.DELAYED], cell.guarded, tail, "p99"))
    known = [ratio for ratio in ratios if ratio is not None]
    return {
        "cells": len(added),
        "added_us": float(np.median(added)) if added else None,
        "most_us": max(added, default=None),
        "delayed_over_guarded": {"low": min(known), "high": max(known)} if known else None,
    }
