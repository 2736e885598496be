"""A table of numbers and words without a header line, read fast, with the exact line of whatever is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from ..common.source import UTF8_BOM, Source
from ..errors import TraceError

_BLOCK_BYTES = 8 * 1024**2
_LINE_ENDS = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class HeaderlessFile:
    """A file whose columns are known by their place.

    Attributes:
        source: The file.
        form: What it is, for messages.
        columns: Names of its columns, for messages and as keys.
        delimiter: One character; a blank stands for any number of blanks and tabs.
    """

    source: Source
    form: str
    columns: tuple[str, ...]
    delimiter: str

    def read(self, numbers: tuple[str, ...], texts: tuple[str, ...]) -> dict[str, pa.ChunkedArray]:
        """``numbers`` as int64, ``texts`` as dictionary-encoded strings.

        Raises:
            TraceError: A line with too many or too few fields, or a value that is no whole number, with its line.
        """
        kinds: dict[str, pa.DataType] = dict.fromkeys(numbers, pa.int64())
        kinds.update(dict.fromkeys(texts, pa.dictionary(pa.int32(), pa.string())))
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(pa.py_buffer(self._body)),
                read_options=pyarrow.csv.ReadOptions(column_names=list(self.columns), block_size=_BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(delimiter=self.delimiter, quote_char=False),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=[*numbers, *texts], column_types=kinds, null_values=[], strings_can_be_null=False
                ),
            )
        except pa.ArrowException as error:
            raise self._diagnosed(numbers, error) from None
        self.source.check_rows(table.num_rows)
        return {column: table.column(column) for column in kinds}

    def place(self, row: int) -> str:
        """Where row ``row`` (0-based) stands: the line as an editor counts it, from 1."""
        return f"line {self._numbered[row][0]} (data row {row + 1})"

    def ints(self, column: str, values: pa.ChunkedArray, *, low: int, high: int) -> NDArray[np.int64]:
        """A column of ``read`` as int64, each within ``low`` and ``high``.

        Raises:
            TraceError: With the line of the first value that is not.
        """
        found = values.to_numpy()
        for bad, problem in ((found < low, f"is below {low}"), (found > high, f"is above {high:,}")):
            if bad.any():
                row = int(np.argmax(bad))
                raise self.source.bad_value(self.place(row), column, f"{found[row]} {problem}; mend or drop the row")
        return found

    @cached_property
    def _body(self) -> bytearray | bytes:
        """The content without a byte order mark; runs of blanks as one where they separate, and none at line ends."""
        body = self.source.data.removeprefix(UTF8_BOM)
        if self.delimiter != " ":
            return body
        if b"\t" in body or b"  " in body:
            body = re.sub(rb"[ \t]+", b" ", body)
        if b" \n" in body or b" \r" in body or b"\n " in body or body[:1] == b" " or body[-1:] == b" ":
            body = re.sub(rb" *([\r\n]+) *", rb"\1", body).strip(b" ")
        return body

    @cached_property
    def _numbered(self) -> list[tuple[int, bytes]]:
        """Number and content of every line that is not empty, by the slow and exact way."""
        lines = _LINE_ENDS.split(bytes(self._body))
        return [(number, line) for number, line in enumerate(lines, start=1) if line]

    def _diagnosed(self, numbers: tuple[str, ...], error: Exception) -> TraceError:
        """What exactly pyarrow stumbled over."""
        wanted = [(column, self.columns.index(column)) for column in numbers]
        for row, (_, line) in enumerate(self._numbered):
            fields = line.split(self.delimiter.encode())
            if len(fields) != len(self.columns):
                problem = f"{len(fields)} fields where {self.form} has {len(self.columns)} ({', '.join(self.columns)})"
                return self.source.error(f"{self.place(row)}: {problem}; mend the line")
            for column, index in wanted:
                if not _is_int64(fields[index]):
                    shown = fields[index][:40].decode("utf-8", "replace")
                    problem = f"{shown!r} is not a whole number below 2^63; mend or drop the row"
                    return self.source.bad_value(self.place(row), column, problem)
        return self.source.error(f"is not readable as {self.form} ({str(error).splitlines()[0]}); export it again")


def _is_int64(text: bytes) -> bool:
    return re.fullmatch(rb"[ \t]*-?\d+[ \t]*", text) is not None and -(2**63) <= int(text) < 2**63
