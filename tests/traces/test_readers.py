"""Each format is told by content and read into the right columns."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trace_samples import AZURE, BURSTGPT_1, BURSTGPT_3, GENERIC, MOONCAKE, SAMPLES

from handrail.traces import TraceError, load_trace
from handrail.traces.catalog import CATALOG
from handrail.traces.llm.describe import describe


def write(folder: Path, text: str, name: str = "trace.dat") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_format_is_told_by_content_and_gzip_by_magic_bytes(sample: str, tmp_path: Path):
    plain = load_trace(write(tmp_path, SAMPLES[sample], "misleading.parquet.jsonl"))
    packed = tmp_path / "no_ending"
    packed.write_bytes(gzip.compress(SAMPLES[sample].encode()))
    assert plain.notes["format"] == sample.split("-")[0]
    assert load_trace(packed).content_hash == plain.content_hash
    windows = write(tmp_path, "\ufeff" + SAMPLES[sample].replace("\n", "\r\n") + "\r\n\r\n", "windows")
    assert load_trace(windows).content_hash == plain.content_hash


def test_burstgpt_first_columns(tmp_path: Path):
    trace = load_trace(write(tmp_path, BURSTGPT_1), spread_seed=None)
    assert trace.arrival_s.tolist() == [0.0, 0.0, 180.0]
    assert trace.prompt_tokens.tolist() == [472, 1087, 1360]
    assert trace.output_tokens.tolist() == [18, 230, 647]
    assert trace.session_id is None
    assert trace.tenant is not None
    assert [trace.tenant_names[c] for c in trace.tenant] == ["Conversation log", "Conversation log", "API log"]
    assert trace.model_names == ("ChatGPT", "GPT-4")
    assert trace.notes["failed"] == 1
    assert trace.notes["rows"] == 4
    assert trace.notes["origin_s"] == 5.0


def test_burstgpt_with_sessions(tmp_path: Path):
    trace = load_trace(write(tmp_path, BURSTGPT_3), failures="keep", spread_seed=None)
    assert trace.session_id is not None
    assert trace.session_id.tolist() == [0, 1, -1, 0]
    assert trace.output_tokens.tolist() == [446, 29, 123, 0]


def test_azure_stamps_keep_seven_decimals(tmp_path: Path):
    trace = load_trace(write(tmp_path, AZURE))
    assert trace.arrival_s == pytest.approx([0.0, 4.314579, 64.5418771], abs=1e-12)
    assert trace.output_tokens.tolist() == [44, 109, 55]
    zoned = AZURE.replace("900,", "900+00:00,").replace("690,", "690+00:00,").replace("671,", "671+00:00,")
    assert load_trace(write(tmp_path, zoned, "zoned")).content_hash == trace.content_hash


def test_mooncake_blocks_and_permutation(tmp_path: Path):
    trace = load_trace(write(tmp_path, MOONCAKE), spread_seed=None)
    assert trace.arrival_s.tolist() == [0.0, 0.0, 2.999, 6.0]
    assert trace.prefix_block_tokens == 512
    assert trace.prefix_blocks is not None
    offsets, ids = trace.prefix_blocks
    assert offsets.tolist() == [0, 2, 5, 7, 8]
    original = np.array([0, 1, 0, 2, 3, 0, 4, 5])
    assert len(set(zip(original.tolist(), ids.tolist(), strict=True))) == 6  # one to one
    assert sorted(set(ids.tolist())) == list(range(6))
    assert ids.tolist() != original.tolist()
    assert load_trace(write(tmp_path, MOONCAKE), spread_seed=9).prefix_blocks[1].tolist() == ids.tolist()  # type: ignore[index]


def test_generic_columns(tmp_path: Path):
    trace = load_trace(write(tmp_path, GENERIC))
    assert trace.arrival_s.tolist() == [0.5, 1.25, 2.0]
    assert trace.session_id is not None
    assert trace.priority is not None
    assert trace.prefix_blocks is not None
    assert trace.session_id.tolist() == [7, -1, 7]
    assert trace.priority.tolist() == [1, -2, 0]
    assert trace.prefix_blocks[0].tolist() == [0, 2, 2, 5]
    assert trace.prefix_blocks[1].tolist() == [3, 1, 3, 1, 2]
    assert trace.prefix_block_tokens == 16


def test_mapping_units_dates_and_delimiters(tmp_path: Path):
    text = "ts;in;out;user\n0.5;1;2;ann\n1.5;3;4;\n2.0;5;6;bob\n"
    mapping = {"arrival_s": "ts", "prompt_tokens": "in", "output_tokens": "out", "session_id": "user"}
    trace = load_trace(write(tmp_path, text), mapping=mapping)
    assert trace.arrival_s.tolist() == [0.5, 1.5, 2.0]
    assert trace.session_id is not None
    assert trace.session_id.tolist() == [0, -1, 1]
    milliseconds = {**mapping, "arrival_ms": "ts"}
    del milliseconds["arrival_s"]
    assert load_trace(write(tmp_path, text), mapping=milliseconds).arrival_s.tolist() == [0.0005, 0.0015, 0.002]
    dates = text.replace("0.5;", "2024-01-01 00:00:00.5;").replace("1.5;", "2024-01-01T00:00:01;")
    dates = dates.replace("2.0;", "2024-01-01 00:01:00;")
    assert load_trace(write(tmp_path, dates), mapping=mapping).arrival_s.tolist() == [0.0, 0.5, 59.5]
    wall = text.replace("0.5;", "1700000000.5;").replace("1.5;", "1700000001.5;").replace("2.0;", "1700000002;")
    loaded = load_trace(write(tmp_path, wall), mapping=mapping)
    assert loaded.arrival_s.tolist() == [0.0, 1.0, 1.5]
    assert loaded.notes["origin_s"] == 1700000000.5


def test_parquet_of_another_making(tmp_path: Path):
    table = pd.DataFrame(
        {
            "when": pd.to_datetime(["2024-01-01 00:00:00.0", "2024-01-01 00:00:01.5"]),
            "in": np.array([1, 2], np.int16),
            "out": [3.0, 4.0],
            "who": pd.Categorical(["x", "y"]),
            "session": [None, 4],
        }
    )
    table.to_parquet(tmp_path / "requests.csv")
    columns = {"arrival_s": "when", "prompt_tokens": "in", "output_tokens": "out", "tenant": "who"}
    trace = load_trace(tmp_path / "requests.csv", mapping=columns)
    assert trace.arrival_s.tolist() == [0.0, 1.5]
    assert trace.output_tokens.tolist() == [3, 4]
    assert trace.tenant_names == ("x", "y")
    packed = tmp_path / "requests.gz"
    packed.write_bytes(gzip.compress((tmp_path / "requests.csv").read_bytes()))
    assert load_trace(packed, mapping=columns).content_hash == trace.content_hash


def test_sort_mends_time_that_goes_backwards(tmp_path: Path):
    for sample, text in SAMPLES.items():
        lines = text.splitlines()
        header, rows = ([], lines) if sample == "mooncake" else (lines[:1], lines[1:])
        path = write(tmp_path, "\n".join([*header, *rows[::-1]]))
        with pytest.raises(TraceError, match=r"backwards.*--sort"):
            load_trace(path)
        ordered = load_trace(path, sort=True, spread_seed=None)
        expected = load_trace(write(tmp_path, text, "ordered"), spread_seed=None)
        assert ordered.arrival_s.tolist() == expected.arrival_s.tolist()
        assert sorted(ordered.prompt_tokens) == sorted(expected.prompt_tokens)


def test_catalog_name_is_looked_up_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HANDRAIL_TRACES", str(tmp_path))
    with pytest.raises(TraceError, match="handrail traces fetch azure-2023-conv"):
        load_trace("azure-2023-conv")
    write(tmp_path, AZURE, CATALOG["azure-2023-conv"].file_name)
    assert len(load_trace("azure-2023-conv")) == 3


REAL = {
    "burstgpt_1_first400.csv": (400, 17),
    "burstgpt_3_first400.csv": (400, 1),
    "azure_2023_conv_first35min.csv": (12_337, 0),
    "azure_2023_code_first35min.csv": (6_621, 0),
    "mooncake_conversation_first35min.jsonl": (6_758, 0),
}


@pytest.mark.parametrize("name", list(REAL))
def test_real_traces(name: str, shared_data: Path):
    trace = load_trace(shared_data / "traces" / "llm" / name)
    rows, failed = REAL[name]
    assert (trace.notes["rows"], trace.notes["failed"]) == (rows, failed)
    assert len(trace) == rows - failed
    assert trace.output_tokens.min() >= 1
    assert trace.name == name


def test_real_sessions_lengths_and_burstiness(shared_data: Path):
    folder = shared_data / "traces" / "llm"
    third = describe(load_trace(folder / "burstgpt_3_first400.csv", failures="keep"))
    assert third.sessions == 135
    assert third.turns_per_session == pytest.approx(2.92, abs=0.005)
    first = describe(load_trace(folder / "burstgpt_1_first400.csv"))
    assert [round(first.prompt_tokens["p50"]), first.prompt_tokens["max"]] == pytest.approx([353, 2126])
    code = describe(load_trace(folder / "azure_2023_code_first35min.csv"))
    assert code.fano_1s == pytest.approx(13, abs=0.5)
    conversation = describe(load_trace(folder / "azure_2023_conv_first35min.csv"))
    assert conversation.fano_1s == pytest.approx(1.4, abs=0.2)
    assert conversation.interarrival_cv == pytest.approx(1.09, abs=0.05)


def test_real_mooncake_batches_are_spread(shared_data: Path):
    path = shared_data / "traces" / "llm" / "mooncake_conversation_first35min.jsonl"
    raw, spread = load_trace(path, spread_seed=None), load_trace(path)
    assert len(np.unique(raw.arrival_s)) == 700
    assert len(np.unique(spread.arrival_s)) == len(spread)
    moved_s = spread.arrival_s - raw.arrival_s
    assert moved_s.min() >= 0
    assert moved_s.max() < 3.0
    assert moved_s.mean() == pytest.approx(1.5, abs=0.05)
    assert describe(spread).fano_1s == pytest.approx(1.0, abs=0.5)
    assert spread.prefix_blocks is not None
    assert raw.prefix_blocks is not None
    assert np.array_equal(spread.prefix_blocks[1], raw.prefix_blocks[1])
    assert abs(np.corrcoef(np.arange(len(raw.prefix_blocks[1])), raw.prefix_blocks[1])[0, 1]) < 0.02
