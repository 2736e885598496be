"""The evidence: one row a decision, in columns that only grow."""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .rollout import Stage
from .supervisor import State
from .verdict import Verdict

FALLBACK, LEARNED, LAST_RUNG = 0, 1, 2
WHO = ("fallback", "learned", "last-rung")
"""Who was obeyed, by number."""

MAX_EVIDENCE = 12
"""Most numbers of evidence that one decision keeps; what comes after them is cut."""

_COLUMNS = ("now_s", "proposed", "fallback", "executed", "who", "asked", "state", "stage", "verdict")

Saying = tuple[str, str, str, tuple[str, ...]]
"""Check, kind, reason and names of evidence of one verdict."""


class DecisionRecorder:
    """Keeps, for every decision, what was proposed, what each check said of it and what was done.

    In memory a decision takes 29 bytes and 4 for each number of evidence, at most 77; arrays grow by an eighth ahead.
    Evidence is that of objections (vetoes and trips), as float32: of a check that accepts it is kept that it did. Texts
    are kept once for each combination that occurs and referred to by number, in the order of their first appearance,
    which does not depend on hashing.
    """

    def __init__(self) -> None:
        self._now_s = array("d")
        self._proposed = array("i")
        self._fallback = array("i")
        self._executed = array("i")
        self._who = array("b")
        self._asked = array("b")
        self._state = array("b")
        self._stage = array("b")
        self._verdict = array("i")
        self._evidence = array("f")
        self._codes: dict[tuple[str, str, str, tuple[Saying, ...]], int] = {}
        self._code_counts: list[int] = []
        # Most decisions repeat the one before them verdict for verdict, each the very same object.
        self._last: tuple[Verdict | None, Sequence[Verdict], int] = (None, (), -1)

    def __len__(self) -> int:
        return len(self._now_s)

    def append(
        self,
        now_s: float,
        proposed: int,
        fallback: int,
        executed: int,
        asked: bool,
        who: int,
        state: State,
        verdict: Verdict,
        said: Sequence[Verdict] | None = None,
        stage: Stage = Stage.FULL,
    ) -> None:
        """Record the next decision.

        Args:
            now_s: Simulated time, in seconds.
            proposed: The policy's action; -1 where it was not asked or gave none within range.
            fallback: The fallback's action.
            executed: The action that was executed.
            asked: Whether the policy was asked.
            who: Whose action that was: 0 fallback, 1 policy, 2 last rung.
            state: The supervisor's state in which the decision was made.
            verdict: What decided.
            said: What each check said that ran, in order; not to be changed afterwards. Where it is not given, the
                deciding verdict alone.
            stage: Stage of the roll-out in which the decision was made.
        """
        said = (verdict,) if said is None else said
        last_verdict, last_said, code = self._last
        if verdict is not last_verdict or said != last_said:
            code = self._code(verdict, said)
        self._code_counts[code] += 1
        self._now_s.append(now_s)
        self._proposed.append(proposed)
        self._fallback.append(fallback)
        self._executed.append(executed)
        self._who.append(who)
        self._asked.append(asked)
        self._state.append(state)
        self._stage.append(stage)
        self._verdict.append(code)

    def _code(self, verdict: Verdict, said: Sequence[Verdict]) -> int:
        """The number of what was said; its evidence is kept."""
        sayings: list[Saying] = []
        room = MAX_EVIDENCE
        plain = True
        for one in said:
            names: tuple[str, ...] = ()
            if one.evidence and one.kind != "accept":
                plain = False
                kept = one.evidence[:room]
                room -= len(kept)
                names = tuple([name for name, _ in kept])
                self._evidence.extend([_float32(value) for _, value in kept])
            sayings.append((one.check, one.kind, one.reason, names))
        key = (verdict.kind, verdict.check, verdict.reason, tuple(sayings))
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = len(self._codes)
            self._code_counts.append(0)
        self._last = (verdict, said, code) if plain else (None, (), -1)
        return code

    def asked(self, decision: int) -> bool:
        """Whether the policy was asked at that decision."""
        return bool(self._asked[decision])

    def ruled(self, decision: int) -> bool:
        """Whether the policy ruled at that decision: it was asked, and not in the shadow."""
        return bool(self._asked[decision]) and self._stage[decision] != Stage.SHADOW

    def interventions(self) -> dict[str, int]:
        """How many decisions were not the policy's, by reason code, in the order of first appearance."""
        counts: dict[str, int] = {}
        for (kind, _, reason, _), count in zip(self._codes, self._code_counts, strict=True):
            if kind != "accept":
                counts[reason] = counts.get(reason, 0) + count
        return counts

    def column(self, name: str) -> NDArray[Any]:
        """A copy of one numeric column, shape (decisions,).

        Args:
            name: ``now_s``, ``proposed``, ``fallback``, ``executed``, ``who`` (0 fallback, 1 learned, 2 last rung),
                ``asked``, ``state`` (0 closed, 1 open, 2 half-open), ``stage`` (0 shadow, 1 canary, 2 full), or
                ``verdict`` (number of the texts).
        """
        if name not in _COLUMNS:
            raise KeyError(f"no column {name!r}; there are {', '.join(_COLUMNS)}")
        return np.array(getattr(self, f"_{name}"))

    def to_table(self, metadata: Mapping[str, str] | None = None) -> pa.Table:
        """The log as an Arrow table, one row a decision, texts as dictionaries and evidence as lists of float32.

        Args:
            metadata: What the schema carries beside the columns.
        """
        codes = self.column("verdict").astype(np.int32)
        keys = list(self._codes)
        names = [[name for saying in key[3] for name in saying[3]] for key in keys]
        lengths = np.array([len(each) for each in names], dtype=np.int64)
        sizes = lengths[codes] if len(keys) else np.empty(0, np.int64)
        offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
        evidence = pa.array(np.array(self._evidence, dtype=np.float32))
        table = pa.table(
            {
                "decision": pa.array(np.arange(len(self), dtype=np.int64)),
                "now_s": pa.array(self.column("now_s")),
                "proposed": pa.array(self.column("proposed")),
                "fallback": pa.array(self.column("fallback")),
                "executed": pa.array(self.column("executed")),
                "who": _dictionary(self.column("who"), WHO),
                "asked": pa.array(self.column("asked").astype(bool)),
                "state": _dictionary(self.column("state"), [state.label for state in State]),
                "stage": _dictionary(self.column("stage"), [stage.label for stage in Stage]),
                "verdict": _dictionary(codes, [key[0] for key in keys]),
                "check": _dictionary(codes, [key[1] for key in keys]),
                "reason": _dictionary(codes, [key[2] for key in keys]),
                "said": _dictionary(codes, [json.dumps(key[3], separators=(",", ":")) for key in keys]),
                "evidence_names": _dictionary(codes, [" ".join(each) for each in names]),
                "evidence": pa.ListArray.from_arrays(pa.array(offsets), evidence),
            }
        )
        return table.replace_schema_metadata(dict(metadata)) if metadata else table

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

    def memory_bytes(self) -> int:
        """Memory that the columns take up, in bytes; the texts come on top, once for each combination."""
        return sum(sys.getsizeof(getattr(self, f"_{name}")) for name in _COLUMNS) + sys.getsizeof(self._evidence)


def _float32(value: float) -> float:
    """``value`` as ``array("f")`` takes it: what is beyond float32 becomes infinite there, and is no error."""
    if -3.4028235e38 <= value <= 3.4028235e38 or value != value:
        return value
    return float("inf") if value > 0 else float("-inf")


def _dictionary(indices: NDArray[Any], texts: Sequence[str]) -> pa.DictionaryArray:
    """A dictionary array whose dictionary holds each text once, in the order of first appearance."""
    place = dict(zip(dict.fromkeys(texts), range(len(texts)), strict=False))
    recode = np.fromiter((place[text] for text in texts), dtype=np.int32, count=len(texts))
    codes = recode[indices] if len(texts) else indices.astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes, type=pa.int32()), pa.array(list(place), type=pa.string()))
