"""The study of guards from config to report: what ``handrail study guard`` does."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...traces.errors import HandrailError
from ..report.run_folder import MARKER_KEY, dump_json
from . import arms
from .bar import judge_domain
from .cells import Cell, failures, load_cells
from .counted import mean
from .evaluate import evaluate_domain
from .figures import cells_figure, frontier_figure, scatter_figure
from .frontier import determinism, frontier, overhead
from .measure import tail_names
from .replays import Bench
from .report import report_text
from .runner import RUNS_FOLDER, SOURCES_FILE
from .store import key_of

Say = Callable[[str], None]
MARKER = "guard-study"
AUDITS_FOLDER = "audits"
"""Where ``audit.json`` files of ``handrail guard audit`` are looked for, one a run, named ``DOMAIN-ANYTHING.json``."""


def check_folder(out: Path) -> None:
    """Refuse a folder that holds something else than a study.

    Raises:
        HandrailError: It does, or cannot be written to.
    """
    if out.exists() and not out.is_dir():
        raise HandrailError(f"--out {out}: a file of that name is in the way; choose another folder")
    if out.is_dir() and {path.name for path in out.iterdir()} - {AUDITS_FOLDER} and not _is_study(out):
        raise HandrailError(f"--out {out}: the folder holds something else than a study; choose another")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out):
            pass
    except OSError as error:
        raise HandrailError(f"--out {out}: cannot be written ({error.strerror}); choose another folder") from None


def _is_study(folder: Path) -> bool:
    if (folder / RUNS_FOLDER / SOURCES_FILE).is_file():
        return True
    try:
        content = json.loads((folder / "study.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get(MARKER_KEY) == MARKER


def evaluate_study(
    bench: Bench, command: Sequence[str], remarks: Sequence[str], say: Say = lambda _: None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What ``study.json`` holds, and the files of the study's folder by name.

    Args:
        bench: The study and its runs.
        command: The command line, without paths.
        remarks: What a reader must know of traces that are not there.
        say: Told in a few words what is going on.

    Raises:
        HandrailError: No cell is complete.
    """
    config = bench.config
    files: dict[str, bytes] = {}
    domains: dict[str, Any] = {}
    for domain in config.domains:
        say(f"{domain}: reading runs")
        cells = load_cells(bench, domain)
        if not cells:
            continue
        domains[domain] = _domain(bench, domain, cells, say)
        files[f"cells-{domain}.png"] = cells_figure(domains[domain], domain)
        files[f"scatter-{domain}.png"] = scatter_figure(cells, domain)
        if domains[domain]["M13"]:
            files[f"frontier-{domain}.png"] = frontier_figure(domains[domain]["M13"], domain)
    if not domains:
        raise HandrailError(f"{bench.folder}: no cell of the study is complete; run it without --report-only")
    content = {
        MARKER_KEY: MARKER,
        "name": config.name,
        "command": list(command),
        "config": config.model_dump(mode="json"),
        "config_sha256": key_of(config.model_dump(mode="json")),
        "sources_sha256": bench.sources_sha256,
        "traces_sha256": {"/".join(name): digest for name, digest in sorted(bench.trace_sha256.items())},
        "remarks": list(remarks),
        "domains": plain(domains),
    }
    files["report.md"] = report_text(content, config).encode()
    content["domains"], timing = _without_wall_clock(content["domains"])
    files["study.json"] = dump_json(content)
    files["timing.json"] = dump_json(timing)
    return content, files


def _without_wall_clock(domains: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The domains without what differs from machine to machine, and that by itself."""
    kept, timing = {}, {}
    for domain, found in domains.items():
        delayed = {"delayed_over_guarded": found["M10"]["delayed_over_guarded"]}
        repeated = [{name: row[name] for name in ("cell", "log_sha256", "equal")} for row in found["M11"]]
        kept[domain] = {**found, "M10": delayed, "M11": repeated}
        processes = {row["cell"]: row["two_processes"] for row in found["M11"]}
        wall = {name: value for name, value in found["M10"].items() if name not in delayed}
        timing[domain] = {"overhead": wall, "two_processes": processes}
    return kept, timing


def plain(content: Any) -> Any:
    """``content`` in JSON's types, with None for what is infinite or no number: a tail among lost items."""
    if isinstance(content, dict):
        return {str(name): plain(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_files(out: Path, files: dict[str, bytes]) -> None:
    """Write or replace the study's own files, each as a whole; its runs stay."""
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        descriptor, temporary = tempfile.mkstemp(dir=out, suffix=".tmp")
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, out / name)


def _domain(bench: Bench, domain: str, cells: Sequence[Cell], say: Say) -> dict[str, Any]:
    config = bench.config
    study = config.domains[domain]  # type: ignore[index]
    found = evaluate_domain(cells, study, config, domain, say)
    found["failures"] = failures(bench, domain)
    found["M5"] = _audits(bench.folder.parent / AUDITS_FOLDER, domain)
    found["M10"] = overhead(bench, cells)
    found["M11"] = determinism(bench, domain)
    found["M13"] = frontier(bench, domain)
    found["table"] = [_row(cell, domain) for cell in cells]
    found["bar"] = [clause.to_json() for clause in judge_domain(found, cells, config, domain, study.learned)]
    return found


def _row(cell: Cell, domain: str) -> dict[str, Any]:
    tails = [tail for tail in tail_names(domain) if tail in cell.data.scales]
    return {
        "cell": cell.plan.name,
        "block": cell.plan.block,
        "role": cell.plan.role,
        "load": cell.data.load,
        "measured": cell.data.measured,
        "replicates": cell.data.replicates,
        "availability": mean(cell.guarded.availability),
        "unguarded": {tail: cell.ratio(arms.UNGUARDED, tail, "p99") for tail in tails},
        "guarded": {tail: cell.ratio(arms.GUARDED, tail, "p99") for tail in tails},
        "failed": cell.unguarded.failed,
        "lost_fallback": sum(cell.data.fallback.lost),
        "lost_guarded": sum(cell.guarded.lost),
    }


def _audits(folder: Path, domain: str) -> list[dict[str, Any]]:
    """M5 from audits that lie in ``folder``: precision and recall of interventions, as ``guard audit`` found them.

    Raises:
        HandrailError: A file there is no audit.
    """
    rows = []
    for path in sorted(folder.glob("*.json")):
        of, dash, _ = path.stem.partition("-")
        if not dash or of not in ("llm", "cluster", "prefetch"):
            raise HandrailError(f"{path}: whose audit is this? Name it llm-, cluster- or prefetch-SOMETHING.json")
        if of != domain:
            continue
        try:
            audit = json.loads(path.read_text(encoding="utf-8"))
            made_of, decisions = audit["domain"], int(audit["decisions"])
            shares = {name: _share(audit[name]) for name in ("precision", "recall")}
        except (OSError, ValueError, KeyError, TypeError):
            raise HandrailError(
                f"{path}: no audit with precision and recall; make it with handrail guard audit"
            ) from None
        if made_of != domain:
            raise HandrailError(f"{path}: is an audit of domain {made_of}; name it {made_of}-SOMETHING.json")
        rows.append({"name": path.stem, "decisions": decisions, **shares})
    return rows


def _share(found: dict[str, Any]) -> dict[str, float | None] | None:
    if found["value"] is None:
        return None
    ends = {"estimate": found["value"], "low": found["low"], "high": found["high"]}
    return {end: None if value is None else float(value) for end, value in ends.items()}
