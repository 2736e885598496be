"""Each format is told by content and read as documented; the real files have the numbers they are known for."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from job_samples import GENERIC, NODES, OPENB, PHILLY, SAMPLES, SWF, small_jobs

from handrail.traces import TraceError, load_job_trace, load_trace, read_nodes
from handrail.traces.cluster.load import FORMATS


def given(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "given"
    path.write_text(text)
    return path


def test_swf(tmp_path: Path):
    trace = load_job_trace(given(tmp_path, SWF))
    assert trace.arrival_s.tolist() == [0, 30, 30.5]
    assert trace.origin_s == 100
    assert trace.run_s.tolist() == [50, 1, 12072]
    assert trace.tasks.tolist() == [8, 16, 1]  # the larger of allocated and requested
    assert np.array_equal(trace.estimate_s, [600, np.nan, 30], equal_nan=True)
    assert (trace.cpu_milli == 1000).all()
    assert not trace.gpu_milli.any()
    assert trace.size.tolist() == [8, 16, 1]
    assert trace.processors == 128  # MaxProcs goes over MaxNodes, whichever comes first
    assert trace.user is not None
    assert trace.user.tolist() == [7, -1, 7]
    assert trace.tenant is not None
    assert [trace.tenant_names[code] for code in trace.tenant] == ["2", "2", "unknown"]
    expected = {"rows_in_file": 6, "rows": 3, "parts": 1, "cancelled": 1, "dropped": 1, "runs_raised_to_1_s": 1}
    assert expected.items() <= trace.notes.items()
    assert trace.notes["unix_start_s"] == 749458803


def test_swf_without_header_or_people(tmp_path: Path):
    line = "1 5 -1 9 2 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1\n"
    trace = load_job_trace(given(tmp_path, line))
    assert (trace.processors, trace.user, trace.tenant) == (None, None, None)
    assert load_job_trace(given(tmp_path, "; MaxNodes: 64\n; MaxProcs: -1\n" + line)).processors == 64


def test_philly(tmp_path: Path):
    trace = load_job_trace(given(tmp_path, PHILLY))
    assert trace.arrival_s.tolist() == [0, 235_696, 235_696]
    assert trace.run_s.tolist() == [2240194, 3256.5, 10]
    assert trace.size.tolist() == [8, 1, 16]
    assert trace.tasks.tolist() == [1, 1, 1]
    assert np.isnan(trace.estimate_s).all()
    assert trace.tenant is not None
    assert [trace.tenant_names[code] for code in trace.tenant] == ["7f04ca", "6214e9", "7f04ca"]
    assert trace.notes["origin"].startswith("2017-09-04T10:30:41")
    assert trace.origin_s == 0


def test_openb(tmp_path: Path):
    trace = load_job_trace(given(tmp_path, OPENB))
    assert trace.arrival_s.tolist() == [0, 20, 20, 30]
    assert trace.origin_s == 50
    assert trace.run_s.tolist() == [990, 1, 100, 1]
    assert trace.gpu_milli.tolist() == [1000, 460, 0, 8000]
    assert trace.cpu_milli.tolist() == [12000, 6000, 20000, 8000]
    assert trace.size.tolist() == [1, 0.46, 20, 8]
    assert trace.gpu_type_names == ("V100M16", "T4")
    assert trace.gpu_types is not None
    assert trace.gpu_types.tolist() == [0, 3, 0, 2]
    assert trace.tenant_names == ("LS", "BE")
    assert trace.notes["never_scheduled"] == 1
    assert trace.notes["runs_raised_to_1_s"] == 1


def test_openb_without_the_optional_columns(tmp_path: Path):
    rows = [line.split(",") for line in OPENB.splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if name not in ("gpu_spec", "qos", "scheduled_time")]
    trace = load_job_trace(given(tmp_path, "\n".join(",".join(row[i] for i in kept) for row in rows)))
    assert trace.gpu_types is None
    assert trace.tenant is None
    assert trace.run_s.tolist() == [1000, 1, 100, 1]


def test_nodes(tmp_path: Path):
    nodes = read_nodes(given(tmp_path, NODES))
    assert nodes.names == ("n0", "n1", "n2")
    assert nodes.gpus.tolist() == [2, 8, 0]
    assert nodes.models == ("P100", "V100M32", "")
    assert nodes.memory_mib.tolist() == [262144, 786432, 786432]
    assert len(nodes) == 3


def test_generic(tmp_path: Path):
    trace = load_job_trace(given(tmp_path, GENERIC))
    assert trace.arrival_s.tolist() == [0.5, 1.25, 2.0]
    assert trace.run_s.tolist() == [10, np.inf, 30]
    assert np.array_equal(trace.estimate_s, [20, np.nan, 30], equal_nan=True)
    assert trace.size.tolist() == [0.5, 8, 4]
    assert trace.gpu_type_names == ("A", "B")
    assert trace.gpu_types is not None
    assert trace.gpu_types.tolist() == [3, 0, 2]
    assert trace.user is not None
    assert trace.user.tolist() == [3, -1, 4]
    assert trace.deadline_s is not None
    assert np.array_equal(trace.deadline_s, [100, np.nan, 50], equal_nan=True)


def test_generic_with_map_counts_and_dates(tmp_path: Path):
    text = "when;took;cards;cores\n2024-01-01 00:00:00;5;0.25;1.5\n2024-01-01 00:01:00;7;2;0\n"
    mapping = {"arrival_s": "when", "run_s": "took", "gpus": "cards", "cpus": "cores"}
    trace = load_job_trace(given(tmp_path, text), mapping=mapping)
    assert trace.arrival_s.tolist() == [0, 60]
    assert trace.gpu_milli.tolist() == [250, 2000]
    assert trace.cpu_milli.tolist() == [1500, 0]
    assert trace.notes["origin"].startswith("2024-01-01")


def test_generic_without_demands_per_task_is_one_processor(tmp_path: Path):
    trace = load_job_trace(given(tmp_path, "arrival_s,run_s,tasks\n1e9,5,3\n1000000004,6,1\n"))
    assert trace.size.tolist() == [3, 1]
    assert trace.arrival_s.tolist() == [0, 4]  # a wall clock begins with the first job
    assert trace.origin_s == 1e9


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_packed_is_read_like_plain(sample: str, tmp_path: Path):
    plain = load_job_trace(given(tmp_path, SAMPLES[sample]))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(SAMPLES[sample].encode()))
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", "")
        archive.writestr("folder/trace", "\ufeff" + SAMPLES[sample])
    assert load_job_trace(tmp_path / "packed.gz").content_hash == plain.content_hash
    assert load_job_trace(tmp_path / "packed.zip").content_hash == plain.content_hash
    assert load_job_trace(tmp_path / "given", format=sample).content_hash == plain.content_hash
    assert sample in FORMATS


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_sort_puts_rows_in_order(sample: str, tmp_path: Path):
    lines = SAMPLES[sample].splitlines()
    first = 4 if sample == "swf" else 1
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    path = given(tmp_path, "\n".join(lines))
    with pytest.raises(TraceError, match=r"backwards.*--sort"):
        load_job_trace(path)
    right = load_job_trace(given(tmp_path, SAMPLES[sample]))
    path = given(tmp_path, "\n".join(lines))
    assert load_job_trace(path, sort=True).content_hash == right.content_hash


def test_domains_are_told_apart(tmp_path: Path):
    for text in (SWF, PHILLY, OPENB, GENERIC, NODES):
        with pytest.raises(TraceError, match="--domain cluster") as caught:
            load_trace(given(tmp_path, text))
        assert str(caught.value).startswith(str(tmp_path))
    for text in (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,API log\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n",
        '{"timestamp": 0, "input_length": 1, "output_length": 2, "hash_ids": [0]}\n',
        "arrival_s,prompt_tokens,output_tokens\n0,1,1\n",
    ):
        with pytest.raises(TraceError, match="--domain llm"):
            load_job_trace(given(tmp_path, text))
    with pytest.raises(TraceError, match="--domain cluster"):
        load_trace("bundled-cluster")
    with pytest.raises(TraceError, match="--domain llm"):
        load_job_trace("burstgpt-1")
    with pytest.raises(TraceError, match="--nodes"):
        load_job_trace(given(tmp_path, NODES))


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert len(load_job_trace("bundled")) == len(load_job_trace("bundled-cluster")) > 20_000
    Path("bundled").write_text(GENERIC)
    assert len(load_job_trace("bundled")) == 3


REAL = {
    "lublin_1_256procs.swf": (10_000, 256, 5094.0),
    "NASA-iPSC-1993-3.1-cln.swf.zip": (18_239, 128, 0.0),
    "philly_until_2017-11-20.csv.gz": (68_063, None, 0.0),
    "openb_pod_list_default.csv": (8_152, None, 0.0),
}


@pytest.mark.parametrize("name", list(REAL))
def test_real_files(name: str, shared_data: Path):
    trace = load_job_trace(shared_data / "traces" / "cluster" / name)
    assert (len(trace), trace.processors, trace.origin_s) == REAL[name]
    assert trace.arrival_s[0] == 0


def test_what_is_known_of_the_real_files(shared_data: Path):
    folder = shared_data / "traces" / "cluster"
    philly = load_job_trace(folder / "philly_until_2017-11-20.csv.gz")
    assert len(philly.tenant_names) == 14
    assert philly.area_s.sum() / philly.duration_s == pytest.approx(439, abs=0.5)
    assert np.sort(philly.area_s)[-len(philly) // 100 :].sum() / philly.area_s.sum() == pytest.approx(0.70, abs=0.005)
    assert load_job_trace(folder / "NASA-iPSC-1993-3.1-cln.swf.zip").notes["runs_raised_to_1_s"] == 173
    nodes = read_nodes(folder / "openb_node_list_gpu_node.csv")
    assert (len(nodes), nodes.gpus.sum()) == (1_213, 6_212)
    openb = load_job_trace(folder / "openb_pod_list_default.csv")
    assert openb.gpu_milli.sum() / 1000 / 6_212 == pytest.approx(0.98, abs=0.01)


def test_superposed_small_jobs_keep_their_processors():
    assert small_jobs().superpose(2, 0).processors == 640
