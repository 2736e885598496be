"""Small job traces and job trace files that the tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from handrail.traces import JobTrace

SWF = """; Version: 2.2
; MaxNodes: 64
; UnixStartTime: 749458803
; MaxProcs: 128
1 100 -1 50 4 -1 -1 8 600 -1 1 7 2 -1 -1 -1 -1 -1
2 130 -1 0 16 -1 -1 -1 -1 -1 1 -1 2 -1 -1 -1 -1 -1

3 130.5 -1 12072 1 -1 -1 1 30 -1 0 7 -1 -1 -1 -1 -1 -1
4 140 -1 -1 4 -1 -1 4 600 -1 5 7 2 -1 -1 -1 -1 -1
5 150 -1 5 -1 -1 -1 -1 600 -1 1 7 2 -1 -1 -1 -1 -1
6 160 -1 5 4 -1 -1 4 600 -1 3 7 2 -1 -1 -1 -1 -1
"""
PHILLY = """timestamp,duration,num_gpus,gpu_time,cluster
2017-09-04 10:30:41,2240194.0,8,17921552.0,7f04ca
2017-09-07 03:58:57,3256.5,1,3256.5,6214e9
2017-09-07 03:58:57,10,16,160.0,7f04ca
"""
OPENB = """name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
p0,12000,16384,1,1000,,LS,Running,50,1050,60
p1,6000,12288,1,460,V100M16|T4,BE,Running,70,71,70
p2,20000,65536,0,0,,LS,Pending,70,170,
p3,8000,1024,8,1000,T4,LS,Failed,80,80,80
"""
NODES = """sn,cpu_milli,memory_mib,gpu,model
n0,64000,262144,2,P100
n1,96000,786432,8,V100M32
n2,96000,786432,0,
"""
GENERIC = """arrival_s,run_s,estimate_s,tasks,gpu_milli,cpu_milli,memory_mib,gpu_types,tenant,user,priority,deadline_s
0.5,10,20,1,500,1000,64,A|B,x,3,1,100
1.25,inf,,4,2000,0,0,,y,-1,-2,
2.0,30,30,2,0,2000,128,B,x,4,0,50
"""
SAMPLES = {"swf": SWF, "philly": PHILLY, "openb": OPENB, "generic": GENERIC}


def small_jobs(n: int = 50, seed: int = 0, **changes: Any) -> JobTrace:
    """A trace with every column."""
    rng = np.random.default_rng(seed)
    run_s = rng.lognormal(4, 2, n)
    run_s[n // 2] = np.inf
    arrival_s = np.sort(rng.uniform(0, 1_000, n))
    gpus = rng.choice([0, 250, 1000, 4000], n)
    values: dict[str, Any] = {
        "arrival_s": arrival_s,
        "run_s": run_s,
        "estimate_s": np.where(rng.random(n) < 0.3, np.nan, rng.uniform(1, 500, n)),
        "tasks": rng.integers(1, 5, n),
        "gpu_milli": gpus,
        "cpu_milli": np.where(gpus == 0, 1000, rng.integers(0, 9000, n)),
        "memory_mib": rng.integers(0, 1 << 20, n),
        "gpu_types": rng.integers(0, 4, n),
        "gpu_type_names": ("T4", "A100"),
        "tenant": rng.integers(0, 2, n),
        "tenant_names": ("a", "b, with comma"),
        "user": rng.integers(-1, 5, n),
        "priority": rng.integers(-2, 3, n),
        "deadline_s": np.where(rng.random(n) < 0.5, np.nan, arrival_s + rng.uniform(1, 1e4, n)),
        "processors": 640,
        "name": "small",
        "notes": {"origin_s": 7.0},
    }
    return JobTrace(**{**values, **changes})


@st.composite
def job_traces(draw: st.DrawFn, max_size: int = 40) -> JobTrace:
    """Traces with ties, with and without estimates and GPUs, of any size from 1."""
    n = draw(st.integers(1, max_size))

    def many(values: st.SearchStrategy[Any]) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)))

    gpu_milli = many(st.sampled_from((0, 1, 999, 1000, 8000)))
    times = st.floats(0.001, 1e7) | st.just(float("inf"))
    return JobTrace(
        arrival_s=np.sort(many(st.integers(0, 200)).astype(np.float64)) / 4,
        run_s=many(times),
        estimate_s=many(st.floats(0.5, 1e6) | st.just(float("nan"))),
        tasks=many(st.integers(1, 600)),
        gpu_milli=gpu_milli,
        cpu_milli=np.where(gpu_milli == 0, 1000, many(st.integers(0, 5000))),
        memory_mib=many(st.integers(0, 10**6)),
    )
