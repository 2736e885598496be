"""What learning costs the system that it explores on, and what it gives: with and without a guard, and other remedies.

    python benchmarks/guarded_training.py [--steps 16384] [--seeds 2] [--out docs/results/guarded_training.md]

The bundled LLM trace at load 0.8 of ``h100:2,a100:2``; every method has the same steps on the same windows of the train
part, 4 environments side by side. Counted is how many service-level objectives are missed *while training*, per 1,000
requests that ended; below the methods stands the fallback on the same windows. Then the last network (not the best of
several, which would hide what became of a training) replays the validation part, alone and behind the guard: p99 of
TTFT and E2E over the fallback's there. The test part is not looked at.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from handrail.envs.llm_serving.environment import LLMRoutingEnv
from handrail.experiments.domains.llm import LLMScenario
from handrail.experiments.domains.llm_training import ENVIRONMENTS, EPISODE_REQUESTS
from handrail.experiments.finalists import TrainingOptions
from handrail.experiments.guarded_training import Readied, check_options, ready
from handrail.experiments.judged_env import JudgedEnv
from handrail.experiments.scenario import Prepared, prepare
from handrail.experiments.tail_search import TrafficWindow, replay_network, window_of
from handrail.policies.learning.tally import TrainingTally
from handrail.policies.parallel import run_jobs
from handrail.traces import load_trace

METHODS: dict[str, dict[str, Any]] = {
    "PPO": {"algorithm": "ppo"},
    "PPO, guarded, learns from proposed": {"algorithm": "ppo", "guarded": True, "learn_from": "proposed"},
    "PPO, guarded, learns from executed": {"algorithm": "ppo", "guarded": True, "learn_from": "executed"},
    "PPO, Lagrangian": {"algorithm": "ppo-lagrangian"},
    "clone and residual": {"algorithm": "bc-residual"},
    "clone and residual, guarded": {"algorithm": "bc-residual", "guarded": True},
}
FALLBACK = "fallback"
QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class Job:
    """One training, or the fallback in its place."""

    method: str
    seed: int
    steps: int


@dataclass(frozen=True, slots=True)
class Found:
    """What one job gave: counts while training, then (p99 TTFT, p99 E2E) over the fallback's, alone and guarded."""

    during: dict[str, float]
    alone: tuple[float, float] | None
    guarded: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs jobs; picklable."""

    window: Any
    train: Prepared
    validation: TrafficWindow
    base: Readied

    def __call__(self, job: Job) -> Found:
        fallback = self.train.scenario.fallback
        if job.method == FALLBACK:
            return Found(self._fallback(job), None, None)
        given = TrainingOptions(steps=job.steps, seed=job.seed, **METHODS[job.method])
        check_options(given)
        limit = self.base.options.violation_limit if given.algorithm == "ppo-lagrangian" else None
        guard = self.base.options.guard
        options = replace(given, guard=guard if given.guarded else None, violation_limit=limit)
        tally = TrainingTally()
        with TemporaryDirectory() as work:
            finalists = self.train.domain.finalists(
                options,
                self.window,
                self.train,
                Path(work),
                fingerprint="",
                seed=job.seed,
                say=lambda _: None,
                on_progress=lambda _done, _total: None,
                tally=tally,
            )
        network = finalists[-1].network
        behind = self.validation.behind_guard(guard, fallback)
        return Found(tally.to_json(), self._ratios(self.validation, network), self._ratios(behind, network))

    def _ratios(self, window: TrafficWindow, network: Any) -> tuple[float, float]:
        run = replay_network(window, network)
        tails = self.train.domain.tails(run.results, (QUANTILE,))[:, 0] / window.fallback_tails[:, 1]
        return float(tails[0]), float(tails[1])

    def _fallback(self, job: Job) -> dict[str, float]:
        """Objectives that the fallback misses in the windows that the trainings begin with."""
        train, tally = self.train, TrainingTally()
        scenario = train.scenario
        environments = ENVIRONMENTS["ppo"]
        for number in range(environments):
            inner = LLMRoutingEnv(train.trace, train.system, split="all", episode_requests=EPISODE_REQUESTS)
            env = JudgedEnv(inner, scenario.objective)
            heuristic = train.domain.make_heuristic(scenario.fallback, train.system)
            observation, _ = env.reset(seed=job.seed + number)  # as Stable-Baselines3 seeds its environments
            for _ in range(job.steps // environments):
                action, _ = heuristic.predict(observation)
                observation, _, ended, _, info = env.step(action)
                tally.note([info])
                if ended:
                    observation, _ = env.reset()
        return dict(tally.to_json())


def page(found: dict[Job, Found], jobs: Sequence[Job], limit: float, requests: int, command: str) -> str:
    """The results as Markdown."""
    steps, seeds = jobs[0].steps, len({job.seed for job in jobs})
    setting = (
        f"Bundled LLM trace, load 0.8 of `h100:2,a100:2`, fallback expected drain, {steps:,} steps in 4 environments, "
        f"{seeds} seeds (the mean, then each in brackets where they differ in the digits shown). "
        "*Missed while training*: service-level objectives (TTFT 1 s, TPOT 0.1 s) per 1,000 requests that ended. "
        "*Weighed*: decisions at which the guard asked for the agent's action; *replaced*: of these, at which it "
        f"executed another (both as shares of all decisions). Validation ({requests:,} requests): p99 TTFT / E2E of "
        "the last network over the fallback's. "
        f"The Lagrangian limit is the fallback's own share on the train part, {limit:.2%}."
    )
    lines = [
        "# Learning behind a guard, and other remedies",
        "",
        f"`{command}`",
        "",
        setting,
        "",
        "| method | missed while training | weighed | replaced | validation, alone | validation, guarded |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for method in (*METHODS, FALLBACK):
        runs = [found[job] for job in jobs if job.method == method]
        missed = spread([run.during["violations_per_1000"] for run in runs], "{:.1f}")
        guarded = METHODS.get(method, {}).get("guarded", False)
        weighed = spread([100 * run.during["asked"] / run.during["decisions"] for run in runs], "{:.0f} %")
        replaced = spread([100 * run.during["interventions"] / run.during["decisions"] for run in runs], "{:.0f} %")
        tails = [
            "-"
            if any(each is None for each in pairs)
            else " / ".join(spread([pair[k] for pair in pairs], "{:.2f}") for k in (0, 1))  # type: ignore[index]
            for pairs in ([run.alone for run in runs], [run.guarded for run in runs])
        ]
        cells = [method, missed, weighed if guarded else "-", replaced if guarded else "-", *tails]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(values: list[float], form: str) -> str:
    """The mean, then every value in brackets unless they look the same."""
    shown = [form.format(value) for value in values]
    mean = form.format(float(np.mean(values)))
    return mean if len(set(shown)) == 1 else f"{mean} [{', '.join(shown)}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=16_384)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/guarded_training.md"))
    options = parser.parse_args()
    began = time.perf_counter()
    trace = load_trace("bundled")
    scenario = LLMScenario(load=0.8)
    train = prepare(trace, scenario.model_copy(update={"split": "train"}))
    validation = prepare(trace, scenario.model_copy(update={"split": "validation"}))
    asked = TrainingOptions(algorithm="ppo-lagrangian", guarded=True)
    base = ready(asked, trace, train, lambda _: None)
    assert base.options.violation_limit is not None
    runner = Runner(trace, train, window_of(validation, scenario.fallback), base)
    seeds = [100 * number for number in range(options.seeds)]  # environments take the numbers from each on
    jobs = [Job(method, seed, options.steps) for seed in seeds for method in (*METHODS, FALLBACK)]
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        print(f"{done} of {len(jobs)} after {time.perf_counter() - began:.0f} s", flush=True)

    found = dict(zip(jobs, run_jobs(runner, jobs, options.workers, one_more), strict=True))
    command = f"python benchmarks/guarded_training.py --steps {options.steps} --seeds {options.seeds}"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = page(found, jobs, base.options.violation_limit, len(validation.trace), command)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
