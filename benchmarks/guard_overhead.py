"""What the default guard costs a decision in all three domains, and what that delay does in simulated time.

    python benchmarks/guard_overhead.py [--domain llm] [--items 5000] [--json]

Each domain's bundled policy is replayed behind its default guard over the first items of the bundled trace. Printed, in
microseconds of the thread's processor time (which other processes do not lengthen), less what the clock itself takes:

* ``guard``: ``notify`` and ``predict`` of the guarded policy, less what policy and fallback take inside (mean, p50,
  p99 over decisions);
* each check alone (mean, p99, over the decisions at which it ran), beside its nominal cost, by which checks are
  ordered and, with ``charge: nominal``, charged to the simulated time of a decision;
* the parts that every guard has: context, supervisor, recorder.

Then the headline latency of the same replay with the nominal costs charged, and of a placebo: nothing charged, the
fallback with other tie-breaks. A difference no larger than the placebo's says nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from handrail.envs.common import Layout
from handrail.envs.llm_serving.layout import layout_for
from handrail.experiments.cli import options
from handrail.experiments.domains import Domain
from handrail.experiments.replay import replay
from handrail.experiments.scenario import Prepared, prepare
from handrail.policies.guards import (
    CheckContext,
    DecisionRecorder,
    GuardConfig,
    GuardedPolicy,
    JudgedOutcome,
    State,
    Verdict,
    build_guard,
)

CLOCK = time.thread_time_ns


class Stopwatch:
    """Calls a function and keeps how long each call took."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call
        self.took_ns: list[int] = []

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        start = CLOCK()
        answer = self.call(*arguments, **more)
        self.took_ns.append(CLOCK() - start)
        return answer

    def us(self) -> dict[str, float]:
        """Mean and quantiles of a call, in microseconds."""
        took = np.maximum(np.array(self.took_ns) - IDLE_NS, 0) / 1e3
        if not len(took):
            return {"calls": 0}
        p50, p99 = np.quantile(took, (0.5, 0.99))
        return {"mean": float(took.mean()), "p50": float(p50), "p99": float(p99), "calls": len(took)}


def _idle_ns() -> tuple[int, int]:
    """What a stopwatch reads of a call that does nothing, and what of itself it does not read."""
    watch, outer = Stopwatch(lambda: None), []
    for _ in range(20_000):
        start = CLOCK()
        watch()
        outer.append(CLOCK() - start)
    read = int(np.median(watch.took_ns))
    return read, int(np.median(outer)) - 2 * read


IDLE_NS, UNREAD_NS = _idle_ns()


class Timed:
    """A guarded policy whose calls are timed, less what its two policies take inside."""

    def __init__(self, guarded: GuardedPolicy, each_check: bool) -> None:
        self.guarded = guarded
        self.own_ns: list[int] = []
        self.inside = [Stopwatch(guarded.policy.predict), Stopwatch(guarded.fallback.predict)]
        guarded.policy.predict, guarded.fallback.predict = self.inside  # type: ignore[method-assign]
        self.checks: dict[str, Stopwatch] = {}
        for check in guarded.guard.checks if each_check else ():
            self.checks[check.name] = Stopwatch(check.judge)
            check.judge = self.checks[check.name]  # type: ignore[method-assign]
        self.bind = guarded.bind
        self._notify_ns = 0

    @property
    def latency_s(self) -> float:
        return self.guarded.latency_s

    @property
    def watch(self) -> Any:
        return self.guarded.watch

    def notify(self, feedback: Any) -> None:
        start = CLOCK()
        self.guarded.notify(feedback)
        self._notify_ns = CLOCK() - start

    def predict(self, observation: Any, state: Any = None) -> Any:
        calls = [len(watch.took_ns) for watch in self.inside]
        start = CLOCK()
        answer = self.guarded.predict(observation, state)
        took = CLOCK() - start
        inner = [ns for watch, n in zip(self.inside, calls, strict=True) for ns in watch.took_ns[n:]]
        inside = sum(inner) + UNREAD_NS * len(inner)
        self.own_ns.append(took + self._notify_ns - IDLE_NS - inside)
        return answer


def run(
    prepared: Prepared, trace: Any, guard: GuardConfig, *, each_check: bool = False, tie_seed: int | None = None
) -> tuple[Timed, np.ndarray]:
    """One replay: the timed policy, and the headline latency of each item."""
    domain, scenario, system = prepared.domain, prepared.scenario, prepared.system
    made: list[Timed] = []

    def build(layout: Layout) -> Timed:
        policy = domain.make_policy("bundled", system, scenario.seed)
        fallback = domain.make_heuristic(scenario.fallback, system, scenario.seed, tie_seed)
        last_rung = domain.make_last_rung(system)
        made.append(Timed(GuardedPolicy(policy, fallback, build_guard(guard, layout), layout, last_rung), each_check))
        return made[0]

    done = replay(system, trace, build, scenario.objective, seed=scenario.seed)
    return made[0], domain.headline(done.results)


