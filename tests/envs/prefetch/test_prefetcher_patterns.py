"""Every prefetcher covers the pattern it is made for, and those with a confidence keep quiet on random ids."""

from __future__ import annotations

import pytest
from stream_patterns import changing_steps, covered, cycle, interleaved, scan, uniform

from handrail.envs.prefetch.prefetchers import make_prefetcher
from handrail.envs.prefetch.prefetchers.stride import Stride
from handrail.traces import load_access_trace

ONE_STEP = scan()
STRIDED = scan(step=136)
MANY = interleaved()
CHAIN = cycle()
PATTERN = changing_steps()
RANDOM = uniform()


@pytest.mark.parametrize(
    ("name", "degree", "keys", "coverage", "accuracy"),
    [
        pytest.param("next-line", 1, ONE_STEP, 0.99, 0.99, id="next-line"),
        pytest.param("obl", 1, ONE_STEP, 0.99, 0.99, id="obl"),
        pytest.param("obl", 8, ONE_STEP, 0.99, 0.99, id="obl-8"),
        pytest.param("stride", 1, STRIDED, 0.99, 0.99, id="stride"),
        pytest.param("stride", 1, MANY, 0.99, 0.99, id="stride-interleaved"),
        pytest.param("stride", 4, scan(step=-7, start=40_000), 0.99, 0.99, id="stride-down"),
        pytest.param("readahead", 32, ONE_STEP, 0.99, 0.98, id="readahead"),
        pytest.param("readahead", 32, MANY, 0.98, 0.95, id="readahead-interleaved"),
        pytest.param("leap", 8, STRIDED, 0.87, 0.98, id="leap"),
        pytest.param("best-offset", 1, ONE_STEP, 0.98, 0.98, id="best-offset"),
        pytest.param("best-offset", 2, scan(step=2), 0.90, 0.45, id="best-offset-2"),
        pytest.param("markov", 1, CHAIN, 0.74, 0.99, id="markov"),
        pytest.param("markov", 4, CHAIN, 0.74, 0.99, id="markov-4"),
        pytest.param("mithril", 1, CHAIN, 0.45, 0.99, id="mithril"),
        pytest.param("spp", 1, PATTERN, 0.98, 0.98, id="spp-pattern"),
        pytest.param("spp", 4, PATTERN, 0.98, 0.95, id="spp-path"),
        pytest.param("spp", 1, MANY, 0.95, 0.98, id="spp-interleaved"),
        pytest.param("spp", 1, scan(step=-7, start=40_000), 0.99, 0.98, id="spp-down"),
        pytest.param("amp", 16, ONE_STEP, 0.99, 0.98, id="amp"),
        pytest.param("amp", 16, MANY, 0.98, 0.95, id="amp-interleaved"),
        pytest.param("oracle", 1, RANDOM, 0.99, 0.99, id="oracle"),
        pytest.param("oracle", 8, CHAIN, 0.99, 0.99, id="oracle-8"),
    ],
)
def test_it_covers_what_it_is_made_for(name, degree, keys, coverage, accuracy):
    found = covered(make_prefetcher(name, degree, keys), keys)
    assert found.coverage >= coverage
    assert found.accuracy >= accuracy


@pytest.mark.parametrize("name", ["obl", "stride", "readahead", "markov", "mithril", "leap", "spp", "amp"])
def test_random_ids_set_off_little(name):
    assert covered(make_prefetcher(name, 8), RANDOM).issued < 0.01


def test_best_offset_turns_itself_off_on_random_ids():
    keys = uniform(30_000)
    prefetcher = make_prefetcher("best-offset", 1)
    covered(prefetcher, keys[:20_000])
    assert covered(prefetcher, keys[20_000:]).issued == 0


def test_scattered_accesses_in_a_region_do_not_unsettle_a_stream():
    stream, noise = scan(1000, 128, start=0), [key % 128_000 | 1 for key in uniform(1000)]
    keys = [key for pair in zip(stream, noise, strict=True) for key in pair]
    alone = covered(Stride(1), stream[:3] + [key for pair in zip(stream[3:], noise, strict=False) for key in pair])
    assert alone.coverage > 0.49
    assert alone.accuracy > 0.99
    assert covered(Stride(1), keys).accuracy > 0.9


def test_tables_are_bounded():
    prefetcher = Stride(1, regions=8, streams=4)
    starts = [place * 10**6 for place in range(6)]
    for key in [start + 10 * turn for start in starts for turn in range(5)]:
        prefetcher.access(key, False)
    # The four streams used last are known, the two before them have left.
    assert [list(prefetcher.access(start + 50, False)) for start in starts[2:]] == [[s + 60] for s in starts[2:]]


def test_streams_of_cloudphysics_are_found(shared_data):
    path = shared_data / "traces/cache/cloudPhysicsIO.oracleGeneral.bin"
    if not path.exists():
        pytest.skip(f"needs {path.name}, which is not in {path.parent}")
    keys = load_access_trace(path).key[:30_000].tolist()
    by_arm = {
        (name, degree): covered(make_prefetcher(name, degree), keys)
        for name, degree in [("stride", 1), ("stride", 4), ("readahead", 8), ("next-line", 8), ("amp", 16)]
    }
    assert by_arm["stride", 1].coverage > 0.54
    assert by_arm["stride", 1].accuracy > 0.95
    assert by_arm["stride", 4].coverage > 0.55
    assert by_arm["readahead", 8].coverage > 0.55
    assert by_arm["amp", 16].coverage > 0.55
    assert by_arm["next-line", 8].coverage < 0.1
