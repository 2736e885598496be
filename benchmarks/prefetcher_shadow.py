"""What each prefetcher would fetch and foresee in shadow: issue rate, coverage, accuracy on real and made-up streams.

    python benchmarks/prefetcher_shadow.py --data ../shared

Nothing is simulated. An id counts as held for 512 accesses after it was accessed or suggested. A suggestion of what is
not held is issued; an access to what is held through a suggestion that nothing has used yet is covered. Issue rate is
issued suggestions an access, coverage the share of accesses, accuracy the second over the first. Prefetchers that learn
from the cache hear of fills at once, and of an eviction where a suggestion was not used within 512 accesses.

The tables are Markdown. The last column is the CPU time of `access` on cloudPhysicsIO.
"""

from __future__ import annotations

import argparse
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np

from handrail.envs.prefetch.arms import Arm
from handrail.envs.prefetch.prefetchers import make_prefetcher
from handrail.traces import load_access_trace

HELD = 512
ARMS = (
    "next-line:1",
    "next-line:8",
    "obl:1",
    "obl:8",
    "stride:1",
    "stride:4",
    "stride:16",
    "readahead:8",
    "readahead:32",
    "best-offset:1",
    "best-offset:4",
    "markov:1",
    "markov:4",
    "mithril:2",
    "leap:8",
    "spp:1",
    "spp:4",
    "amp:4",
    "amp:16",
    "oracle:1",
)


def shadow(arm: Arm, keys: list[int]) -> tuple[float, float, float]:
    """Issue rate, coverage and accuracy."""
    prefetcher = make_prefetcher(arm.prefetcher, arm.degree, keys)
    since: dict[int, int] = {}
    unused: OrderedDict[int, int] = OrderedDict()
    issued = covered = 0
    for position, key in enumerate(keys):
        while unused and next(iter(unused.values())) < position - HELD:
            prefetcher.note_evicted(unused.popitem(last=False)[0])
        hit = position - since.get(key, -HELD - 1) <= HELD
        if unused.pop(key, None) is not None:
            covered += 1
            prefetcher.note_used(key, late=False)
        elif not hit:
            prefetcher.note_filled(key, prefetched=False)
        since[key] = position
        for other in prefetcher.access(key, hit):
            if position - since.get(other, -HELD - 1) > HELD:
                issued += 1
                since[other] = unused[other] = position
                prefetcher.note_filled(other, prefetched=True)
    return issued / len(keys), covered / len(keys), covered / max(issued, 1)


def access_us(arm: Arm, keys: list[int]) -> float:
    """CPU time of an access in microseconds."""
    access = make_prefetcher(arm.prefetcher, arm.degree, keys).access
    began = time.process_time()
    for key in keys:
        access(key, False)
    return (time.process_time() - began) / len(keys) * 1e6


def real_streams(data: Path) -> dict[str, list[int]]:
    """Ids of the shared traces, in order."""
    requests = np.loadtxt(data / "traces/cache/mqsim_tpcc_small.trace", usecols=2, dtype=np.int64)
    conversation = load_access_trace(data / "traces/llm/mooncake_conversation_first35min.jsonl", format="mooncake")
    return {
        "cloudPhysicsIO": load_access_trace(data / "traces/cache/cloudPhysicsIO.oracleGeneral.bin").key.tolist(),
        "MQSim TPC-C": (requests // 8).tolist(),
        "Mooncake, permuted": conversation.key.tolist(),
    }


def made_up_streams(n: int = 40_000, seed: int = 1) -> dict[str, list[int]]:
    """Simple patterns, one a stream."""
    rng = np.random.default_rng(seed)
    turns = rng.integers(0, 4, n)
    streams = np.empty(n, dtype=np.int64)
    for place, step in enumerate((128, 136, 128, 16)):
        rows = np.flatnonzero(turns == place)
        streams[rows] = (place + 1) * 10**8 + step * np.arange(len(rows))
    return {
        "scan": list(range(n)),
        "4 streams": streams.tolist(),
        "steps 1, 2, 5": np.cumsum(np.resize((1, 2, 5), n)).tolist(),
        "chain of 2,000": np.resize(rng.permutation(10**6)[:2000], n).tolist(),
        "Zipf 1.2": (rng.zipf(1.2, n) % 100_000).tolist(),
        "uniform": rng.integers(0, 10**6, n).tolist(),
    }


def table(streams: dict[str, list[int]], timed: str | None) -> None:
    """Prints a row an arm: issue rate, coverage and accuracy in per cent."""
    print("| | " + " | ".join(streams) + (" | µs |" if timed else " |"))
    print("|---|" + "---|" * (len(streams) + (timed is not None)))
    for label in ARMS:
        arm = Arm.parse(label)
        cells = []
        for keys in streams.values():
            issued, coverage, accuracy = shadow(arm, keys)
            cells.append(f"{issued:.2f} · {coverage:.1%} · {accuracy:.0%}" if issued else "none")
        if timed:
            cells.append(f"{access_us(arm, streams[timed]):.1f}")
        print(f"| `{label}` | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with traces/")
    options = parser.parse_args()
    print("Cells: issued suggestions an access · coverage · accuracy.\n")
    table(real_streams(options.data), timed="cloudPhysicsIO")
    print()
    table(made_up_streams(), timed=None)


if __name__ == "__main__":
    main()
