"""The rules of single prefetchers, on examples worked out by hand or in their papers."""

from __future__ import annotations

import pytest
from stream_patterns import scan

from handrail.envs.prefetch.prefetchers.amp import Amp
from handrail.envs.prefetch.prefetchers.best_offset import OFFSETS, BestOffset
from handrail.envs.prefetch.prefetchers.leap import Leap, majority_trend
from handrail.envs.prefetch.prefetchers.markov import Markov
from handrail.envs.prefetch.prefetchers.mithril import Mithril
from handrail.envs.prefetch.prefetchers.next_line import NextLine
from handrail.envs.prefetch.prefetchers.obl import OneBlockLookahead
from handrail.envs.prefetch.prefetchers.oracle import Oracle
from handrail.envs.prefetch.prefetchers.readahead import Readahead
from handrail.envs.prefetch.prefetchers.spp import SignaturePath
from handrail.envs.prefetch.prefetchers.stride import Stride


def said(prefetcher, keys, hit=False):
    """Suggestions at each of the accesses."""
    return [list(prefetcher.access(key, hit)) for key in keys]


def test_next_line():
    assert said(NextLine(3), [7, 100]) == [[8, 9, 10], [101, 102, 103]]


def test_obl_waits_for_its_run():
    assert said(OneBlockLookahead(2), [1, 2, 3, 4, 5, 6, 9, 10]) == [[], [], [], [], [6, 7], [7, 8], [], []]
    assert said(OneBlockLookahead(1, run=1), [1, 2, 2, 3]) == [[], [3], [], [4]]


class TestStride:
    def test_two_equal_steps_make_a_stream(self):
        assert said(Stride(2), [0, 10, 20, 30]) == [[], [], [30, 40], [40, 50]]

    def test_one_step_out_of_line_does_not_end_it(self):
        # Chen and Baer's states: steady, initial with the step kept, steady again.
        assert said(Stride(1), [0, 10, 20, 30, 33, 43, 53])[3:] == [[40], [], [53], [63]]

    def test_two_wrong_steps_in_a_row_ask_for_two_right_ones(self):
        # Initial, transient, no prediction, transient, steady.
        assert said(Stride(1), [0, 10, 40, 90, 100, 110, 120])[3:] == [[], [], [], [130]]

    def test_repeats_change_nothing(self):
        assert said(Stride(1), [0, 10, 10, 10, 20, 20, 30]) == [[], [], [], [], [30], [], [40]]

    def test_streams_cross_from_region_to_region(self):
        assert said(Stride(1, region_bits=4), [0, 10, 20, 30, 40])[2:] == [[30], [40], [50]]

    def test_steps_down_stop_at_zero(self):
        assert said(Stride(3), [40, 30, 20, 10, 0])[2:] == [[10, 0], [0], []]


class TestReadahead:
    def test_windows_grow_to_the_degree(self):
        windows = [window for window in said(Readahead(32), scan(180, start=0)) if window]
        fresh, end = [], 3
        for window in windows:
            if window[-1] >= end:
                fresh.append(window[-1] + 1 - end)
                end = window[-1] + 1
        assert fresh == [4, 8, 16, *[32] * 7][: len(fresh)]
        assert len(fresh) > 6

    def test_small_degrees_start_with_two(self):
        assert said(Readahead(8), [0, 1, 2, 3, 4]) == [[], [], [3, 4], [5, 6, 7, 8], [5, 6, 7, 8]]

    def test_the_window_moves_in_the_steps_of_the_stream(self):
        assert said(Readahead(4), [0, 136, 272, 408]) == [[], [], [408, 544], [680, 816, 952, 1088]]


class TestBestOffset:
    def test_the_offsets_of_the_paper(self):
        assert len(OFFSETS) == 52
        assert OFFSETS[:9] == (1, 2, 3, 4, 5, 6, 8, 9, 10)
        assert OFFSETS[-1] == 256

    @pytest.mark.parametrize("delay", [2, 5, 16])
    def test_it_takes_an_offset_that_comes_in_time(self, delay):
        prefetcher = BestOffset(1)
        under_way: list[tuple[int, int, bool]] = []
        for now, key in enumerate(range(20_000)):
            while under_way and under_way[0][0] <= now:
                _, filled, prefetched = under_way.pop(0)
                prefetcher.note_filled(filled, prefetched)
            for one in prefetcher.access(key, False):
                under_way.append((now + delay, one, True))
            if prefetcher.offset == 0:
                under_way.append((now + delay, key, False))
        assert prefetcher.offset >= delay

    def test_nothing_useful_turns_it_off(self):
        prefetcher = BestOffset(1, rounds=2)
        for key in range(0, 1000 * 104, 1000):
            prefetcher.access(key, False)
        assert prefetcher.offset == 0
        assert prefetcher.access(5, False) == ()

    def test_a_fill_enters_as_what_set_it_off(self):
        # One offset, one access a phase: each access scores or turns prefetching off.
        prefetcher = BestOffset(1, rounds=1, bad_score=0, offsets=(3,))
        prefetcher.note_filled(10, prefetched=False)  # does not count while something is prefetched
        assert list(prefetcher.access(13, False)) == []
        prefetcher.note_filled(10, prefetched=False)
        assert list(prefetcher.access(13, False)) == [16]
        prefetcher.note_filled(16, prefetched=True)  # set off by 13
        assert list(prefetcher.access(16, False)) == [19]

    def test_only_misses_and_first_uses_count(self):
        prefetcher = BestOffset(2)
        assert list(prefetcher.access(10, False)) == [11, 12]
        assert list(prefetcher.access(11, True)) == []
        prefetcher.note_used(12, late=False)
        assert list(prefetcher.access(12, True)) == [13, 14]


