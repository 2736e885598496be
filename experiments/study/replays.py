"""The replays of one replicate of a setting: fallback and placebos once, then each policy alone, guarded, nulled."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...policies.guards import BudgetConfig, GuardConfig
from ..scenario import Prepared
from ..scenarios import parse_stress
from ..scenarios.stress import Stress
from . import arms
from .config import CLEAN, StudyConfig, TraceSpec
from .guards import VALIDATION, guard_for, margin_fields, measure_reference, pack, policy_spec
from .matrix import Group, Setting, is_clean, load_text
from .measure import measure
from .mix import MIX, cache_mix
from .realise import jittered, read_whole, realise
from .store import Store, key_of
from .stressed import GuardedRun, guard_facts, guarded_policy, run_arm, window_of

LEARNED = 1
"""Code of the learned policy in the decision log."""

JITTERED_DOMAINS = ("prefetch",)
"""Domains whose fallback has no ties: their placebo is the fallback on the same items a little off in time."""


@dataclass(frozen=True)
class Bench:
    """Where and from what replays are made; picklable, the same in all processes.

    Attributes:
        config: The study.
        data: The data folder.
        folder: Folder of the runs.
        trace_sha256: Content hash of each trace of the config, by domain and name.
        sources_sha256: Of the code that runs depend on, taken once for all processes.
    """

    config: StudyConfig
    data: Path
    folder: Path
    trace_sha256: Mapping[tuple[str, str], str]
    sources_sha256: str

    @property
    def store(self) -> Store:
        return Store(self.folder)

    def spec(self, setting: Setting) -> TraceSpec:
        """The trace of a setting."""
        return self.config.domains[setting.domain].traces[setting.trace]  # type: ignore[index]

    def key(self, setting: Setting, replicate: int, arm: str, policy: str, split: str, factor: float = 1.0) -> str:
        """The key of a run."""
        study = self.config.domains[setting.domain]  # type: ignore[index]
        shared = arms.is_shared(arm)
        depends_on = {
            "setting": asdict(setting),
            "spec": self.spec(setting).model_dump(mode="json", exclude={"note"}),
            "trace": self.trace_sha256[setting.domain, setting.trace],
            "sources": self.sources_sha256,
            "seed": self.config.seed,
            "blocks": self.config.blocks_of_time,
            "split": split,
            "replicate": replicate,
            "arm": arm,
            "policy": "" if shared else policy,
            "policy_files": "" if shared else _folder_sha256(policy),
            "guard_file": "" if study.guard is None else _file_sha256(study.guard),
            "calibration_items": study.calibration_items,
            "factor": factor,
        }
        return key_of(depends_on)

    def reference_key(self, setting: Setting) -> str:
        """The key of a calibration."""
        clean = Setting(setting.domain, setting.trace, setting.load_text, CLEAN)
        return self.key(clean, 0, "reference", "", VALIDATION)


@dataclass(frozen=True, slots=True)
class Job:
    """A unit of work.

    Attributes:
        kind: ``calibrate`` measures a reference, ``judge`` replays a group, ``gate`` replays validation, ``sweep`` one
            point of the frontier, ``repeat`` a guarded run once more.
        group: What is replayed.
        factor: On the guard's margins.
    """

    kind: str
    group: Group
    factor: float = 1.0


def run_job(bench: Bench, job: Job) -> int:
    """Do what is not there yet of a unit of work; return the replays that were made."""
    if job.kind == "calibrate":
        return _calibrate(bench, job.group.setting)
    split = bench.config.split if job.kind in ("judge", "repeat") else VALIDATION
    return _Replays(bench, job, split).run()


def _calibrate(bench: Bench, setting: Setting) -> int:
    key = bench.reference_key(setting)
    if bench.store.has(key):
        return 0
    study, config = bench.config.domains[setting.domain], bench.config  # type: ignore[index]
    found = measure_reference(
        setting.domain, bench.spec(setting), bench.data, setting.load, study.calibration_items, config.seed
    )
    bench.store.write(key, {"capacity_per_s": found[0]}, pack(*found), {})
    return len(found[1])


@lru_cache(maxsize=4)
def _realised(bench_key: str, domain: str, spec_json: str, data: Path, split: str, load: str, n: int, seed: int) -> Any:
    spec = TraceSpec.model_validate_json(spec_json)
    return realise(domain, spec, data, split, None if load == load_text(None) else float(load), n, seed)


class _Replays:
    """The replays of one unit of work; makes ready only what a missing run needs."""

    def __init__(self, bench: Bench, job: Job, split: str) -> None:
        self.bench, self.job, self.split = bench, job, split
        self.setting, self.replicate = job.group.setting, job.group.replicate
        self.store, self.made = bench.store, 0
        self.study = bench.config.domains[self.setting.domain]  # type: ignore[index]
        # One seed a replicate for stress and nulls: common random numbers over arms and policies.
        self.seed = bench.config.seed + self.replicate

    def run(self) -> int:
        group, kind = self.job.group, self.job.kind
        if kind == "repeat":
            for policy in group.policies:
                self._once(arms.REPEATED, policy)
            return self.made
        self._once(arms.FALLBACK, "")
        for number in range(1, (group.placebos if kind == "judge" else 0) + 1):
            self._once(arms.placebo(number), "", number)
        if kind == "judge" and is_clean(self.setting) and any(group.policies.values()):
            self._once(arms.CHECKED_FALLBACK, "")
            if margin_fields(self._guard("")):
                self._once(arms.RULE_WITHIN_CHECKS, "")
        for policy, nulls in group.policies.items():
            self._once(arms.UNGUARDED, policy)
            if kind == "gate":
                continue
            self._once(arms.GUARDED, policy)
            if kind == "judge" and nulls:
                for arm in arms.NULLS:
                    self._once(arm, policy)
                if is_clean(self.setting):
                    self._once(arms.DELAYED, policy)
        return self.made

    def _key(self, arm: str, policy: str) -> str:
        return self.bench.key(self.setting, self.replicate, arm, policy, self.split, self._factor(arm))

    def _factor(self, arm: str) -> float:
        return self.job.factor if arm == arms.GUARDED else 1.0

    def _prepared(self) -> Prepared:
        bench, spec = self.bench, self.bench.spec(self.setting)
        return _realised(
            self.bench.trace_sha256[self.setting.domain, self.setting.trace],
            self.setting.domain,
            spec.model_dump_json(),
            bench.data,
            self.split,
            self.setting.load_text,
            self.replicate,
            bench.config.seed,
        )

    def _guard(self, policy: str, arm: str = arms.GUARDED) -> GuardConfig:
        _, reference = self.store.read(self.bench.reference_key(self.setting))
        return guard_for(self.study, policy, self._prepared(), reference, self._factor(arm))

    def _stress(self) -> Stress:
        return parse_stress(self.setting.stress)

    def _once(self, arm: str, policy: str, tie_seed: int | None = None) -> None:
        key = self._key(arm, policy)
        if self.store.has(key):
            return
        prepared, stress = self._prepared(), self._stress()
        earlier = None
        if arm in arms.NULLS:
            facts, arrays = self.store.read(self._key(arms.GUARDED, policy))
            if "failed" in facts:
                return
            earlier = GuardedRun(arrays["decision_s"], arrays["learned"], facts["guard"]["availability"])
        if tie_seed is not None and self.setting.domain in JITTERED_DOMAINS:
            prepared, tie_seed = jittered(prepared, tie_seed), None
        guard = self._guard(policy, arm)
        began_s = time.process_time()
        ran = run_arm(
            prepared,
            stress,
            arms.GUARDED if arm == arms.REPEATED else arm,
            policy,
            guard,
            seed=self.seed,
            tie_seed=tie_seed,
            earlier=earlier,
        )
        window_s = window_of(prepared, stress, self.seed)
        base = {
            "setting": asdict(self.setting),
            "replicate": self.replicate,
            "arm": arm,
            "policy": policy,
            "factor": self._factor(arm),
            "split": self.split,
            "window_s": None if window_s is None else list(window_s),
            "load": prepared.change.utilisation,
        }
        timing = {**asdict(ran.run.timing), "pid": os.getpid(), "decisions": len(ran.run.decisions.now_s)}
        timing["cpu_s"] = time.process_time() - began_s
        if ran.run.failure is not None:
            failed = {"failed": ran.run.failure.reason, "at_decision": ran.run.failure.at_decision}
            self.store.write(key, {**base, **failed}, {}, timing)
        else:
            facts, arrays = measure(ran.prepared, ran.run.results, self.bench.config.blocks_of_time)
            guarded = guarded_policy(ran.decider)
            if guarded is not None:
                facts["guard"] = guard_facts(guarded)
                budget = next((check for check in guard.checks if isinstance(check, BudgetConfig)), None)
                if budget is not None and facts.get("timeless") and prepared.system.prefetch_touches:
                    spare = budget.budget_caches * prepared.system.capacity
                    facts["budget"] = {"excess_share": budget.excess_share, "spare_misses": spare}
                recorder = guarded.recorder
                arrays["decision_s"] = recorder.column("now_s")
                arrays["learned"] = recorder.column("who") == LEARNED
                arrays["state"] = recorder.column("state").astype(np.uint8)
                arrays["item"] = ran.run.decisions.item.astype(np.int32)
            elif hasattr(ran.decider, "availability"):
                facts["availability"] = ran.decider.availability
            self.store.write(key, {**base, **facts}, arrays, timing)
        self.made += 1


def _folder_sha256(policy: str) -> str:
    """Of a policy folder's files; empty for a name, whose code is among the sources."""
    folder = Path(policy_spec(policy))
    if not ("/" in policy and folder.is_dir()):
        return ""
    return key_of({p.name: _file_sha256(str(p)) for p in sorted(folder.iterdir()) if p.is_file()})


def _file_sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def trace_hash(domain: str, spec: TraceSpec, data: Path) -> str:
    """Content hash of a trace of the config."""
    if spec.file == MIX:
        return cache_mix(data, VALIDATION, 0).content_hash
    return read_whole(domain, spec.file, data, spec.exact_estimates).content_hash
