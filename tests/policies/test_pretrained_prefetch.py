"""The prefetch policies that come with handrail: they load, say what made them, and do better than no prefetching."""

from __future__ import annotations

import pytest

from handrail.envs.prefetch import PrefetchObserver, PrefetchSimulator, default_cache, layout_for
from handrail.policies import load_policy
from handrail.policies.factory import bundled_folder
from handrail.traces import HandrailError, load_access_trace

FOLDERS = {"prefetch": "ppo", "prefetch_bandit": "bandit"}


def mean_access_s(trace, config, folder) -> float:
    simulator = PrefetchSimulator(config, trace, decide="policy")
    observe = PrefetchObserver(simulator)
    policy = None if folder is None else load_policy(folder, observe.layout, domain="prefetch")
    point = simulator.advance()
    while point is not None:
        action = config.menu.index("none") if policy is None else policy.predict(observe(point))[0]
        assert 0 <= action < len(config.menu)
        simulator.apply(action)
        point = simulator.advance()
    return float(simulator.results().access_s.mean())


@pytest.mark.parametrize("name", FOLDERS)
def test_it_shortens_accesses_of_a_trace_that_it_was_not_trained_on(name):
    trace = load_access_trace("bundled-cache").head(12_000)
    config = default_cache(trace, demand="paced", window=2, per_tenant=True)
    folder = bundled_folder("prefetch").parent / name
    assert mean_access_s(trace, config, folder) < 0.95 * mean_access_s(trace, config, None)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("arms", [2, 14, 40])
def test_it_loads_for_any_menu_and_its_card_says_what_made_it(name, arms):
    card = load_policy(bundled_folder("prefetch").parent / name, layout_for(arms), domain="prefetch").card
    assert card.domain == "prefetch"
    assert card.training.algorithm == FOLDERS[name]
    assert card.training.command


def test_it_is_no_router():
    with pytest.raises(HandrailError, match="prefetch"):
        load_policy(bundled_folder("prefetch"), layout_for(14), domain="llm")
