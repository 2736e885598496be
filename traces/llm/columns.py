"""From checked columns in file order to a ``RequestTrace``: order, failed requests, lost prompt lengths."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import TraceError
from .failures import handle_failures
from .request_trace import MAX_STAMP_S, RequestTrace
from .source import Source

Place = Callable[[int], str]
_DATE_START = re.compile(r"\s*\d{4}-\d\d-\d\d[ T]\d\d:")


class Table(Protocol):
    """What readers need of a file with named columns."""

    source: Source
    header: tuple[str, ...]

    def require(self, columns: Sequence[str], mend: str) -> None: ...
    def read(self, numbers: Sequence[str], texts: Sequence[str]) -> dict[str, pa.ChunkedArray]: ...
    def place(self, row: int) -> str: ...
    def holds_dates(self, column: str) -> bool: ...


@dataclass(frozen=True)
class ReadOptions:
    """What the reader of each format is told.

    Attributes:
        failures: ``drop``, ``keep`` or ``retry``.
        spread_seed: Seed of the spreading of coarse stamps (and of retries); ``None`` leaves stamps as they are.
        sort: Sort requests by time instead of refusing a file whose stamps go back.
    """

    failures: str
    spread_seed: int | None
    sort: bool

    def generator(self, stream: int) -> np.random.Generator:
        """One independent stream: 0 spreads stamps, 1 draws retries."""
        return np.random.default_rng(np.random.SeedSequence([self.spread_seed or 0, stream]))


def whole_numbers(table: Table, column: str, values: pa.ChunkedArray, *, low: int, high: int) -> NDArray[np.int64]:
    """A column of finite floats as int64, each whole and within ``low`` and ``high``.

    Raises:
        TraceError: With the line of the first value that is not.
    """
    numbers = values.to_numpy()
    for bad, problem in (
        (numbers < low, "is negative" if low == 0 else f"is below {low}"),
        (numbers > high, f"is above {high:,}"),
        (numbers != np.floor(numbers), "is not a whole number"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise table.source.bad_value(table.place(row), column, f"{numbers[row]:g} {problem}; mend or drop the row")
    return numbers.astype(np.int64)


def labels(values: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Text labels as int64 codes and their names, in order of first appearance."""
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    merged = encoded.unify_dictionaries().combine_chunks()
    array = merged.chunk(0) if isinstance(merged, pa.ChunkedArray) else merged
    codes = array.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    used, first = np.unique(codes, return_index=True)
    order = used[np.argsort(first, kind="stable")]
    renumber = np.zeros(len(array.dictionary), np.int64)
    renumber[order] = np.arange(len(order))
    names = array.dictionary.to_pylist()
    return renumber[codes], tuple(names[code] for code in order.tolist())


def names_of(table: Table, column: str, values: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """``labels`` of a column of names, such as tenants.

    Raises:
        TraceError: A name with a line end or another control character in it (mostly a quote that nobody closed).
    """
    codes, names = labels(values)
    for code, name in enumerate(names):
        if any(ord(c) < 32 for c in name):
            row = int(np.argmax(codes == code))
            raise table.source.bad_value(
                table.place(row), column, "holds a line end or control character; mend the row"
            )
    return codes, names


def looks_like_date(text: str) -> bool:
    return _DATE_START.match(text) is not None


def time_order(
    stamps: NDArray[Any], source: Source, place: Place, field: str, options: ReadOptions
) -> NDArray[np.int64] | None:
    """``None`` where the stamps never go back, else (with ``sort``) the order that sorts them, ties in file order."""
    back = np.diff(stamps) < 0
    if not back.any():
        return None
    if not options.sort:
        raise source.backwards(place(int(np.argmax(back)) + 1), field)
    return np.argsort(stamps, kind="stable")


def check_stamps(stamp_s: NDArray[np.float64], source: Source, place: Place, field: str) -> None:
    """Refuse stamps (seconds, finite) that are negative or beyond any clock in seconds."""
    for bad, problem in (
        (stamp_s < 0, "is negative; times count up from 0"),
        (stamp_s > MAX_STAMP_S, "is too large for seconds; milliseconds are read with --map arrival_ms=COLUMN"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise source.bad_value(place(row), field, f"{stamp_s[row]:g} s {problem}")


def assemble(
    source: Source,
    options: ReadOptions,
    *,
    arrival_s: NDArray[np.float64],
    prompt_tokens: NDArray[np.int64],
    output_tokens: NDArray[np.int64],
    order: NDArray[np.int64] | None,
    notes: dict[str, Any],
    **optional: Any,
) -> RequestTrace:
    """The trace; ``arrival_s`` in order of time, every other column in file order, to be put in ``order``.

    A prompt length of 0 (lost by the recording, mostly of failed requests) is raised to 1 and counted in the notes.
    """
    n = len(arrival_s)
    prompt_known = (prompt_tokens if order is None else prompt_tokens[order]) > 0
    seed = int(options.generator(1).integers(2**63))
    try:
        trace = RequestTrace(
            arrival_s=arrival_s if order is None else np.zeros(n),
            prompt_tokens=np.maximum(prompt_tokens, 1),
            output_tokens=output_tokens,
            name=Path(source.name).name,
            notes={},
            **optional,
        )
        if order is not None:
            trace = trace.take(order, arrival_s)
        lost = int((~prompt_known & (trace.output_tokens > 0)).sum())
        notes = {"rows": n, **notes, **({"prompts_raised_to_1": lost} if lost else {})}
        return handle_failures(trace.replace(notes=notes), prompt_known, options.failures, seed)
    except TraceError as error:
        raise source.error(str(error)) from None
