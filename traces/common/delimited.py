"""CSV columns as arrays, fast (pyarrow), with the exact line of whatever is wrong."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ..errors import TraceError
from .columns import looks_like_date
from .source import UTF8_BOM, Source

_DELIMITERS = ",;\t"
_BLOCK_BYTES = 8 * 1024**2


class DelimitedFile:
    """A CSV file whose first line names the columns (separated by commas, semicolons or tabs)."""

    def __init__(self, source: Source) -> None:
        self.source = source
        data = source.data
        start = len(UTF8_BOM) if data.startswith(UTF8_BOM) else 0
        while data[start : start + 1] in (b"\n", b"\r"):
            start += 1
        ends = [end for end in (data.find(b"\n", start), data.find(b"\r", start)) if end >= 0]
        self._body_start = min(ends, default=len(data))
        try:
            header = bytes(data[start : min(self._body_start, start + 65_536)]).decode("utf-8")
        except UnicodeDecodeError:
            raise source.error("is neither text nor Parquet; give a CSV, JSONL or Parquet trace") from None
        if any(ord(c) < 32 and c != "\t" for c in header):
            raise source.error("is neither text nor Parquet; give a CSV, JSONL or Parquet trace")
        self.delimiter = max(_DELIMITERS, key=header.count)
        try:
            self.header = tuple(name.strip() for name in next(csv.reader([header], delimiter=self.delimiter)))
        except csv.Error as error:
            raise source.error(f"the header line cannot be read ({error}); name the columns in it") from None

    def require(self, columns: Sequence[str], mend: str) -> None:
        """Raise unless each of the columns is there exactly once."""
        for column in columns:
            found = self.header.count(column)
            if found == 0:
                seen = ", ".join(self.header[:12])
                raise self.source.error(f"line 1: column {column!r} is missing (found: {seen}); {mend}")
            if found > 1:
                raise self.source.error(f"line 1: column {column!r} is there {found} times; rename one")

    def read(self, numbers: Sequence[str], texts: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """The named columns: ``numbers`` as float64 (finite, none missing), ``texts`` as dictionary-encoded strings.

        Raises:
            TraceError: A line with too many or too few fields, or a value that is no finite number, with its line.
        """
        if self._body_start == len(self.source.data):
            self.source.check_rows(0)
        types: dict[str, pa.DataType] = dict.fromkeys(numbers, pa.float64())
        types.update(dict.fromkeys(texts, pa.dictionary(pa.int32(), pa.string())))
        # Columns are told apart by place: a file may repeat or leave out names of columns that nobody asked for.
        places = {column: f"{self.header.index(column)}" for column in types}
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(pa.py_buffer(self.source.data).slice(self._body_start)),
                read_options=pyarrow.csv.ReadOptions(
                    column_names=[str(i) for i in range(len(self.header))], block_size=_BLOCK_BYTES
                ),
                parse_options=pyarrow.csv.ParseOptions(delimiter=self.delimiter),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=list(places.values()),
                    column_types={places[column]: kind for column, kind in types.items()},
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowException as error:
            raise self._diagnosed(numbers, error) from None
        self.source.check_rows(table.num_rows)
        columns = {column: table.column(place) for column, place in places.items()}
        for column in numbers:
            bad = ~np.isfinite(columns[column].to_numpy())
            if bad.any():
                row = int(np.argmax(bad))
                value = columns[column][row].as_py()
                raise self.source.bad_value(self.place(row), column, f"{value} is not a finite number; mend or drop it")
        return columns

    def place(self, row: int) -> str:
        """Where data row ``row`` (0-based) stands: the line as an editor counts it (from 1, the header among them)."""
        return f"line {self._lines[row]} (data row {row + 1})"

    def holds_dates(self, column: str) -> bool:
        """Whether the first value of a column looks like a date rather than a number."""
        index = self.header.index(column)
        fields = next((fields for _, fields in self._records()), [])
        return index < len(fields) and looks_like_date(fields[index])

    @cached_property
    def _lines(self) -> list[int]:
        return [line for line, _ in self._records()]

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and fields of every data record, by the slow and exact way."""
        text = io.TextIOWrapper(io.BytesIO(self.source.data), encoding="utf-8-sig", errors="replace", newline="")
        reader = csv.reader(text, delimiter=self.delimiter)
        records = ((reader.line_num, fields) for fields in reader if fields)
        return itertools.islice(records, 1, None)

    def _diagnosed(self, numbers: Sequence[str], error: Exception) -> TraceError:
        """What exactly pyarrow stumbled over."""
        wanted = [(column, self.header.index(column)) for column in numbers]
        row = 0
        try:
            for row, (line, fields) in enumerate(self._records(), start=1):
                place = f"line {line} (data row {row})"
                if len(fields) != len(self.header):
                    return self.source.error(
                        f"{place}: {len(fields)} fields where the header names {len(self.header)}; mend the line"
                    )
                if any("\ufffd" in value for value in fields):
                    bad = next(name for name, value in zip(self.header, fields, strict=True) if "\ufffd" in value)
                    return self.source.bad_value(place, bad, "is not UTF-8 text; save the file as UTF-8")
                for column, index in wanted:
                    if not _is_number(fields[index]):
                        shown = fields[index] if len(fields[index]) <= 40 else fields[index][:40] + "..."
                        return self.source.bad_value(place, column, f"{shown!r} is not a number; mend or drop the row")
        except csv.Error as bad_csv:
            return self.source.error(f"data row {row + 1}: is not readable as CSV ({bad_csv}); mend the line")
        return self.source.error(f"is not readable as CSV ({str(error).splitlines()[0]}); export it again")


def _is_number(text: str) -> bool:
    if "_" in text:
        return False
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
