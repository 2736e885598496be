"""Small access traces and access trace files that the tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from numpy.typing import NDArray

from handrail.traces import AccessTrace
from handrail.traces.signatures import ORACLE_RECORD

MQSIM = """938513000 4 264719032 16 0
938828000 3 16 8 0
938944000 13 24 32 1
939010000 4 7 2 1
"""
MSR = """128166372003061629,usr,0,Read,7014609920,24576,41286
128166372016382155,usr,1,Write,4095,2,1963
128166372026382245,hm,0,Read,0,4096,2093
128166372026382245,hm,0,Read,512,0,2093
"""
CACHELIB_BLOCK = """op_time,block_id,block_id_size,io_size,io_offset,user_name,user_namespace,op_name,op_count,host_name
1702511878,12ce-9e05,40,300000,0,4235,3487,getChunkData.NotInitialized,1,518
1702511879,cfb4-0122,40,131072,131072,4235,3487,putChunk.Permanent,2,260
1702511879,12ce-9e05,40,1,262144,4235,99,getChunkData.Permanent,1,3675
1702511880,12ce-9e05,40,5,0,4235,99,deleteChunk,1,3675
1702511881,12ce-9e05,40,0,0,4235,99,getChunkData.Permanent,1,3675
"""
CACHELIB_KV = """key,op,size,op_count,key_size
a7,GET,0,1,10
b4,SET,500,1,12
a7,GET,70,3,10
b4,DELETE,0,1,12
"""
CACHELIB_KV_TIMED = """op_time,key,key_size,op,op_count,size,cache_hits,ttl,usecase,sub_usecase
100,k1,10,GET,2,70,1,0,u1,s
100,k1,10,GET,1,80,1,0,u2,s
101,k2,11,GET_LEASE,1,0,1,0,u1,s
102,k2,11,SET,1,90,0,60,u1,s
"""
MOONCAKE = """{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 1200, "output_length": 0, "hash_ids": [0, 1, 3]}
{"timestamp": 3000, "input_length": 512, "output_length": 9, "hash_ids": [0]}
"""
GENERIC = """arrival_s,key,size_bytes,is_write,tenant
0.5,17,4096,0,x
1.25,18,512,1,y
1.25,17,4096,0,y
2.0,9223372036854775807,1,1,x
"""


def oracle_bytes(
    time_s: list[int], ids: list[int], size_bytes: list[int] | None = None, following: list[int] | None = None
) -> bytes:
    """oracleGeneral records, the next access worked out unless given."""
    records: NDArray[np.void] = np.zeros(len(ids), ORACLE_RECORD)
    records["time_s"], records["id"] = time_s, ids
    records["size_bytes"] = [512] * len(ids) if size_bytes is None else size_bytes
    later = [next((j + 1 for j in range(i + 1, len(ids)) if ids[j] == ids[i]), -1) for i in range(len(ids))]
    records["next"] = later if following is None else following
    return records.tobytes()


ORACLE = oracle_bytes([7, 7, 7, 9, 9, 12], [5, 6, 5, 2**63 - 1, 6, 5], [512, 1024, 512, 7, 1024, 512])
SAMPLES: dict[str, bytes] = {
    "oracle-general": ORACLE,
    "mqsim": MQSIM.encode(),
    "msr": MSR.encode(),
    "cachelib-block": CACHELIB_BLOCK.encode(),
    "cachelib-kv": CACHELIB_KV.encode(),
    "cachelib-kv timed": CACHELIB_KV_TIMED.encode(),
    "mooncake": MOONCAKE.encode(),
    "generic": GENERIC.encode(),
}


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def small_accesses(n: int = 200, seed: int = 0, **changes: Any) -> AccessTrace:
    """A trace with every column."""
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "arrival_s": np.sort(rng.uniform(0, 100, n)),
        "key": rng.integers(1000, 1001 + n // 3, n),
        "size_bytes": rng.integers(1, 1 << 20, n),
        "is_write": rng.random(n) < 0.3,
        "tenant": rng.integers(0, 2, n),
        "tenant_names": ("a", "b, with comma"),
        "backing": "seen",
        "name": "small",
        "notes": {"origin_s": 7.0},
    }
    return AccessTrace(**{**values, **changes})


@st.composite
def access_traces(draw: st.DrawFn, min_size: int = 1, max_size: int = 40) -> AccessTrace:
    """Traces with ties and few objects, with and without writes, tenants and large keys."""
    n = draw(st.integers(min_size, max_size))

    def many(values: st.SearchStrategy[Any]) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)))

    first = draw(st.sampled_from((0, 5, 2**62)))
    tenants = draw(st.booleans())
    return AccessTrace(
        arrival_s=np.sort(many(st.integers(0, 200)).astype(np.float64)) / 4,
        key=first + many(st.integers(0, 9)).astype(np.int64),
        size_bytes=many(st.integers(1, 2**40)).astype(np.int64),
        is_write=many(st.booleans()).astype(np.bool_) if draw(st.booleans()) else None,
        tenant=many(st.integers(0, 2)).astype(np.int64) if tenants else None,
        tenant_names=("p", "q", "r") if tenants else (),
        backing=draw(st.sampled_from(("all", "seen"))),
    )
