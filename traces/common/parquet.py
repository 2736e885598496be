"""A Parquet file with the same face as a delimited one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .columns import looks_like_date
from .source import Source

# What pyarrow raises on damaged files.
_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError)


class ParquetFile:
    """A Parquet file; rows are counted from 1 in messages."""

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            self._file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(source.data)))
            self.header = tuple(str(name) for name in self._file.schema_arrow.names)
            rows = self._file.metadata.num_rows
        except _DAMAGE as error:
            raise source.error(f"is damaged Parquet ({_first_line(error)}); export it again") from None
        source.check_rows(rows)

    def require(self, columns: Sequence[str], mend: str) -> None:
        for column in columns:
            found = self.header.count(column)
            if found == 0:
                seen = ", ".join(self.header[:12])
                raise self.source.error(f"column {column!r} is missing (found: {seen}); {mend}")
            if found > 1:
                raise self.source.error(f"column {column!r} is there {found} times; rename one")

    def read(self, numbers: Sequence[str], texts: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """``numbers`` as float64 (finite, none missing), ``texts`` as strings, empty where missing."""
        wanted = list(dict.fromkeys([*numbers, *texts]))
        try:
            table = self._file.read(columns=wanted)
            table.validate(full=True)
        except _DAMAGE as error:
            raise self.source.error(f"is damaged Parquet ({_first_line(error)}); export it again") from None
        self.source.check_rows(table.num_rows)
        columns = {column: self._numbers(column, table.column(column)) for column in numbers}
        columns.update({column: self._texts(column, table.column(column)) for column in texts})
        return columns

    def place(self, row: int) -> str:
        return f"data row {row + 1}"

    def holds_dates(self, column: str) -> bool:
        kind = self._file.schema_arrow.field(column).type
        if pa.types.is_timestamp(kind):
            return True
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return False
        first = self.read((), (column,))[column][0].as_py()
        return looks_like_date(first)

    def _numbers(self, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
        if values.null_count:
            row = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
            raise self.source.bad_value(self.place(row), column, "is missing; mend or drop the row")
        kind = values.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise self.source.bad_value("schema", column, f"holds {kind}, not numbers; convert the column")
        numbers = pc.cast(values, pa.float64(), safe=False)
        bad = ~np.isfinite(numbers.to_numpy())
        if bad.any():
            row = int(np.argmax(bad))
            value = numbers[row].as_py()
            raise self.source.bad_value(self.place(row), column, f"{value} is not a finite number; mend or drop it")
        return numbers

    def _texts(self, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
        try:
            return pc.fill_null(pc.cast(values, pa.string()), "")
        except pa.ArrowException:
            raise self.source.bad_value("schema", column, f"holds {values.type}, not text; convert it") from None


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
