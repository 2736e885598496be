"""Every access format: what is read, and how it is told from the others."""

from __future__ import annotations

import csv
import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from access_samples import (
    CACHELIB_BLOCK,
    CACHELIB_KV,
    CACHELIB_KV_TIMED,
    GENERIC,
    MOONCAKE,
    MQSIM,
    MSR,
    ORACLE,
    SAMPLES,
    oracle_bytes,
    zstd,
)

from handrail.traces import TraceError, load_access_trace, load_job_trace, load_trace
from handrail.traces.cache.reuse import stack_distances


def given(folder: Path, content: str | bytes, name: str = "given") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_oracle_general(tmp_path: Path):
    path = given(tmp_path, ORACLE)
    trace = load_access_trace(path)
    assert trace.key.tolist() == [5, 6, 5, 2**63 - 1, 6, 5]
    assert trace.size_bytes.tolist() == [512, 1024, 512, 7, 1024, 512]
    assert np.floor(trace.arrival_s).tolist() == [0, 0, 0, 2, 2, 5]
    assert (np.diff(trace.arrival_s) > 0).all()
    assert (trace.origin_s, trace.backing, trace.is_write, trace.tenant) == (7, "all", None, None)
    assert trace.notes["format"] == "oracle-general"
    assert load_access_trace(path, spread=False).arrival_s.tolist() == [0, 0, 0, 2, 2, 5]
    assert load_access_trace(path, seed=1).content_hash != trace.content_hash
    assert load_access_trace(path, permute=True, seed=4).key.max() == 2


def test_oracle_general_of_size_0_counts_1(tmp_path: Path):
    trace = load_access_trace(given(tmp_path, oracle_bytes([0] * 4, [1, 2, 3, 4], [0, 5, 0, 5])))
    assert trace.size_bytes.tolist() == [1, 5, 1, 5]
    assert trace.notes["sizes_raised_to_1_byte"] == 2


def test_a_cut_oracle_general_may_point_beyond_its_end(tmp_path: Path):
    records = oracle_bytes([0] * 5, [1, 2, 3, 4, 1], following=[5, 900, -1, 10**6, -1])
    assert load_access_trace(given(tmp_path, records)).notes["format"] == "oracle-general"


def test_oracle_general_is_told_by_name_or_content(tmp_path: Path):
    wrong = oracle_bytes([0] * 5, [1, 2, 3, 4, 5], following=[5, -1, -1, -1, -1])
    with pytest.raises(TraceError, match="neither text nor Parquet"):
        load_access_trace(given(tmp_path, wrong))
    assert len(load_access_trace(given(tmp_path, wrong, "w.oracleGeneral.bin"))) == 5
    assert len(load_access_trace(given(tmp_path, wrong), format="oracle-general")) == 5


@pytest.mark.parametrize("first", [b"{", b";", b"\n", b" ", b"1"])
def test_oracle_general_may_begin_with_any_byte(first: bytes, tmp_path: Path):
    records = oracle_bytes([first[0]] * 4, [1, 2, 3, 1])
    assert load_access_trace(given(tmp_path, records)).key.tolist() == [1, 2, 3, 1]


