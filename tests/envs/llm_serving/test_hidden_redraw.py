"""A redrawn fork holds nothing of the truth, and what is put in its place is taken up exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from implementations import request_trace
from llm_fleets import Run, draw_fleet, nth_up, picks
from naive_vllm import Request
from workloads import PREFIX_TOKENS, Pick, seeded

from handrail.envs.llm_serving import FleetConfig, LatencyModel, Outage, ReplicaConfig, ServingSimulator
from handrail.envs.llm_serving.arrivals import TraceArrivals
from handrail.traces import HandrailError, RequestTrace

LONGEST = 40


def other_truth(pick: Pick, run: Run, requests: list[Request]) -> list[Request]:
    """The same requests up to now with other lengths where none is known yet, and others from now on."""
    changed = list(requests)
    for request, least, _ in run.simulator.in_flight():
        # It may have been taken by any replica before, which says that it fits there.
        most = min(replica.longest_output(request) for replica in run.simulator.replicas)
        if not request.leaving and least <= most:
            tokens = min(least + pick(0, LONGEST), most)
            changed[request.row] = Request(request.arrival_s, request.prompt, tokens, requests[request.row].prefix_ids)
    arrived = run.simulator.arrived
    at_s = run.simulator.now_s
    for row in range(arrived, len(requests)):
        at_s += pick(0, 30) / 8
        changed[row] = Request(at_s, pick(1, LONGEST), pick(1, LONGEST))
    return changed


def without_faults_after(config: FleetConfig, now_s: float) -> FleetConfig:
    """Faults that have not begun are gone; slowdowns and cuts in force stay, outages end as they do."""
    kept = {"outages": tuple(o for o in config.outages if o.down_s <= now_s)}
    for name in ("slowdowns", "kv_cuts"):
        windows = [w for w in getattr(config, name) if w.start_s <= now_s]
        kept[name] = tuple(w if w.end_s <= now_s else w.model_copy(update={"end_s": 1e9}) for w in windows)
    return config.model_copy(update=kept)


class Twins:
    """Two runs alike up to a decision, with different truths behind it, each with a model that was told of all."""

    def __init__(self, pick: Pick) -> None:
        self.config, requests, self.latencies = draw_fleet(pick)
        self.decide = nth_up(0, self.latencies)
        self.trace = request_trace(requests, PREFIX_TOKENS)
        decisions = len(Run.start(ServingSimulator(self.config, self.trace)).go(self.decide).seen)
        self.until = pick(0, max(decisions - 1, 0))
        self.one = Run.start(ServingSimulator(self.config, self.trace)).go(self.decide, self.until)
        changed = other_truth(pick, self.one, requests)
        # Without prefix blocks at all a trace has another layout: the blocks of those who came stand for all.
        self.other_trace = request_trace(changed, PREFIX_TOKENS)
        self.usable = (self.other_trace.prefix_blocks is None) == (self.trace.prefix_blocks is None)
        self.other_config = without_faults_after(self.config, self.one.simulator.now_s)
        self.other = Run.start(ServingSimulator(self.other_config, self.other_trace)).go(self.decide, self.until)


def play(run: Run, decide, horizon_s: float) -> None:
    """On to a moment, with all that is seen on the way and what it has cost when the last request has ended."""
    simulator = run.simulator
    while run.point is not None:
        point = run.point
        run.seen.append((point.now_s, run.observer(point).tobytes(), point.outcomes, simulator.charged_s()))
        simulator.apply(*decide(point))
        run.point = simulator.advance_until(horizon_s)
    run.seen.append((simulator.finished_count, simulator.in_system, simulator.without_token))
    run.seen.append((round(simulator.charged_s(), 6),))


def check_lengths_are_taken_up(pick: Pick) -> bool:
    """Given the other truth, a fork does what the run with the other truth does, from here on."""
    twins = Twins(pick)
    if not twins.usable or twins.one.point is None:
        return False
    assert twins.one.seen == twins.other.seen
    fork = twins.one.fork()
    now_s = fork.simulator.now_s
    for request, _, _ in fork.simulator.in_flight():
        request.output = int(twins.other_trace.output_tokens[request.row])
    up_s = {}
    for outage in sorted(twins.config.outages, key=lambda o: o.down_s):
        if outage.down_s <= now_s < outage.up_s:
            up_s[outage.replica] = outage.up_s
    if any(o.down_s in up_s.values() for o in twins.config.outages):
        return False
    fork.simulator.forget(TraceArrivals(twins.other_trace), up_s, 1.0)
    horizon_s = now_s + 200.0
    for run in (fork, twins.other):
        play(run, twins.decide, horizon_s)
    assert fork.seen == twins.other.seen
    assert fork.simulator.now_s in (horizon_s, twins.other.simulator.now_s)
    return True


@settings(max_examples=100, deadline=None)
@given(pick=picks())
def test_other_lengths_are_taken_up_exactly(pick):
    check_lengths_are_taken_up(pick)


def test_other_lengths_are_taken_up_exactly_by_seeded_fleets():
    assert sum(check_lengths_are_taken_up(seeded(seed)) for seed in range(250)) > 150


def redrawn(run: Run, decide, until: int, rng_seed: int, factor: float = 1.0) -> Run:
    """``run`` from its start to a decision under a model, and a fork there redrawn."""
    model = run.simulator.hidden_model()
    while run.point is not None and run.point.number < until:
        model.note(run.point)
        run.go(decide, run.point.number + 1)
    assert run.point is not None
    model.note(run.point)
    fork = run.fork()
    model.redraw(fork.simulator, np.random.default_rng(rng_seed), factor)
    return fork


def check_nothing_leaks(pick: Pick) -> int:
    """Equal pasts and different truths: the redrawn futures are equal. Returns the decisions that were compared."""
    twins = Twins(pick)
    if not twins.usable or twins.one.point is None:
        return 0
    seed = pick(0, 100)
    futures = []
    for config, trace in ((twins.config, twins.trace), (twins.other_config, twins.other_trace)):
        fork = redrawn(Run.start(ServingSimulator(config, trace)), twins.decide, twins.until, seed)
        horizon_s = fork.simulator.now_s + 30.0
        again = fork.fork()
        for each in (fork, again):
            play(each, twins.decide, horizon_s)
        assert fork.seen == again.seen
        futures.append(fork.seen)
    assert futures[0] == futures[1]
    return len(futures[0]) - twins.until


@settings(max_examples=60, deadline=None)
@given(pick=picks())
def test_equal_pasts_give_equal_redrawn_futures(pick):
    check_nothing_leaks(pick)


def test_equal_pasts_give_equal_redrawn_futures_of_seeded_fleets():
    assert sum(check_nothing_leaks(seeded(seed)) for seed in range(150)) > 1_500


def steady(n: int = 300, output: int = 50, fleet: int = 2, **fields) -> Run:
    rng = np.random.default_rng(1)
    trace = RequestTrace(
        arrival_s=np.cumsum(rng.exponential(0.5, n)),
        prompt_tokens=rng.integers(10, 40, n),
        output_tokens=np.where(np.arange(n) % 2, output, output // 5),
        tenant=np.arange(n) % 2,
        tenant_names=("short", "long"),
    )
    replica = ReplicaConfig(latency=LatencyModel.constant(0.1), kv_capacity_tokens=16_000)
    return Run.start(ServingSimulator(FleetConfig(replicas=(replica,) * fleet, **fields), trace))


def test_lengths_are_those_of_the_class_and_longer_than_what_was_generated():
    run = steady()
    for row in (200, 201, 202, 203):
        fork = redrawn(steady(), nth_up(0, {}), row, row)
        for request, least, _ in fork.simulator.in_flight():
            assert request.output == (50 if request.label else 10)
            assert request.output >= least
    assert run.simulator.arrived == 1


def test_before_anything_has_ended_lengths_come_from_the_prior():
    lengths = []
    for seed in range(300):
        fork = redrawn(steady(output_prior_tokens=80.0), nth_up(0, {}), 0, seed)
        lengths += [request.output for request, _, _ in fork.simulator.in_flight()]
    assert len(lengths) == 300
    assert np.mean(lengths) == pytest.approx(80.0, rel=0.25)


def test_arrivals_keep_their_rate_and_never_end():
    fork = redrawn(steady(), nth_up(0, {}), 200, 5)
    simulator = fork.simulator
    start_s, arrived = simulator.now_s, simulator.arrived
    simulator.apply(0)
    while simulator.advance_until(start_s + 500.0) is not None:
        simulator.apply(simulator.arrived % 2)
    assert simulator.now_s == start_s + 500.0
    assert (simulator.arrived - arrived) / 500.0 == pytest.approx(2.0, rel=0.25)
    with pytest.raises(HandrailError, match="in no trace"):
        simulator.results()


def test_a_replica_that_is_down_stays_down_for_a_while_and_comes_up():
    outages = (Outage(replica=0, down_s=10.0, up_s=22.0), Outage(replica=0, down_s=50.0, up_s=1e6))
    for seed in range(5):
        fork = redrawn(steady(outages=outages), nth_up(0, {}), 110, seed)
        simulator = fork.simulator
        assert 50.0 < simulator.now_s < 62.0
        assert not simulator.up[0]
        simulator.apply(1)
        while (point := simulator.advance_until(70.0)) is not None:
            if point.action_mask[0]:
                break
            simulator.apply(1)
        assert point is not None
        assert 60.0 < point.now_s < 70.0


def test_the_latency_factor_stretches_the_steps_that_start_from_now_on():
    ends = {}
    for factor in (1.0, 3.0):
        fork = redrawn(steady(fleet=1), nth_up(0, {}), 0, 0, factor)
        fork.simulator.apply(0)
        start_s = fork.simulator.now_s
        fork.simulator.advance_until(start_s + 1_000.0)
        ends[factor] = fork.simulator.replicas[0].pace, start_s
        assert fork.simulator.finished_count == 1
    assert ends[1.0] == (1.0, ends[3.0][1])
    assert ends[3.0][0] == 3.0
    with pytest.raises(HandrailError, match="latency_factor"):
        redrawn(steady(), nth_up(0, {}), 0, 0, 0.0)
