"""Every mistake in a file of accesses gives one line that names the file as given, the place, the field, the mend."""

from __future__ import annotations

from pathlib import Path

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

from handrail.traces import TraceError, load_access_trace

AUTO = "auto"
CASES = {
    # oracleGeneral
    "trailing bytes": (ORACLE[:-5], "oracle-general", "139 bytes are no whole number of 24-byte.*the last 19 trail"),
    "id too large": (
        oracle_bytes([7] * 4, [5, 6, 2**63, 1]),
        "oracle-general",
        r"record 3, field 'id': 9223372036854775808 is above 2\^63",
    ),
    "backwards": (oracle_bytes([5, 4, 6, 7], [1, 2, 3, 4]), "oracle-general", "record 2, field 'time'.*--sort"),
    "text as records": (b"arrival_s,key\n0,1\n0,22222", "oracle-general", "no whole number of 24-byte"),
    # MQSim
    "MQSim short": (MQSIM.replace("16 8 0", "16 8"), "mqsim", "line 2 .data row 2.: 4 fields where MQSim has 5"),
    "MQSim text": (MQSIM.replace(" 24 ", " x "), AUTO, "line 3 .*field 'start LBA': 'x' is not a whole number"),
    "MQSim fraction": (MQSIM.replace(" 24 ", " 24.5 "), AUTO, "line 3 .*field 'start LBA': '24.5' is not a whole"),
    "MQSim 2^63": (MQSIM.replace(" 24 ", f" {2**63} "), AUTO, "line 3 .*'start LBA': .*is not a whole number below"),
    "MQSim negative": (MQSIM.replace(" 24 ", " -24 "), AUTO, "line 3 .*field 'start LBA': -24 is below 0"),
    "MQSim type": (MQSIM.replace("24 32 1", "24 32 2"), AUTO, "line 3 .*field 'type': 2 is above 1"),
    "MQSim empty": (MQSIM.replace("24 32 1", "24 0 1"), AUTO, "line 3 .*field 'size': 0 is below 1"),
    "MQSim too long": (
        MQSIM.replace("24 32 1", "24 9999999999 1"),
        AUTO,
        "line 3 .*field 'size': .* is above 8,388,608",
    ),
    "MQSim far away": (MQSIM.replace(" 24 ", f" {2**50} "), AUTO, "line 3 .*field 'start LBA': .* is above"),
    "MQSim device": (MQSIM.replace(" 13 ", f" {2**23} "), AUTO, "line 3 .*field 'device': .* is above"),
    "MQSim blank line": (MQSIM.replace("938828000", "\n938828000x"), AUTO, "line 3 .data row 2., field 'arrival'"),
    # MSR
    "MSR type": (MSR.replace("Write", "Trim"), AUTO, "line 2 .*field 'Type': 'Trim' is neither Read nor Write"),
    "MSR host left out": (MSR.replace("usr,1", "1"), AUTO, "line 2 .*: 6 fields where MSR Cambridge has 7"),
    "MSR offset": (MSR.replace("4095", "no"), AUTO, "line 2 .*field 'Offset': 'no' is not a whole number"),
    "MSR size": (MSR.replace(",2,", ",-2,"), AUTO, "line 2 .*field 'Size': -2 is below 0"),
    "MSR backwards": (MSR.replace("128166372026382245,hm", "1,hm", 1), AUTO, "line 3 .*'Timestamp'.*backwards.*--sort"),
    "MSR nothing": ("1,a,0,Read,0,0,1\n", AUTO, "no accesses in it"),
    # CacheLib
    "block offset": (CACHELIB_BLOCK.replace(",131072,131072,", ",131072,-1,"), AUTO, "line 3 .*'io_offset'.*negative"),
    "block size": (CACHELIB_BLOCK.replace(",300000,", ",3e5x,"), AUTO, "line 2 .*'io_size': '3e5x' is not a number"),
    "block op_count": (
        CACHELIB_BLOCK.replace("NotInitialized,1", "NotInitialized,1.5"),
        AUTO,
        "'op_count'.*not a whole",
    ),
    "block time": (CACHELIB_BLOCK.replace("1702511878", "9e30"), AUTO, "line 2 .*'op_time'.*above"),
    "no gets or puts": (
        CACHELIB_BLOCK.replace("get", "del").replace("put", "del"),
        AUTO,
        "'op_name': no operation reads",
    ),
    "only empty": (
        CACHELIB_BLOCK.replace(",1,26", ",0,26").replace("131072,131072", "0,0").replace("300000", "0"),
        AUTO,
        "no acc",
    ),
    "kv size": (CACHELIB_KV.replace("500", "-500"), AUTO, "line 3 .*'size'.*is negative"),
    "kv ops": (CACHELIB_KV.replace(",3,", ",1e7,"), AUTO, "line 4 .*'op_count'.*above 1,000,000"),
    "kv time": (CACHELIB_KV_TIMED.replace("\n101", "\n99"), AUTO, "line 4 .*'op_time'.*backwards"),
    "kv twice": (CACHELIB_KV_TIMED.replace("ttl", "usecase"), AUTO, "line 1: column 'usecase' is there 2 times"),
    # Mooncake
    "no hash ids": (MOONCAKE.replace("hash_ids", "ids"), AUTO, "field 'hash_ids': no request has hash ids"),
    "bad hash id": (MOONCAKE.replace("[0, 1, 3]", "[0, -1]"), AUTO, "line 2 .*'hash_ids' .*|'hash_ids': is not a list"),
    # generic
    "no key": ("arrival_s,size_bytes\n0,1\n", AUTO, "column 'key' is missing.*--map key=COLUMN"),
    "text among keys": (GENERIC.replace(",18,", ",1x,"), AUTO, "line 3 .*'key': '1x' is not a whole number of 0 to"),
    "key too large": (GENERIC.replace("775807", "775808"), AUTO, "line 5 .*'key': '9223372036854775808' is not"),
    "key missing": ("arrival_s,key\n0,a\n1,\n", AUTO, "line 3 .*'key': is empty"),
    "size 0": (GENERIC.replace(",512,", ",0,"), AUTO, "line 3 .*'size_bytes': 0 is below 1"),
    "size NaN": (GENERIC.replace(",512,", ",nan,"), AUTO, "line 3 .*'size_bytes': nan is not a finite number"),
    "write": (GENERIC.replace(",512,1,", ",512,maybe,"), AUTO, "line 3 .*'is_write': 'maybe' is neither write"),
    "time": (GENERIC.replace("\n0.5", "\nsoon"), AUTO, "line 2 .*'arrival_s': 'soon' is not a number"),
    "milliseconds": (GENERIC.replace("\n2.0", "\n2e12"), AUTO, "line 5 .*'arrival_s'.*too large for seconds"),
    "backing": ("arrival_s,key,backing\n0,1,some\n", AUTO, "line 2 .*'backing': 'some' is neither all nor seen"),
    "two backings": ("arrival_s,key,backing\n0,1,all\n1,2,seen\n", AUTO, "line 3 .*'backing': is not all as in"),
    "two origins": ("arrival_s,key,origin_s\n0,1,5\n1,2,6\n", AUTO, "line 3 .*'origin_s': is not 5 as in"),
    # neither
    "empty": ("", AUTO, "empty"),
    "header only": (GENERIC.splitlines()[0] + "\n", AUTO, "no accesses"),
    "damaged zstd": (zstd(GENERIC.encode() * 99)[:-4], AUTO, "zstd data is damaged.*again"),
    "binary": (bytes(range(256)), AUTO, "neither text nor Parquet"),
}


