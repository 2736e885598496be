"""Run folders: whole or not at all, and never over somebody else's files."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from handrail.experiments.report.run_folder import check_replaceable, dump_json, dump_parquet, write_run_folder
from handrail.traces import HandrailError

FILES = {"run.json": dump_json({"handrail": "compare"}), "a.bin": b"1"}


def test_a_folder_is_written_and_an_earlier_run_replaced(tmp_path):
    out = tmp_path / "deep" / "run"
    write_run_folder(out, {**FILES, "old.bin": b"0"})
    write_run_folder(out, FILES)
    assert sorted(p.name for p in out.iterdir()) == ["a.bin", "run.json"]
    assert [p.name for p in out.parent.iterdir()] == ["run"]


def test_an_empty_folder_is_taken(tmp_path):
    out = tmp_path / "empty"
    out.mkdir()
    write_run_folder(out, FILES)
    assert (out / "a.bin").read_bytes() == b"1"


@pytest.mark.parametrize("content", [{"notes.txt": b"mine"}, {"run.json": b"{}"}, {"run.json": b"no json"}])
def test_a_folder_with_anything_else_is_left_alone(tmp_path, content):
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(HandrailError, match="something else than a handrail run"):
        write_run_folder(tmp_path, FILES)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == content


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(HandrailError, match="a file of that name is in the way"):
        check_replaceable(tmp_path / "out")


def test_a_failed_write_leaves_the_earlier_run_and_no_rubbish(tmp_path):
    out = tmp_path / "run"
    write_run_folder(out, FILES)
    with pytest.raises(HandrailError, match="cannot be written"):
        write_run_folder(out, {**FILES, "no/such/folder.bin": b"x"})
    assert (out / "a.bin").read_bytes() == b"1"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(HandrailError, match="cannot be written"):
        write_run_folder(tmp_path / "run", FILES)


def test_parquet_bytes_depend_on_the_columns_alone(tmp_path):
    columns = {"a": np.arange(5), "b": np.array([1.0, np.nan, 3.0, 4.0, 5.0])}
    first, second = dump_parquet(columns), dump_parquet({k: v.copy() for k, v in columns.items()})
    assert first == second
    (tmp_path / "t.parquet").write_bytes(first)
    assert pq.read_table(tmp_path / "t.parquet")["a"].to_pylist() == [0, 1, 2, 3, 4]


def test_json_holds_no_nan_and_sorts_its_keys():
    assert list(json.loads(dump_json({"b": 1, "a": 2}))) == ["a", "b"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json({"a": float("nan")})