def test_mqsim(tmp_path: Path):
    trace = load_access_trace(given(tmp_path, MQSIM))
    device = 2**40
    assert trace.key.tolist() == [
        *(4 * device + 264719032 // 8 + i for i in range(2)),
        3 * device + 2,
        *(13 * device + 3 + i for i in range(4)),
        *(4 * device + i for i in range(2)),  # sectors 7 and 8 lie in two blocks
    ]
    np.testing.assert_allclose(trace.arrival_s[[0, 1, 2, 3, 8]], [0, 0, 315e-6, 431e-6, 497e-6])
    assert trace.is_write is not None
    assert trace.is_write.tolist() == [True] * 3 + [False] * 6
    assert set(trace.size_bytes.tolist()) == {4096}
    assert (trace.origin_s, trace.notes["requests"], trace.tenant) == (0.938513, 4, None)
    assert len(load_access_trace(given(tmp_path, MQSIM), block_bytes=512)) == 16 + 8 + 32 + 2
    loose = MQSIM.replace(" ", "\t  ").replace("\n", " \r\n")
    assert load_access_trace(given(tmp_path, loose)).content_hash == trace.content_hash


def test_msr(tmp_path: Path):
    trace = load_access_trace(given(tmp_path, MSR))
    device = 2**40  # disks in order of host and number: hm 0, usr 0, usr 1
    first = 7014609920 // 4096
    assert trace.key.tolist() == [*(device + first + i for i in range(7)), 2 * device, 2 * device + 1, 0]
    np.testing.assert_allclose(trace.arrival_s, [0] * 7 + [1.3320526] * 2 + [2.3320616])
    assert trace.is_write is not None
    assert trace.is_write.tolist() == [False] * 7 + [True] * 2 + [False]
    assert trace.notes["dropped_empty"] == 1
    assert trace.notes["disks"] == 3
    assert trace.notes["origin"].startswith("2007-02-22T17:00:00.306162")


def test_cachelib_block(tmp_path: Path):
    trace = load_access_trace(given(tmp_path, CACHELIB_BLOCK))
    assert trace.tenant_names == ("3487", "99")
    assert trace.tenant is not None
    assert trace.tenant.tolist() == [0] * 5 + [1]
    block, segment = np.divmod(trace.key, 2**20)
    assert segment.tolist() == [0, 1, 2, 1, 1, 2]
    # One block id in two namespaces is two blocks, numbered in no order.
    assert len(set(block.tolist())) == 3 == block.max() + 1
    assert (block[0], block[3]) == (block[2], block[4])
    assert trace.is_write is not None
    assert trace.is_write.tolist() == [False] * 3 + [True] * 2 + [False]
    assert trace.notes["dropped_ops"] == {"deleteChunk": 1}
    assert trace.notes["dropped_empty"] == 1
    assert trace.origin_s == 1702511878
    assert set(trace.size_bytes.tolist()) == {131072}
    assert trace.arrival_s[0] == trace.arrival_s[2]  # one request
    assert 1 <= trace.arrival_s[3] < trace.arrival_s[4] < trace.arrival_s[5] < 2
    assert len(load_access_trace(given(tmp_path, CACHELIB_BLOCK), block_bytes=2**20)) == 4


def test_text_ids_are_not_numbered_in_order_of_appearance(tmp_path: Path):
    lines = "".join(f"k{i},GET,10,1,4\n" for i in range(200))
    trace = load_access_trace(given(tmp_path, "key,op,size,op_count,key_size\n" + lines))
    assert sorted(trace.key.tolist()) == list(range(200))
    assert (np.diff(trace.key) == 1).sum() < 8
    # The same file gives the same numbers.
    assert load_access_trace(tmp_path / "given").content_hash == trace.content_hash


def test_cachelib_kv(tmp_path: Path):
    trace = load_access_trace(given(tmp_path, CACHELIB_KV))
    assert trace.key.tolist() in ([0, 1, 0, 0, 0], [1, 0, 1, 1, 1])
    assert trace.size_bytes.tolist() == [80, 512, 80, 80, 80]  # a miss has the size that the key has elsewhere
    assert trace.is_write is not None
    assert trace.is_write.tolist() == [False, True, False, False, False]
    assert (trace.backing, trace.tenant) == ("seen", None)
    assert trace.arrival_s.tolist() == [0, 0.001, 0.002, 0.003, 0.004]
    assert trace.notes["dropped_ops"] == {"DELETE": 1}


def test_cachelib_kv_with_times_and_usecases(tmp_path: Path):
    trace = load_access_trace(given(tmp_path, CACHELIB_KV_TIMED))
    assert trace.tenant_names == ("u1", "u2")
    assert trace.tenant is not None
    assert trace.tenant.tolist() == [0, 0, 1, 0, 0]
    assert trace.distinct_objects == 3  # k1 of u1 is not k1 of u2
    assert trace.size_bytes.tolist() == [80, 80, 90, 101, 101]
    assert trace.is_write is not None
    assert trace.is_write.tolist() == [False] * 4 + [True]
    assert np.floor(trace.arrival_s).tolist() == [0, 0, 0, 1, 2]
    assert trace.origin_s == 100


def test_mooncake(tmp_path: Path):
    path = given(tmp_path, MOONCAKE)
    raw = load_access_trace(path, permute=False)
    assert raw.key.tolist() == [0, 1, 2, 0, 1, 3, 0]
    assert set(raw.size_bytes.tolist()) == {512 * 131072}
    assert raw.backing == "seen"
    trace = load_access_trace(path)
    assert trace.next_row.tolist() == raw.next_row.tolist()
    assert trace.key.tolist() != raw.key.tolist()
    assert load_access_trace(path, permute=True).content_hash == trace.content_hash
    np.testing.assert_array_equal(trace.arrival_s, load_trace(path, failures="keep").arrival_s[[0, 0, 0, 1, 1, 1, 2]])
    assert load_access_trace(path, spread=False).arrival_s.tolist() == [0, 0, 0, 3, 3, 3, 3]


def test_generic(tmp_path: Path):
    trace = load_access_trace(given(tmp_path, GENERIC))
    assert trace.key.tolist() == [17, 18, 17, 2**63 - 1]
    assert trace.is_write is not None
    assert trace.is_write.tolist() == [False, True, False, True]
    assert trace.tenant_names == ("x", "y")
    assert trace.backing == "all"
    assert trace.distinct_objects == 3  # 17 is shared
    mapped = GENERIC.replace("arrival_s,key,size_bytes", "ts,lbn,bytes")
    names = {"arrival_s": "ts", "key": "lbn", "size_bytes": "bytes"}
    assert load_access_trace(given(tmp_path, mapped), mapping=names).content_hash == trace.content_hash


def test_generic_with_the_least(tmp_path: Path):
    trace = load_access_trace(given(tmp_path, "arrival_s;key\n1e9;obj-7\n1000000001;obj-1\n1000000001;obj-7\n"))
    assert trace.backing == "seen"
    assert trace.key.tolist() in ([0, 1, 0], [1, 0, 1])
    assert trace.size_bytes.tolist() == [4096] * 3
    assert trace.notes["assumed_size_bytes"] == 4096
    assert (trace.arrival_s.tolist(), trace.origin_s) == ([0, 1, 1], 1e9)
    dated = load_access_trace(
        given(tmp_path, "arrival_s,key,is_write\n2024-01-01 00:00:00,3,W\n2024-01-01 00:00:02,4,r\n")
    )
    assert dated.arrival_s.tolist() == [0, 2]
    assert dated.is_write is not None
    assert dated.is_write.tolist() == [True, False]


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_packed_is_read_like_plain(sample: str, tmp_path: Path):
    plain = load_access_trace(given(tmp_path, SAMPLES[sample]))
    given(tmp_path, gzip.compress(SAMPLES[sample], mtime=0), "packed.gz")
    given(tmp_path, zstd(SAMPLES[sample]), "packed.zst")
    given(tmp_path, zstd(SAMPLES[sample][:7]) + zstd(SAMPLES[sample][7:]), "frames.zst")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("trace", SAMPLES[sample])
    for name in ("packed.gz", "packed.zst", "frames.zst", "packed.zip"):
        assert load_access_trace(tmp_path / name).content_hash == plain.content_hash
    assert load_access_trace(tmp_path / "given", format=sample.split()[0]).content_hash == plain.content_hash


SWAPPED = {
    "oracle-general": oracle_bytes([7, 9, 7], [5, 6, 5]),
    "mqsim": MQSIM.replace("938513000", "938999000"),
    "msr": MSR.replace("128166372003061629", "128166372026382000"),
    "cachelib-block": CACHELIB_BLOCK.replace("1702511878", "1702511880"),
    "cachelib-kv": CACHELIB_KV_TIMED.replace("\n100,k1,10,GET,2", "\n105,k1,10,GET,2"),
    "generic": GENERIC.replace("\n0.5,", "\n1.5,"),
}


@pytest.mark.parametrize("format", list(SWAPPED))
def test_sort_puts_rows_in_order(format: str, tmp_path: Path):
    path = given(tmp_path, SWAPPED[format])
    with pytest.raises(TraceError, match=r"backwards.*--sort"):
        load_access_trace(path, format=format)
    trace = load_access_trace(path, format=format, sort=True)
    assert (np.diff(trace.arrival_s) >= 0).all()
    if format == "oracle-general":
        assert trace.key.tolist() == [5, 5, 6]
    if format == "mqsim":
        assert (trace.key[:1] >> 40).tolist() == [3]
        assert (trace.key[-2:] >> 40).tolist() == [4, 4]
        assert (np.diff(trace.key[-4:-2]) == 1).all()


def test_domains_are_told_apart(tmp_path: Path):
    for sample, content in SAMPLES.items():
        path = given(tmp_path, content)
        with pytest.raises(TraceError, match=r"--domain (prefetch|llm)"):
            load_job_trace(path)
        if sample != "mooncake":
            with pytest.raises(TraceError, match="--domain prefetch"):
                load_trace(path)
    for text, domain in (
        ("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,C,472,18,490,API log\n", "llm"),
        ("arrival_s,prompt_tokens,output_tokens\n0,1,1\n", "llm"),
        ("timestamp,duration,num_gpus,gpu_time,cluster\n2017-09-04 10:30:41,2.0,8,16.0,7f\n", "cluster"),
        ("; MaxProcs: 128\n1 100 -1 50 4 -1 -1 8 600 -1 1 7 2 -1 -1 -1 -1 -1\n", "cluster"),
    ):
        with pytest.raises(TraceError, match=f"--domain {domain}"):
            load_access_trace(given(tmp_path, text))
    for name, load in (("bundled-cache", load_trace), ("bundled-cache", load_job_trace)):
        with pytest.raises(TraceError, match="--domain prefetch"):
            load(name)
    with pytest.raises(TraceError, match="--domain cluster"):
        load_access_trace("bundled-cluster")
    with pytest.raises(TraceError, match="--domain llm"):
        load_access_trace("burstgpt-1")


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANDRAIL_TRACES", str(tmp_path / "none"))
    assert len(load_access_trace("bundled")) == len(load_access_trace("bundled-cache")) > 50_000
    with pytest.raises(TraceError, match="handrail traces fetch mooncake-conversation"):
        load_access_trace("mooncake-conversation")
    Path("bundled-cache").write_text(GENERIC)
    assert len(load_access_trace("bundled-cache")) == 4


def test_real_files(shared_data: Path):
    folder = shared_data / "traces"
    cloud = load_access_trace(folder / "cache" / "cloudPhysicsIO.oracleGeneral.bin")
    assert (len(cloud), cloud.distinct_objects) == (113_872, 48_974)
    mqsim = load_access_trace(folder / "cache" / "mqsim_tpcc_small.trace")
    assert mqsim.notes["requests"] == 6_999
    block = load_access_trace(folder / "cache" / "cachelib_block_1.csv")
    assert (block.notes["rows"], block.n_tenants, block.backing) == (len(block), 1, "all")
    kv = load_access_trace(folder / "llm" / "mooncake_conversation_first35min.jsonl")
    assert (kv.notes["requests"], kv.backing) == (6_758, "seen")
    np.testing.assert_array_equal(np.unique(kv.key), np.arange(kv.distinct_objects))


def test_lru_misses_of_the_reference(shared_data: Path):
    """Hits of an LRU cache are exactly the accesses of a small enough stack distance."""
    with open(shared_data / "reference" / "cache_miss_counts.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["algo"], row["prefetcher"]) == ("LRU", "none")]
    misses = {int(row["cache_size"]): int(row["n_miss"]) for row in rows if row["cache_size_unit"] == "objects"}
    trace = load_access_trace(shared_data / "traces" / "cache" / "cloudPhysicsIO.oracleGeneral.bin")
    distances = stack_distances(trace.key)
    assert len(misses) == 7
    assert {size: int(((distances < 0) | (distances > size)).sum()) for size in misses} == misses
