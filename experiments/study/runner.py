"""Doing all of a study that is not there yet, in several processes, in an order that lets each step find the last."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...policies.parallel import run_jobs
from ...traces.errors import HandrailError
from ..scenarios import parse_stress
from .config import CLEAN, StudyConfig
from .matrix import Group, Setting, cells_of, groups_of, load_text, runs_in
from .realise import missing_files
from .replays import Bench, Job, run_job, trace_hash
from .store import sources_sha256

RUNS_FOLDER = "runs"
SOURCES_FILE = "sources.txt"
"""In the folder of runs: hash of the sources that the latest ones were made with."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is.

    Attributes:
        step: What is being done.
        done, total: Replays, about.
        left_s: Estimated wall seconds that the step still takes; None before the first job is done.
    """

    step: str
    done: int
    total: int
    left_s: float | None

    def line(self) -> str:
        """One line for people."""
        left = "" if self.left_s is None else f", {self.left_s / 60.0:.1f} min left"
        return f"{self.step}: {self.done:,} of about {self.total:,} replays{left}"


Tell = Callable[[Progress], None]


def available(config: StudyConfig, data: Path, only: str | None) -> tuple[StudyConfig, list[str]]:
    """The config without traces and policy folders that are not there, and a remark for each of these.

    Raises:
        HandrailError: No cell is left, or a stress is not understood.
    """
    remarks, domains = [], {}
    for name, study in config.domains.items():
        if only is not None and name != only:
            continue
        absent = {t: files for t, spec in study.traces.items() if (files := missing_files(name, spec, data))}
        remarks += [
            f"{name}/{trace} is left out: {', '.join(files)} is not in {data}" for trace, files in absent.items()
        ]
        traces = {t: spec for t, spec in study.traces.items() if t not in absent}
        blocks = [b.model_copy(update={"traces": tuple(t for t in b.traces if t in traces)}) for b in study.blocks]
        wanted = {policy for block in blocks for policy in block.policies}
        unmade = sorted(policy for policy in wanted if "/" in policy and not Path(policy).exists())
        remarks += [f"{name}/{policy} is left out: there is no such policy folder" for policy in unmade]
        gone = set(unmade)
        blocks = [b.model_copy(update={"policies": tuple(p for p in b.policies if p not in gone)}) for b in blocks]
        blocks = [block for block in blocks if block.traces and block.policies]
        frontier = study.frontier if study.frontier is not None and study.frontier.trace in traces else None
        if blocks:
            changed = {"traces": traces, "blocks": tuple(blocks), "frontier": frontier}
            domains[name] = study.model_copy(update=changed)
    kept = config.model_copy(update={"domains": domains})
    cells = cells_of(kept)
    if not cells:
        raise HandrailError(f"no trace of the study is there; give --data FOLDER (looked in {data})")
    for stress in sorted({cell.setting.stress for cell in cells}):
        parse_stress(stress)
    return kept, remarks


def make_bench(config: StudyConfig, data: Path, out: Path, report_only: bool = False) -> Bench:
    """The bench of a study: reads each trace once for its content hash.

    Args:
        config: The study.
        data: The data folder.
        out: The study's folder.
        report_only: Whether to take the runs that were made last, whatever the sources are by now.

    Raises:
        HandrailError: A trace cannot be read.
    """
    used = {(c.setting.domain, c.setting.trace) for c in cells_of(config)}
    used |= {(name, study.frontier.trace) for name, study in config.domains.items() if study.frontier is not None}
    hashes = {
        (domain, trace): trace_hash(domain, config.domains[domain].traces[trace], data)  # type: ignore[index]
        for domain, trace in sorted(used)
    }
    remembered = out / RUNS_FOLDER / SOURCES_FILE
    if report_only and remembered.is_file():
        return Bench(config, data, out / RUNS_FOLDER, hashes, remembered.read_text(encoding="utf-8").strip())
    return Bench(config, data, out / RUNS_FOLDER, hashes, sources_sha256())


def run_study(bench: Bench, workers: int, tell: Tell = lambda _: None) -> int:
    """Replay what is not there; return how many replays were made.

    Each run is a file of its own, written whole, so a study that was interrupted goes on where it stopped.

    Raises:
        HandrailError: A trace, a policy or a stress cannot be used, or a worker died.
    """
    config = bench.config
    groups = groups_of(config)
    bench.store.remember(SOURCES_FILE, bench.sources_sha256)
    made = 0
    for step, jobs in (
        ("calibrating on validation parts", _calibrations(bench, groups)),
        ("judging on validation for the static gate", _gates(config, groups)),
        ("sweeping margins on validation", frontier_jobs(config)),
        ("replaying", [Job("judge", group) for group in groups]),
        ("repeating in other processes", _repeats(config, groups)),
    ):
        made += _do(bench, step, jobs, workers, tell)
    return made


def _do(bench: Bench, step: str, jobs: Sequence[Job], workers: int, tell: Tell) -> int:
    if not jobs:
        return 0
    total = sum(_size(job) for job in jobs)
    began, done = time.monotonic(), 0
    place = iter(jobs)

    def one_more() -> None:
        nonlocal done
        done += _size(next(place))
        tell(Progress(step, done, total, (time.monotonic() - began) / done * (total - done)))

    tell(Progress(step, 0, total, None))
    return sum(run_jobs(partial(run_job, bench), jobs, workers, one_more))


def _size(job: Job) -> int:
    return {"calibrate": 3, "repeat": 1}.get(job.kind) or runs_in(job.group)


def _calibrations(bench: Bench, groups: Sequence[Group]) -> list[Job]:
    wanted = {bench.reference_key(group.setting): group for group in groups}
    for job in frontier_jobs(bench.config):
        wanted.setdefault(bench.reference_key(job.group.setting), job.group)
    return [Job("calibrate", group) for key, group in wanted.items() if not bench.store.has(key)]


def _gates(config: StudyConfig, groups: Sequence[Group]) -> list[Job]:
    """The validation runs that a static gate decides by: for each trace and load with null guards."""
    wanted: dict[Setting, dict[str, bool]] = {}
    for group in groups:
        setting = group.setting
        for policy, nulls in group.policies.items():
            if nulls:
                clean = Setting(setting.domain, setting.trace, setting.load_text, CLEAN)
                wanted.setdefault(clean, {})[policy] = False
    return [Job("gate", Group(setting, 0, 0, policies)) for setting, policies in wanted.items()]


def frontier_jobs(config: StudyConfig) -> list[Job]:
    """The points of each domain's sweep."""
    jobs = []
    for domain, study in config.domains.items():
        sweep = study.frontier
        if sweep is None:
            continue
        setting = Setting(domain, sweep.trace, load_text(sweep.load), CLEAN)
        policies = dict.fromkeys(sweep.policies, False)
        jobs += [Job("sweep", Group(setting, 0, 0, dict(policies)), factor) for factor in sweep.factors]
    return jobs


def _repeats(config: StudyConfig, groups: Sequence[Group]) -> list[Job]:
    """A sample of guarded runs, spread over the matrix, to be made once more by fresh processes."""
    jobs = []
    for domain, study in config.domains.items():
        ours = sorted((g for g in groups if g.setting.domain == domain), key=lambda g: (g.replicate, g.setting.name))
        ours = [g for g in ours if g.replicate == 0]
        if not ours or study.repeated == 0:
            continue
        chosen = ours[:: max(len(ours) // study.repeated, 1)][: study.repeated]
        jobs += [Job("repeat", Group(g.setting, 0, 0, {next(iter(g.policies)): False})) for g in chosen]
    return jobs


def repeated_groups(config: StudyConfig) -> list[Group]:
    """What is run twice."""
    return [job.group for job in _repeats(config, groups_of(config))]
