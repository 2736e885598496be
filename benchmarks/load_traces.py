"""How long 1.4 million BurstGPT-like rows take to read, and how much memory.

    python benchmarks/load_traces.py [--rows 1400000]

Draws rows with BurstGPT's columns (both sets, plain and gzip), reads each file in a process of its own and prints wall
and CPU seconds and peak resident memory as one JSON object. Target: under 5 s and 1 GB.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from handrail.traces import RequestTrace
from handrail.traces.llm.generator import generate
from handrail.traces.llm.generator_config import BurstGPTLikeConfig

TARGET_S = 5.0
TARGET_MB = 1_000.0
PART_1_RATE_PER_S = 0.271

READ = """
import json, resource, sys, time
from handrail.traces import load_trace
started, started_cpu = time.perf_counter(), time.process_time()
trace = load_trace(sys.argv[1])
seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"requests": len(trace), "read_s": round(seconds, 3), "cpu_s": round(cpu, 3),
                  "peak_rss_mb": round(peak_kb / 1024)}))
"""


def burstgpt_csv(trace: RequestTrace, with_sessions: bool) -> str:
    """The trace as BurstGPT publishes its own: whole-second stamps, a label for each session."""
    assert trace.session_id is not None
    assert trace.tenant is not None
    assert trace.model is not None
    lines = []
    rows = zip(
        trace.arrival_s.astype(int).tolist(),
        trace.session_id.tolist(),
        [trace.model_names[code] for code in trace.model.tolist()],
        trace.prompt_tokens.tolist(),
        trace.output_tokens.tolist(),
        [trace.tenant_names[code] for code in trace.tenant.tolist()],
        strict=True,
    )
    if with_sessions:
        lines.append("Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type")
        for stamp, session, model, prompt, output, kind in rows:
            label = "" if session < 0 else f"{session:08x}-0000-4000-8000-{session:012x}"
            lines.append(f"{stamp}.0,{label},{output // 30},{model},{prompt},{output},{prompt + output},{kind}")
    else:
        lines.append("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type")
        for stamp, _, model, prompt, output, kind in rows:
            lines.append(f"{stamp},{model},{prompt},{output},{prompt + output},{kind}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_400_000)
    rows = parser.parse_args().rows
    # Half as long again as the rows need on average: on/off traffic over a few weeks strays far from its mean rate.
    config = BurstGPTLikeConfig(
        duration_s=1.5 * rows / PART_1_RATE_PER_S, rate_per_s=PART_1_RATE_PER_S, api_share=0.896
    )
    trace = generate(config, seed=2).head(rows)
    result: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for sessions in (False, True):
            text = burstgpt_csv(trace, sessions).encode()
            for ending in (".csv", ".csv.gz"):
                name = f"{'sessions' if sessions else 'plain'}{ending}"
                path = Path(folder) / name
                path.write_bytes(gzip.compress(text, 6) if ending.endswith("gz") else text)
                done = subprocess.run(
                    [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True
                )
                result[name] = {
                    "rows": len(trace),
                    "file_mb": round(path.stat().st_size / 1e6, 1),
                    **json.loads(done.stdout),
                }
    met = all(r["read_s"] < TARGET_S and r["peak_rss_mb"] < TARGET_MB for r in result.values())
    print(json.dumps({"files": result, "target": {"read_s": TARGET_S, "peak_rss_mb": TARGET_MB, "met": met}}, indent=2))


if __name__ == "__main__":
    main()
