"""Files broken at random, for the readers of all domains."""

from __future__ import annotations

import gzip
from collections.abc import Mapping

from hypothesis import strategies as st

TOKENS = [
    *(
        b"nan",
        b"inf",
        b"-1",
        b"1e999",
        b"0x10",
        b"1_0",
        b"",
        b" ",
        b",",
        b"\n",
        b"\r",
        b'"',
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
    ),
    *(
        b"99999999999999999999",
        b"-0",
        b"1.5",
        b"null",
        b"true",
        b"[[",
        b"{",
        b"}",
        b"2023-11-16",
        b"1e308",
        b"\t",
        b";",
    ),
]


@st.composite
def mangled(draw: st.DrawFn, originals: Mapping[str, bytes]) -> bytes:
    """One of the files with up to four pieces inserted, replaced, cut, dropped or doubled; perhaps gzipped."""
    data = originals[draw(st.sampled_from(sorted(originals)))]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(("insert", "replace", "cut", "drop", "double")))
        length = draw(st.integers(0, 12))
        if kind == "insert":
            data = data[:at] + draw(st.sampled_from(TOKENS)) + data[at:]
        elif kind == "replace":
            data = data[:at] + draw(st.sampled_from(TOKENS) | st.binary(max_size=8)) + data[at + length :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "drop":
            data = data[:at] + data[at + length :]
        else:
            data = data[:at] + data[at : at + 20 * length] + data[at:]
    if draw(st.booleans()):
        data = gzip.compress(data, mtime=0)
        if draw(st.booleans()):
            at = draw(st.integers(0, len(data)))
            data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
    return data