def written(content: str | bytes, name: str = "given.trace") -> Path:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(name)


@pytest.mark.parametrize("case", list(CASES))
def test_message(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content, format, message = CASES[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TraceError, match=message) as caught:
        load_access_trace(written(content), format=format)
    assert str(caught.value).startswith("given.trace: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_caps_on_rows_and_bytes(sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = written(SAMPLES[sample])
    accesses = len(load_access_trace(path))
    with pytest.raises(TraceError, match=r"more than 2 rows.*max_rows"):
        load_access_trace(path, max_rows=2)
    # Requests that are split count by their blocks.
    with pytest.raises(TraceError, match=rf"more than {accesses - 1} rows"):
        load_access_trace(path, max_rows=accesses - 1)
    with pytest.raises(TraceError, match=r"more than 60 bytes unpacked.*max_bytes"):
        load_access_trace(path, max_bytes=60)


def test_a_bomb_stops_at_the_cap(tmp_path: Path):
    (tmp_path / "bomb.zst").write_bytes(zstd(b"0" * 50_000_000))
    with pytest.raises(TraceError, match="more than 1,000,000 bytes unpacked"):
        load_access_trace(tmp_path / "bomb.zst", max_bytes=1_000_000)


def test_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TraceError, match="no such file"):
        load_access_trace("none.bin")
    path = written(GENERIC)
    for options, message in (
        ({"format": "csv"}, "format 'csv' is not known"),
        ({"mapping": {"when": "arrival_s"}}, "--map knows no column 'when'"),
        ({"mapping": {"arrival_s": "when"}}, "'when' is missing.*--map arrival_s=COLUMN"),
        ({"mapping": {"arrival_s": "arrival_s"}, "format": "msr"}, "--map is for the generic format"),
        ({"block_bytes": 0}, "block_bytes must be 1 to"),
        ({"block_bytes": 512}, "block_bytes is for mqsim, msr, cachelib-block; it is generic"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"format": "cachelib-block"}, "'op_time' is missing.*right --format"),
        ({"format": "cachelib-kv"}, "'op' is missing.*right --format"),
        ({"format": "mqsim"}, "line 1 .*: 1 fields where MQSim has 5"),
        ({"format": "mooncake"}, "line 1 .*: is not JSON"),
    ):
        with pytest.raises(TraceError, match=message):
            load_access_trace(path, **options)
    with pytest.raises(TraceError, match="take larger blocks"):
        load_access_trace(written("0 0 0 8388608 1\n"), block_bytes=512)
    far = CACHELIB_BLOCK.replace(",131072,131072,", ",131072,2000000000,")
    with pytest.raises(TraceError, match=r"line 3 .*'io_offset': .* too far into its block"):
        load_access_trace(written(far), block_bytes=512)
