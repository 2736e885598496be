"""How much there is to learn in each decision problem, trace by trace: ``handrail headroom`` on all of them.

    python benchmarks/headroom_study.py [--data ../shared] [--work runs/headroom] [--out docs/results/headroom.md]

Test parts; 6,000 requests, 2,000 to 3,000 jobs or 20,000 accesses each. The answer of each trace is kept in ``--work``
and not made again: a study that was broken off goes on where it stopped. About half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SEARCH = ("--iterations", "4", "--population", "12", "--json", "-q")
RUNS: dict[str, tuple[str, ...]] = {
    "llm-azure-conv": ("--trace", "llm/azure_2023_conv_first35min.csv", "--items", "6000"),
    "llm-azure-code": ("--trace", "llm/azure_2023_code_first35min.csv", "--items", "6000"),
    "llm-mooncake": ("--trace", "llm/mooncake_conversation_first35min.jsonl", "--items", "6000"),
    "llm-bundled": ("--items", "6000"),
    "cluster-philly": (
        *("--domain", "cluster", "--trace", "cluster/philly_until_2017-11-20.csv.gz", "--items", "3000"),
    ),
    "cluster-lublin": ("--domain", "cluster", "--trace", "cluster/lublin_1_256procs.swf", "--items", "2000"),
    "cluster-nasa": (
        *("--domain", "cluster", "--trace", "cluster/NASA-iPSC-1993-3.1-cln.swf.zip", "--load", "0.8"),
        *("--items", "3000"),
    ),
    "cluster-bundled": ("--domain", "cluster", "--items", "3000"),
    "prefetch-cloudphysics": (
        *("--domain", "prefetch", "--trace", "cache/cloudPhysicsIO.oracleGeneral.bin", "--paced", "8"),
        *("--items", "20000"),
    ),
    "prefetch-mqsim": (
        *("--domain", "prefetch", "--trace", "cache/mqsim_tpcc_small.trace", "--paced", "8", "--items", "20000"),
    ),
    "prefetch-cachelib": (
        *("--domain", "prefetch", "--trace", "cache/cachelib_block_1.csv", "--paced", "8", "--items", "20000"),
    ),
    "prefetch-bundled": ("--domain", "prefetch", "--items", "20000"),
}
ANSWERS = ("best_heuristic", "best_heuristic_per_window", "placebos_per_window", "searched_on_it", "lookahead")


def measure(name: str, data: Path, work: Path) -> dict[str, Any] | None:
    """One trace's answers; None where the trace is not there."""
    kept = work / f"{name}.json"
    arguments = list(RUNS[name])
    if "--trace" in arguments:
        at = arguments.index("--trace") + 1
        path = data / "traces" / arguments[at]
        if not path.is_file():
            print(f"{name} is left out: no {path}", file=sys.stderr)
            return None
        arguments[at] = str(path)
    if not kept.is_file():
        command = [str(Path(sys.executable).with_name("handrail")), "headroom", *arguments, *SEARCH]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr.strip()}")
        work.mkdir(parents=True, exist_ok=True)
        kept.write_text(done.stdout, encoding="utf-8")
        print(f"{name} done", file=sys.stderr)
    return json.loads(kept.read_text(encoding="utf-8"))


def row(name: str, metric: str, key: str, found: Mapping[str, Any]) -> str:
    """A line of the table: ratios to the fallback, the headroom, the learned policy's share."""
    base = found["fallback"]
    ratios = ["-" if found[a] is None else f"{found[a] / base:.2f}" for a in ANSWERS]
    learned = "-" if found["learned"] is None else f"{found['learned'] / base:.2f}"
    counts = found["worth_learning"] and found["learned_share"] is not None
    share = f"{found['learned_share']:.0%}" if counts else "-"
    verdict = f"{found['headroom']:.1%}" + ("" if found["worth_learning"] else ", **not worth learning**")
    best = f"{ratios[0]} ({found['best_heuristic_name']})"
    return "| " + " | ".join((f"`{name}`", f"{metric} {key}", best, *ratios[1:], verdict, learned, share)) + " |"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HANDRAIL_DATA") or "../shared"))
    parser.add_argument("--work", type=Path, default=Path("runs/headroom"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/headroom.md"))
    options = parser.parse_args()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(RUNS, pool.map(lambda n: measure(n, options.data, options.work), RUNS), strict=True))
    lines = [
        "# Headroom: how much there is to learn",
        "",
        "`python benchmarks/headroom_study.py`",
        "",
        "One stretch of each trace's test part: 6,000 requests at 0.8 of the fleet's capacity, 2,000 to 3,000 jobs,",
        "20,000 accesses. All columns but the headroom and the last are ratios to the fallback; [what they",
        "mean](../headroom.md). A headroom is what the best of heuristics, search and lookahead (*ahead*) is below",
        "the fallback; below 5 % a problem is declared not worth learning. *By chance* is what picking the best of as",
        "many placebos in each window gives. The *share* is the learned policy's own gain over the headroom; it has",
        "not seen the stretch, and all else has.",
        "",
        "| trace | metric | best heuristic | by window | by chance | searched | ahead | headroom | learned | share |",
        "|---|---|---|--:|--:|--:|--:|---|--:|--:|",
    ]
    lines += [row(n, f["metric"], key, f[key]) for n, f in found.items() if f is not None for key in ("mean", "p99")]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
