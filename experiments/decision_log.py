"""The guard's decision log as a run folder holds it: written, read, filtered."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..policies.guards import GuardConfig, GuardedPolicy, Transition
from ..policies.guards.recorder import WHO
from ..policies.guards.rollout import Stage, StageChange
from ..policies.guards.supervisor import State
from ..traces.errors import HandrailError
from .report.run_folder import MARKER_FILE, dump_table

DECISIONS_FILE = "decisions-guarded.parquet"
RESULTS_FILE = "results-guarded.parquet"
SUPERVISOR = "supervisor"


def guard_hash(guard: GuardConfig) -> str:
    """SHA-256 (hex) of a guard's config: equal for equal guards."""
    return hashlib.sha256(guard.to_json().encode()).hexdigest()


def dump_decisions(policy: GuardedPolicy, guard: GuardConfig, items: NDArray[np.int64], domain: Any) -> bytes:
    """A Parquet file of the decision log: one row a decision, with the trace's row that was decided on.

    The schema's metadata says of whom the log is (see :meth:`GuardedPolicy.to_table`), and ``domain``, ``guard`` (the
    config as JSON), ``guard_hash`` and ``log_hash``.

    Args:
        policy: What decided.
        guard: The config of its guard.
        items: Row of the trace of each decision, shape (decisions,).
        domain: The domain.
    """
    table = policy.to_table(
        {
            "domain": domain.name,
            "guard": json.dumps(guard.model_dump(mode="json"), sort_keys=True),
            "guard_hash": guard_hash(guard),
            "log_hash": policy.recorder.log_hash(),
        }
    )
    return dump_table(table.add_column(2, "item", [items]))


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """The decision log of a run folder.

    Attributes:
        folder: The run folder.
        table: One row a decision.
        about: The schema's metadata: ``policy``, ``policy_hash``, ``fallback``, ``last_rung``, ``domain``,
            ``guard_hash``, ``log_hash`` and ``guard`` (JSON).
        transitions: Every change of the supervisor's state, oldest first.
        stages: Every change of the roll-out's stage, oldest first.
    """

    folder: Path
    table: pa.Table
    about: dict[str, str]
    transitions: tuple[Transition, ...]
    stages: tuple[StageChange, ...]

    def now_s(self) -> NDArray[np.float64]:
        """Simulated time of each decision, shape (decisions,), never falling."""
        return self.table["now_s"].to_numpy()

    def rows(self, at: Sequence[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """Some decisions, each as a dictionary: the log's columns, with ``said`` as :func:`sayings` gives it."""
        found = self.table.take(pa.array(at, type=pa.int64())).to_pylist()
        for row in found:
            row["said"] = sayings(row["said"], row.pop("evidence"))
            del row["evidence_names"]
        return found


def sayings(said: str, evidence: Sequence[float]) -> list[dict[str, Any]]:
    """What each check said at one decision: ``check``, ``verdict``, ``reason`` and ``evidence`` by name.

    Args:
        said: The log's column of that name.
        evidence: The log's column of that name.
    """
    numbers = iter(evidence)
    return [
        {"check": check, "verdict": kind, "reason": reason, "evidence": {name: next(numbers) for name in names}}
        for check, kind, reason, names in json.loads(said)
    ]


def read_decisions(folder: Path) -> DecisionLog:
    """Read the decision log of a run folder of ``handrail compare``.

    Raises:
        HandrailError: There is no such folder, it is no run folder, or it has no log of a guarded run.
    """
    import pyarrow.parquet as pq

    if not folder.is_dir():
        raise HandrailError(f"{folder}: there is no such run folder; name one that handrail compare has written")
    path = folder / DECISIONS_FILE
    if not path.is_file():
        what = "this run has no guarded arm" if (folder / MARKER_FILE).is_file() else "this is no run folder"
        raise HandrailError(f"{folder}: {what} ({DECISIONS_FILE} is missing); name a folder of handrail compare")
    try:
        table = pq.read_table(path).unify_dictionaries().combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise HandrailError(f"{path}: cannot be read ({error}); make the run anew") from None
    about = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if "transitions" not in about or "said" not in table.column_names:
        raise HandrailError(f"{path}: is no decision log of this version of handrail; make the run anew")
    states = {state.label: state for state in State}
    stages = {stage.label: stage for stage in Stage}
    transitions = tuple(
        Transition(now_s, decision, states[before], states[after], cause, until_s)
        for now_s, decision, before, after, cause, until_s in json.loads(about.pop("transitions"))
    )
    changes = tuple(
        StageChange(now_s, decision, stages[before], stages[after], cause)
        for now_s, decision, before, after, cause in json.loads(about.pop("stages"))
    )
    return DecisionLog(folder, table, about, transitions, changes)


def find(
    log: DecisionLog,
    *,
    since_s: float | None = None,
    until_s: float | None = None,
    who: str | None = None,
    check: str | None = None,
    verdict: str | None = None,
    reason: str | None = None,
) -> NDArray[np.int64]:
    """Rows of the decisions that fit all that is given, rising.

    Args:
        log: The log.
        since_s: From this simulated time on, in seconds.
        until_s: Up to and with this one.
        who: Who was obeyed.
        check: A check that ran, whatever the others said; ``supervisor`` for what the supervisor itself decided.
        verdict: What that check said; without ``check`` what decided.
        reason: Its reason code.

    Raises:
        HandrailError: A name does not occur in this log (the error says which do), or the times are in no order.
    """
    for option, time_s in (("--from", since_s), ("--to", until_s)):
        if time_s is not None and math.isnan(time_s):
            raise HandrailError(f"{option} nan is no time; give simulated seconds")
    if since_s is not None and until_s is not None and since_s > until_s:
        raise HandrailError(f"--from {since_s:g} is after --to {until_s:g}; give the earlier time first")
    table = log.table
    now_s = log.now_s()
    chosen = np.ones(len(table), dtype=bool)
    if since_s is not None:
        chosen &= now_s >= since_s
    if until_s is not None:
        chosen &= now_s <= until_s
    if who is not None:
        chosen &= _where(table["who"], _one_of("--who", who, WHO).__eq__)
    if check is None or check == SUPERVISOR:
        for option, value in (("check", check), ("verdict", verdict), ("reason", reason)):
            if value is not None:
                chosen &= _where(table[option], _one_of(f"--{option}", value, _texts(table[option])).__eq__)
        return np.flatnonzero(chosen)
    everything = [json.loads(text) for text in _texts(table["said"])]
    _one_of("--check", check, [*dict.fromkeys(one[0] for said in everything for one in said), SUPERVISOR])
    own = [one for said in everything for one in said if one[0] == check]
    for option, value, at in (("--verdict", verdict, 1), ("--reason", reason, 2)):
        if value is not None:
            _one_of(option, value, list(dict.fromkeys(one[at] for one in own)))

    def fits(text: str) -> bool:
        return any(
            name == check and verdict in (None, kind) and reason in (None, code)
            for name, kind, code, _ in json.loads(text)
        )

    return np.flatnonzero(chosen & _where(table["said"], fits))


def _texts(column: pa.ChunkedArray) -> list[str]:
    """The distinct texts of a dictionary column that occur in it."""
    return [text for text in column.unique().to_pylist() if text is not None]


def _where(column: pa.ChunkedArray, fits: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Where the text of a dictionary column fits, shape (rows,); each text is looked at once."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # an empty column has no chunk to combine
        return np.zeros(len(column), dtype=bool)
    good = np.array([bool(fits(text)) for text in array.dictionary.to_pylist()], dtype=bool)
    return good[array.indices.to_numpy()] if len(good) else np.zeros(len(array), dtype=bool)


def _one_of(option: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise HandrailError(f"{option} {value}: does not occur in this log; there are {', '.join(known)}")
    return value
