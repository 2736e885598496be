"""The evidence: one row a decision, in columns that only grow."""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .supervisor import State
from .verdict import Verdict

WHO = ("fallback", "learned")
_COLUMNS = ("now_s", "proposed", "fallback", "executed", "learned", "asked", "state", "verdict", "n_evidence")


class DecisionRecorder:
    """Keeps, for every decision, what was proposed, what was said of it and what was done.

    About 30 bytes a decision in memory. Texts (check, reason, names of evidence) are kept once and referred to by
    number, in the order of their first appearance, which does not depend on hashing.
    """

    def __init__(self) -> None:
        self._now_s = array("d")
        self._proposed = array("i")
        self._fallback = array("i")
        self._executed = array("i")
        self._learned = array("b")
        self._asked = array("b")
        self._state = array("b")
        self._verdict = array("h")
        self._n_evidence = array("b")
        self._evidence = array("d")
        self._codes: dict[tuple[str, str, str, tuple[str, ...]], int] = {}
        self._code_counts: list[int] = []

    def __len__(self) -> int:
        return len(self._now_s)

    def append(
        self,
        now_s: float,
        proposed: int,
        fallback: int,
        executed: int,
        asked: bool,
        learned: bool,
        state: State,
        verdict: Verdict,
    ) -> None:
        """Record the next decision.

        Args:
            now_s: Simulated time, in seconds.
            proposed: The policy's action; -1 where it was not asked or gave none within range.
            fallback: The fallback's action.
            executed: The action that was executed.
            asked: Whether the policy was asked.
            learned: Whether its proposal was what was executed.
            state: The supervisor's state in which the decision was made.
            verdict: What decided.
        """
        evidence = verdict.evidence
        names = tuple([name for name, _ in evidence]) if evidence else ()
        key = (verdict.kind, verdict.check, verdict.reason, names)
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = len(self._codes)
            self._code_counts.append(0)
        self._code_counts[code] += 1
        self._now_s.append(now_s)
        self._proposed.append(proposed)
        self._fallback.append(fallback)
        self._executed.append(executed)
        self._asked.append(asked)
        self._learned.append(learned)
        self._state.append(state)
        self._verdict.append(code)
        self._n_evidence.append(len(evidence))
        if evidence:
            self._evidence.extend([value for _, value in evidence])

    def asked(self, decision: int) -> bool:
        """Whether the policy was asked at that decision."""
        return bool(self._asked[decision])

    def interventions(self) -> dict[str, int]:
        """How many decisions were the fallback's, by reason code, in the order of first appearance."""
        counts: dict[str, int] = {}
        for (kind, _, reason, _), count in zip(self._codes, self._code_counts, strict=True):
            if kind != "accept":
                counts[reason] = counts.get(reason, 0) + count
        return counts

    def column(self, name: str) -> NDArray[Any]:
        """A copy of one numeric column, shape (decisions,).

        Args:
            name: ``now_s``, ``proposed``, ``fallback``, ``executed``, ``learned``, ``asked``, ``state`` (0 closed,
                1 open, 2 half-open), ``verdict`` (number of the text), or ``n_evidence``.
        """
        if name not in _COLUMNS:
            raise KeyError(f"no column {name!r}; there are {', '.join(_COLUMNS)}")
        return np.array(getattr(self, f"_{name}"))

    def to_table(self) -> pa.Table:
        """The log as an Arrow table, one row a decision, texts as dictionaries and evidence as lists."""
        codes = self.column("verdict").astype(np.int32)
        keys = list(self._codes)
        offsets = np.concatenate(([0], np.cumsum(self.column("n_evidence"), dtype=np.int64))).astype(np.int32)
        return pa.table(
            {
                "decision": pa.array(np.arange(len(self), dtype=np.int64)),
                "now_s": pa.array(self.column("now_s")),
                "proposed": pa.array(self.column("proposed")),
                "fallback": pa.array(self.column("fallback")),
                "executed": pa.array(self.column("executed")),
                "who": _dictionary(self.column("learned").astype(np.int32), WHO),
                "asked": pa.array(self.column("asked").astype(bool)),
                "state": _dictionary(self.column("state").astype(np.int32), [state.label for state in State]),
                "verdict": _dictionary(codes, [key[0] for key in keys]),
                "check": _dictionary(codes, [key[1] for key in keys]),
                "reason": _dictionary(codes, [key[2] for key in keys]),
                "evidence_names": _dictionary(codes, [" ".join(key[3]) for key in keys]),
                "evidence": pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.array(self._evidence))),
            }
        )

    def log_hash(self) -> str:
        """SHA-256 over everything recorded, in hex: equal logs have equal hashes in any process on any machine."""
        digest = hashlib.sha256(json.dumps(list(self._codes)).encode())
        for column in (*(getattr(self, f"_{name}") for name in _COLUMNS), self._evidence):
            if sys.byteorder == "big":
                column = array(column.typecode, column)
                column.byteswap()
            digest.update(len(column).to_bytes(8, "little"))
            digest.update(memoryview(column).cast("B"))
        return digest.hexdigest()


def _dictionary(indices: NDArray[np.int32], texts: list[str] | tuple[str, ...]) -> pa.DictionaryArray:
    """A dictionary array whose dictionary holds each text once, in the order of first appearance."""
    place = dict(zip(dict.fromkeys(texts), range(len(texts)), strict=False))
    recode = np.fromiter((place[text] for text in texts), dtype=np.int32, count=len(texts))
    codes = recode[indices] if len(texts) else indices
    return pa.DictionaryArray.from_arrays(pa.array(codes, type=pa.int32()), pa.array(list(place), type=pa.string()))
