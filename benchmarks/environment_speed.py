"""Environment steps a second on one core with 4 replicas, beside a bare CartPole-v1 loop, in one run.

python benchmarks/environment_speed.py [--steps 20000] [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import time

import gymnasium as gym

ID = "handrail.envs:handrail/LLMRouting-v0"


def steps_per_s(env: gym.Env, steps: int) -> float:
    """Steps a second under round-robin actions, resets included."""
    n = int(env.action_space.n)  # type: ignore[attr-defined]
    env.reset(seed=0)
    start = time.perf_counter()
    for i in range(steps):
        _, _, terminated, truncated, _ = env.step(i % n)
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    # Half the default load: round robin on a mixed fleet would overload the slower half otherwise.
    routing = gym.make(ID, rate_factor=30.0).unwrapped
    cart_pole = gym.make("CartPole-v1").unwrapped
    ours, bare = [], []
    for _ in range(options.runs):
        ours.append(steps_per_s(routing, options.steps))
        bare.append(steps_per_s(cart_pole, options.steps))
    a, b = statistics.median(ours), statistics.median(bare)
    span = f"{min(ours):,.0f} to {max(ours):,.0f}"
    print(f"LLMRouting-v0 {a:,.0f} steps/s ({span}); CartPole-v1 {b:,.0f}; ratio {a / b:.3f}")


if __name__ == "__main__":
    main()