FIGURE = [ord(letter) for letter in "ABCDCEACFFEAABCDEABCDC"]
"""A reference stream as in Joseph and Grunwald's figure of a Markov model."""


class TestMarkov:
    def test_latest_successors_first(self):
        # C was followed by D, E, F, D and D again.
        prefetcher = Markov(4)
        last = said(prefetcher, FIGURE)[-1]
        assert last[:3] == [ord("D"), ord("F"), ord("E")]
        assert said(Markov(1), FIGURE)[-1] == [ord("D")]

    def test_it_goes_on_along_a_chain(self):
        assert said(Markov(3), [1, 5, 9, 2, 7, 1])[-1] == [5, 9, 2]

    def test_a_chain_that_closes_ends_the_walk(self):
        assert said(Markov(4), [1, 5, 9, 1, 5])[-1] == [9, 1]

    def test_ids_leave_when_they_are_too_many(self):
        assert said(Markov(1, ids=3), [1, 2, 3, 1])[-1] == [2]
        assert said(Markov(1, ids=2), [1, 2, 3, 1])[-1] == []


class TestMithril:
    def test_the_author_s_defaults(self):
        prefetcher = Mithril(2)
        assert (prefetcher.min_support, prefetcher.max_support, prefetcher.lookahead) == (2, 8, 20)

    def test_ids_that_come_up_together_are_associated(self):
        prefetcher = Mithril(2, mined=2)
        said(prefetcher, [1, 2, *range(100, 300), 1, 2])
        assert said(prefetcher, [1, 2]) == [[2], []]

    def test_ids_far_apart_are_not(self):
        prefetcher = Mithril(2, mined=2, lookahead=20)
        said(prefetcher, [1, *range(100, 130), 2, *range(130, 300), 1, 2])
        assert said(prefetcher, [1, 2]) == [[], []]

    def test_both_supports_bound(self):
        wanting = Mithril(2, min_support=3, mined=2)
        said(wanting, [1, 2, *range(100, 120), 1, 2])
        assert said(wanting, [1, 2]) == [[], []]
        frequent = Mithril(2, max_support=2, mined=2)
        said(frequent, [1, 1, 1, 2, 9, 2])
        assert said(frequent, [1, 2]) == [[], []]

    def test_strong_ones_beside_the_nearest_weak_one(self):
        prefetcher = Mithril(3, mined=4)
        # 1 .. 2 three apart and then four: weak, the nearest; 3 weak and further; 4 next to 1 once: strong.
        said(prefetcher, [1, 50, 51, 2, 3, 52, 53, 4, *range(100, 200), 4, 1, 54, 55, 56, 2, 3])
        assert sorted(said(prefetcher, [1])[0]) == [2, 4]


PAGES = (0x48, 0x45, 0x42, 0x3F, 0x3C, 0x02, 0x04, 0x06, 0x08, 0x0A, 0x0C, 0x10, 0x39, 0x12, 0x14, 0x16)
"""Figure 5 of Leap's paper: down by 3, then up by 2, with accesses out of line."""


class TestLeap:
    @pytest.mark.parametrize(("at", "trend"), [(3, -3), (7, 0), (8, 2), (15, 2)])
    def test_the_worked_example(self, at, trend):
        differences = [b - a for a, b in zip([0, *PAGES], PAGES, strict=False)]
        assert majority_trend(differences[max(at - 7, 0) : at + 1], history=8, split=2) == trend

    def test_a_first_window_of_a_quarter_turns_sooner(self):
        differences = [1] * 24 + [5] * 8
        assert majority_trend(differences, Leap(8).history, Leap(8).split) == 5
        assert majority_trend(differences, history=32, split=2) == 1
        assert majority_trend(differences[:-4], history=32, split=4) == 1

    def test_a_majority_is_more_than_half(self):
        assert majority_trend([1, 1, 2, 2], history=4, split=1) == 0
        assert majority_trend([1, 2, 2, 2], history=4, split=1) == 2

    def test_the_window_doubles_with_use_and_shrinks_without(self):
        prefetcher = Leap(8, history=8, split=2)
        sizes = [len(one) for key, one in zip(scan(60), said(prefetcher, scan(60)), strict=True) if key + 1 in one]
        assert sizes[:5] == [1, 2, 1, 4, 3]
        assert max(sizes) == 8
        assert [len(one) for one in said(prefetcher, [10**6, 5 * 10**6, 2 * 10**6, 9 * 10**6, 3 * 10**6])][-1] == 0


