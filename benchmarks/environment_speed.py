"""Environment steps a second of processor time on one core, beside a bare CartPole-v1 loop, in one run.

python benchmarks/environment_speed.py [--steps 20000] [--runs 5] [--swf FILE] [--accesses FILE] [--only NAME]

``LLMRouting-v0`` has 4 replicas and round-robin actions. The cluster's environments take the first legal action;
``ClusterScheduling-v0`` runs on the bundled trace (servers with GPUs) and, with ``--swf``, on the processors of a
Standard Workload Format file, its time stretched to an offered load of 0.8. ``CachePrefetch-v0`` takes a step every 64
accesses of the bundled trace (or of ``--accesses``): always with one arm, with all arms in turn (most of the time then
goes into the fetches of those that suggest too much), and with an arm a tenant.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from handrail.traces import load_job_trace

ROUTING = "handrail.envs:handrail/LLMRouting-v0"
SCHEDULING = "handrail.envs:handrail/ClusterScheduling-v0"
PLACEMENT = "handrail.envs:handrail/ClusterPlacement-v0"
PREFETCH = "handrail.envs:handrail/CachePrefetch-v0"
PREFETCH_ARM = "stride:4"
OFFERED_LOAD = 0.8


def steps_per_s(env: gym.Env, steps: int, action: Callable[[int], Any]) -> float:
    """Steps a second, resets included."""
    env.reset(seed=0)
    start = time.process_time()
    for i in range(steps):
        _, _, terminated, truncated, _ = env.step(action(i))
        if terminated or truncated:
            env.reset()
    return steps / (time.process_time() - start)


def rounds(env: gym.Env) -> Callable[[int], int]:
    """Actions in turn."""
    n = int(env.action_space.n)  # type: ignore[attr-defined]
    return lambda i: i % n


def first_legal(env: gym.Env) -> Callable[[int], int]:
    """The first action that the mask allows."""
    masks = env.action_masks  # type: ignore[attr-defined]
    return lambda _: int(np.argmax(masks()))


def always(env: gym.Env, label: str) -> Callable[[int], Any]:
    """One arm of the prefetch menu, for each tenant where there is an arm a tenant."""
    arm = env.cache.menu.index(label)  # type: ignore[attr-defined]
    action = np.full(env.action_space.shape, arm)  # type: ignore[arg-type]
    return lambda _: action


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--swf", help="Standard Workload Format file for ClusterScheduling-v0")
    parser.add_argument("--accesses", default="bundled-cache", help="access trace for CachePrefetch-v0")
    parser.add_argument("--only", default="", help="subjects whose names start so, and CartPole-v1")
    options = parser.parse_args()
    # Half the default load: round robin on a mixed fleet would overload the slower half otherwise.
    routing = gym.make(ROUTING, rate_factor=30.0).unwrapped
    scheduling = gym.make(SCHEDULING).unwrapped
    placement = gym.make(PLACEMENT).unwrapped
    subjects: dict[str, tuple[gym.Env, Callable[[int], Any]]] = {
        "LLMRouting-v0": (routing, rounds(routing)),
        "ClusterScheduling-v0, servers": (scheduling, first_legal(scheduling)),
        "ClusterPlacement-v0": (placement, first_legal(placement)),
    }
    if options.swf:
        trace = load_job_trace(options.swf)
        offered = trace.area_s.sum() / trace.duration_s / (trace.processors or 1)
        swf = gym.make(SCHEDULING, trace=trace.scale_rate(min(OFFERED_LOAD / offered, 1.0))).unwrapped
        subjects["ClusterScheduling-v0, processors"] = (swf, first_legal(swf))
    prefetch = gym.make(PREFETCH, trace=options.accesses).unwrapped
    by_tenant = gym.make(PREFETCH, trace=options.accesses, per_tenant=True).unwrapped
    subjects[f"CachePrefetch-v0, {PREFETCH_ARM}"] = (prefetch, always(prefetch, PREFETCH_ARM))
    subjects["CachePrefetch-v0, none"] = (prefetch, always(prefetch, "none"))
    subjects["CachePrefetch-v0, arms in turn"] = (prefetch, rounds(prefetch))
    subjects[f"CachePrefetch-v0, tenants, {PREFETCH_ARM}"] = (by_tenant, always(by_tenant, PREFETCH_ARM))
    subjects = {name: subject for name, subject in subjects.items() if name.startswith(options.only)}
    cart_pole = gym.make("CartPole-v1").unwrapped
    subjects["CartPole-v1"] = (cart_pole, rounds(cart_pole))
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(options.runs):
        for name, (env, action) in subjects.items():
            found[name].append(steps_per_s(env, options.steps, action))
    bare = statistics.median(found["CartPole-v1"])
    for name, speeds in found.items():
        speed = statistics.median(speeds)
        span = f"{min(speeds):,.0f} to {max(speeds):,.0f}"
        print(f"{name:34s} {speed:8,.0f} steps/s ({span}); {speed / bare:.3f} of CartPole-v1")


if __name__ == "__main__":
    main()