def prepare_bundled(name: str) -> Prepared:
    """The domain's bundled trace, as ``handrail compare`` replays it."""
    groups = (options.LLMOptions(), options.ClusterOptions(), options.PrefetchOptions())
    domain, own = options.chosen(name, *groups)
    scenario = domain.scenario_type(load=domain.default_load, split="test")
    return prepare(own.read_trace(options.TrafficOptions()), scenario, lambda _: None)


def measure(domain: Domain, prepared: Prepared, items: int) -> dict[str, Any]:
    """Everything of one domain."""
    trace = prepared.trace.head(items)
    guard = domain.default_guard(prepared.system)
    timed, headline = run(prepared, trace, guard)
    by_check, _ = run(prepared, trace, guard, each_check=True)
    _, delayed = run(prepared, trace, guard.model_copy(update={"charge": "nominal"}))
    _, placebo = run(prepared, trace, guard, tie_seed=1)
    own = Stopwatch(timed.predict)
    own.took_ns = timed.own_ns
    recorder = timed.guarded.recorder
    figure = domain.report.figure
    return {
        "decisions": len(recorder),
        "availability": timed.guarded.availability,
        "guard_us": own.us(),
        "recorder_bytes": recorder.memory_bytes() / len(recorder),
        "checks": [
            {"check": check.name, "stage": check.stage, "nominal_us": check.cost_us, **by_check.checks[check.name].us()}
            for check in by_check.guarded.guard.checks
        ],
        "charged": {
            "quantity": figure.quantity,
            **{
                key: {
                    name: float(np.quantile(values, q))
                    for name, values in (("free", headline), ("charged", delayed), ("placebo", placebo))
                }
                for key, q in (("p50", 0.5), ("p99", 0.99))
            },
        },
    }


def time_call(call: Callable[[], object], repeats: int = 20_000) -> float:
    """Microseconds a call, the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        start = CLOCK()
        for _ in range(repeats // 5):
            call()
        best = min(best, (CLOCK() - start) / (repeats // 5))
    return best / 1e3


def time_parts() -> dict[str, float]:
    """Microseconds a decision of the parts that every guard has, on one context of four replicas."""
    layout = layout_for(4)
    row, mask = np.zeros(layout.size, dtype=np.float32), np.ones(4, dtype=bool)
    guard = build_guard(GuardConfig(), layout)
    accept, veto = Verdict("accept", "a", "ok"), Verdict("veto", "b", "bad", (("proposed", 1.0), ("limit", 0.5)))
    said, objected = [accept] * 5, [accept] * 4 + [veto]
    recorders = DecisionRecorder(), DecisionRecorder()
    return {
        "context": time_call(
            lambda: CheckContext(row, layout, 0.0, 0, mask, 0, [JudgedOutcome(0, False, 0.1, True)], 0)
        ),
        "supervisor": time_call(
            lambda: (guard.supervisor.advance(0.0, 0), guard.supervisor.note_verdict(0.0, 0, accept, False))
        ),
        "recorder, five accepts": time_call(
            lambda: recorders[0].append(0.0, 1, 0, 1, True, 1, State.CLOSED, accept, list(said))
        ),
        "recorder, four accepts and a veto": time_call(
            lambda: recorders[1].append(0.0, 1, 0, 0, True, 0, State.CLOSED, veto, list(objected))
        ),
    }


def show(name: str, report: dict[str, Any]) -> None:
    """Print one domain's part."""
    us = report["guard_us"]
    print(f"{name}: {report['decisions']} decisions, availability {report['availability']:.3f}")
    print(f"  {'guard':28s} mean {us['mean']:7.2f}  p50 {us['p50']:7.2f}  p99 {us['p99']:7.2f} us")
    for one in report["checks"]:
        if one["calls"]:
            print(
                f"  {one['check']:28s} mean {one['mean']:7.2f}  p50 {one['p50']:7.2f}  p99 {one['p99']:7.2f} us"
                f"  nominal {one['nominal_us']:g}, {one['stage']}, ran {one['calls']} times"
            )
    print(f"  recorder: {report['recorder_bytes']:.1f} bytes a decision in memory")
    charged = report["charged"]
    for key in ("p50", "p99"):
        free, dear, placebo = (charged[key][name] for name in ("free", "charged", "placebo"))
        print(f"  {charged['quantity']} {key}: {free:.6g}; nominal costs charged {dear:.6g}; placebo {placebo:.6g}")


def main() -> None:
    """Measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domain", choices=("llm", "cluster", "prefetch"), help="one domain alone")
    parser.add_argument("--items", type=int, default=5_000, help="items of the trace that are replayed")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    names = (args.domain,) if args.domain else ("llm", "cluster", "prefetch")
    report: dict[str, Any] = {}
    for name in names:
        prepared = prepare_bundled(name)
        report[name] = measure(prepared.domain, prepared, args.items)
        if not args.json:
            show(name, report[name])
    parts = time_parts()
    if args.json:
        print(json.dumps({"domains": report, "parts_us": parts}))
        return
    for part, us in parts.items():
        print(f"{part:38s} {us:7.2f} us")


if __name__ == "__main__":
    main()