class TestSignaturePath:
    def test_a_pattern_of_steps_is_followed(self):
        keys = [sum([1, 2, 5][place % 3] for place in range(n)) for n in range(60)]
        assert said(SignaturePath(3), keys)[-1][:2] == [keys[-1] + step for step in (5, 6)]

    def test_a_new_difference_counts_from_zero(self):
        # The signature of four steps of 1 stands behind the fifth access, is learned from at the next one for the first
        # time, and the step of 1 behind it counts at the second time.
        assert said(SignaturePath(1), range(10)) == [[], [], [], [], [], [], [7], [8], [9], [10]]

    def test_the_path_waits_for_suggestions_to_be_used(self):
        said_first = next(one for one in said(SignaturePath(4), range(10)) if one)
        assert len(said_first) == 1
        assert said(SignaturePath(4), range(200))[-1] == [200, 201, 202, 203]

    def test_an_unlikely_path_is_not(self):
        # Behind a step of 1 come 1, 3, 5, 7, 9 or 11 in turn: none is likelier than a quarter.
        steps = [1, 1, 1, 1, 3, 1, 1, 1, 1, 5, 1, 1, 1, 1, 7, 1, 1, 1, 1, 9, 1, 1, 1, 1, 11] * 4
        keys = [sum(steps[:n]) for n in range(len(steps))]
        assert said(SignaturePath(4, threshold=0.5), keys)[-1] == []

    def test_a_region_that_a_path_enters_knows_it_at_once(self):
        keys = scan(40, 8, start=0)
        prefetcher = SignaturePath(4, region_bits=8)
        assert all(said(prefetcher, keys)[6:])
        alone = SignaturePath(4, region_bits=8, crossings=1)
        said(alone, keys[:20])
        assert said(alone, [10_000])[-1] == []


class TestAmp:
    def test_p_grows_with_every_set_that_is_used_up(self):
        sizes = [len(one) for one in said(Amp(16), scan(200, start=0), hit=True) if one]
        assert sizes[0] == 4
        assert max(sizes) == 16

    def test_every_unused_id_of_a_set_shrinks_p(self):
        prefetcher = Amp(16)
        assert said(prefetcher, [0, 1, 2])[-1] == [3, 4, 5, 6]
        prefetcher.note_evicted(5)
        prefetcher.note_evicted(6)
        prefetcher.note_evicted(6)
        prefetcher.note_evicted(7)
        assert said(prefetcher, [3, 4, 5, 6])[-1] == [7, 8]

    def test_p_stays_above_zero(self):
        prefetcher = Amp(16)
        said(prefetcher, [0, 1, 2])
        for key in range(3, 7):
            prefetcher.note_evicted(key)
        assert said(prefetcher, [3, 4, 5, 6])[-1] == [7]

    def test_an_unused_id_moves_the_trigger_by_one(self):
        prefetcher = Amp(16, initial=8)
        said(prefetcher, [0, 1, 2])  # fetches 3 to 10, trigger at 8
        prefetcher.note_evicted(5)
        said(prefetcher, range(3, 9), hit=True)  # fetches 11 to 17, trigger at 16
        ahead = said(prefetcher, range(9, 18), hit=True)
        assert next(key for key, one in zip(range(9, 18), ahead, strict=True) if one and one[-1] > 17) == 16

    def test_waiting_for_the_head_of_a_set_moves_the_trigger(self):
        def first_after_trigger(late: bool) -> int:
            prefetcher = Amp(16, initial=8)
            said(prefetcher, [0, 1, 2])  # fetches 3 to 10, trigger at 8
            if late:
                prefetcher.note_used(3, late=True)
            said(prefetcher, range(3, 9), hit=True)  # fetches 11 to 18
            ahead = said(prefetcher, range(9, 19), hit=True)
            return next(key for key, one in zip(range(9, 19), ahead, strict=True) if one and one[-1] > 19)

        assert first_after_trigger(late=True) == first_after_trigger(late=False) - 1

    def test_small_sets_are_fetched_on_misses_alone(self):
        assert said(Amp(2), [0, 1, 2, 3, 4, 5, 6]) == [[], [], [3, 4], [4], [5, 6], [6], [7, 8]]


def test_the_oracle_says_what_comes():
    keys = [1, 5, 5, 1, 9, 2, 2, 5]
    assert said(Oracle(2, keys), keys) == [[5, 9], [1, 9], [1, 9], [9, 2], [2, 5], [5], [5], []]
    assert said(Oracle(2, [1, 5, 5, 1, 9], reach=2), [1]) == [[5, 9]]
    assert said(Oracle(2, [1, 5, 5, 1, 9], reach=1), [1]) == [[5]]
