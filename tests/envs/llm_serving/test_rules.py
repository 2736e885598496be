"""Each scheduling rule on a case small enough to be worked out by hand, for every implementation of a replica.

A step takes 1 s unless a case says otherwise, and a KV block holds 4 tokens, so that times and blocks can be counted
on paper; the comment above each case is that count.
"""

from __future__ import annotations

import pytest
from implementations import IMPLEMENTATIONS, Outcome
from naive_vllm import Engine, Request

from handrail.envs.llm_serving.latency import LatencyModel, PiecewiseLinear

ONE_SECOND = LatencyModel.constant(1.0)
TOKENS_COST = LatencyModel(base_s=1.0, tokens=PiecewiseLinear.linear(1.0))
SEQUENCES_COST = LatencyModel(base_s=1.0, sequences=PiecewiseLinear.linear(1.0))
SMALL = {"block_tokens": 4, "max_num_batched_tokens": 16, "max_num_seqs": 4}


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def run(request):
    implementation = IMPLEMENTATIONS[request.param]

    def runner(engine: Engine, requests: list[Request], latency: LatencyModel = ONE_SECOND) -> list[Outcome]:
        return implementation(engine, latency, requests)

    return runner


def engine(**settings) -> Engine:
    return Engine(**{**SMALL, **settings})


def first(outcomes: list[Outcome]) -> list[float | None]:
    return [outcome.first_token_s for outcome in outcomes]


def finish(outcomes: list[Outcome]) -> list[float | None]:
    return [outcome.finish_s for outcome in outcomes]


def preemptions(outcomes: list[Outcome]) -> list[int]:
    return [outcome.preemptions for outcome in outcomes]


def test_running_requests_take_the_budget_before_waiting_ones(run):
    # 4 tokens a step.  [0,1] A 4.  [1,2] A 2 (first token), B 2.  [2,3] A 1, B 3 (first token).  [3,4] A 1, B 1.
    # Were waiting served first, B would take all of [1,2] and A's first token would come at 3.
    out = run(engine(max_num_batched_tokens=4), [Request(0, 6, 3), Request(0, 5, 2)])
    assert first(out) == [2, 3]
    assert finish(out) == [4, 4]


def test_a_decoding_request_counts_against_the_budget(run):
    # 4 tokens a step.  [0,1] A 1, B 3.  [1,2] A 1, B 3.  [2,3] A 1 (last), B 3.  [3,4] B 1 (first token).
    # Were A's decode tokens free, B would have computed 4 in [1,2] and [2,3] and be done at 3.
    out = run(engine(max_num_batched_tokens=4), [Request(0, 1, 3), Request(0, 10, 1)])
    assert finish(out) == [3, 4]


def test_the_last_chunk_emits_the_first_token_and_the_rest_decode(run):
    # Chunks of 4, 4 and 2 tokens, then two decode steps for the two tokens that are left.
    out = run(engine(max_num_batched_tokens=4), [Request(0, 10, 3)])
    assert first(out) == [3]
    assert finish(out) == [5]
    assert out[0].longest_gap_s == 1


def test_one_output_token_needs_no_decode_step(run):
    out = run(engine(), [Request(0.5, 3, 1)])
    assert first(out) == [1.5]
    assert finish(out) == [1.5]
    assert out[0].longest_gap_s is None


def test_admission_stops_at_the_first_request_that_does_not_fit(run):
    # 4 blocks.  A holds 1, then 2 of them until 5; B needs all 4; C needs 1 and still waits behind B.
    # [5,6] B's prompt.  [6,7] B's second token.  [7,8] C.
    requests = [Request(0, 4, 5), Request(0.5, 13, 2), Request(0.6, 4, 1)]
    out = run(engine(total_blocks=4), requests)
    assert first(out) == [1, 6, 8]
    assert finish(out) == [5, 7, 8]


def test_admission_asks_for_the_whole_sequence_not_for_its_first_chunk(run):
    # 4 blocks, 4 tokens a step.  From 1 on A holds 2 blocks and B's next chunk of 3 tokens needs 1, but its prompt
    # of 12 needs 3, so it waits until A is done at 6, then takes three steps.
    out = run(engine(total_blocks=4, max_num_batched_tokens=4), [Request(0, 4, 6), Request(0, 12, 1)])
    assert finish(out) == [6, 9]
    assert preemptions(out) == [0, 0]


def test_max_num_seqs_bounds_the_running_list(run):
    # A and B run; C joins when B's seat is free at 2, D when C's is at 3.
    requests = [Request(0, 1, 5), Request(0, 1, 2), Request(0, 1, 1), Request(0, 1, 1)]
    out = run(engine(max_num_seqs=2), requests)
    assert finish(out) == [5, 2, 3, 4]


PREEMPTED = [Request(0, 4, 9), Request(0, 4, 7), Request(0.5, 1, 1)]
"""With 4 blocks and 2 sequences: A and B hold 2 blocks each from 1 on, and at 5 A needs a third. B, the last of the
running list, gives way with 5 tokens out, and C has waited for a seat all along."""


def test_the_last_running_request_is_preempted_to_the_head_and_recomputes(run):
    # A ends at 9. Meanwhile 1 block is free: B (9 known tokens: 3 blocks) does not fit, and C must not overtake it.
    # 8 tokens a step: [9,10] B recomputes 8.  [10,11] B recomputes 1 (token 6), C.  [11,12] B's token 7.
    out = run(engine(total_blocks=4, max_num_seqs=2, max_num_batched_tokens=8), PREEMPTED)
    assert preemptions(out) == [0, 1, 0]
    assert first(out) == [1, 1, 11]
    assert finish(out) == [9, 12, 11]
    assert out[1].longest_gap_s == 6


def test_a_preempted_request_finds_its_leading_blocks_again(run):
    # B gave back 2 full blocks; its tail goes first, to A, so that its head is still there at 9.
    # [9,10] B recomputes 5 of its 9 tokens (token 6), and C fits into the budget of 8.  [10,11] B's token 7.
    # Were the head reused first, B would have to recompute all 9 as in the test above.
    out = run(engine(total_blocks=4, max_num_seqs=2, max_num_batched_tokens=8, prefix_caching=True), PREEMPTED)
    assert preemptions(out) == [0, 1, 0]
    assert finish(out) == [9, 11, 10]
    assert out[1].longest_gap_s == 5


def test_recomputation_costs_as_a_prompt_does(run):
    # 1 s a step and 1 s a decoding sequence.  Prompts [0,1]; tokens 2 to 5 of both at 4, 7, 10 and 13; B gives way;
    # A alone takes 2 s a token and ends at 21.  [21,22] B recomputes, no decoder in the step.  [22,24] its token 7.
    out = run(engine(total_blocks=4), PREEMPTED[:2], SEQUENCES_COST)
    assert preemptions(out) == [0, 1]
    assert finish(out) == [21, 24]


def test_several_victims_return_in_their_old_order(run):
    # 6 blocks.  A, B, C hold 2 each from 1 on.  At 5 A needs a third: C gives way, A takes one of its blocks.
    # B takes the other.  At 9 A needs a fourth block: B gives way, in front of C.  A ends at 12.
    # [12,13] B (13 known tokens: 4 blocks) is admitted; C (9 known: 3 blocks) is not.  B has 10 tokens and ends at 13.
    # [13,14] C's sixth token, its last.
    requests = [Request(0, 4, 12), Request(0, 4, 10), Request(0, 4, 6)]
    out = run(engine(total_blocks=6, max_num_batched_tokens=16), requests)
    assert preemptions(out) == [0, 1, 1]
    assert finish(out) == [12, 13, 14]


def test_a_request_that_finds_no_block_may_be_its_own_victim(run):
    # 4 blocks.  B is last and at 5 needs a third block while A, with a prompt of 2, still has room in its second.
    # B gives way; A ends at 6.  [6,7] B recomputes 9 tokens (token 6).  [7,8] its token 7.
    out = run(engine(total_blocks=4), [Request(0, 2, 6), Request(0, 4, 7)])
    assert preemptions(out) == [0, 1]
    assert finish(out) == [6, 8]


def test_a_shared_prefix_is_computed_once_even_within_a_step(run):
    # A second costs a token.  A computes 10 tokens.  B's prompt is the same: its first 2 blocks are hits, since at
    # least one token is computed anew and blocks are hit whole, so it computes 2.  1 + 10 + 2 seconds.
    requests = [Request(0, 10, 1, (7,)), Request(0, 10, 1, (7,))]
    assert finish(run(engine(prefix_caching=True, max_num_batched_tokens=64), requests, TOKENS_COST)) == [13, 13]
    assert finish(run(engine(max_num_batched_tokens=64), requests, TOKENS_COST)) == [21, 21]


def test_a_prompt_that_is_cached_whole_still_computes_its_last_block(run):
    # 8 tokens are 2 full blocks, both cached after A; the last token must be computed, and blocks are hit whole.
    requests = [Request(0, 8, 1, (7,)), Request(20, 8, 1, (7,))]
    assert finish(run(engine(prefix_caching=True), requests, TOKENS_COST)) == [9, 25]


def test_another_prefix_is_not_hit(run):
    requests = [Request(0, 8, 1, (7,)), Request(20, 8, 1, (8,)), Request(40, 8, 1)]
    assert finish(run(engine(prefix_caching=True), requests, TOKENS_COST)) == [9, 29, 49]


def test_shared_blocks_need_no_room_of_their_own(run):
    # 5 blocks, A and B have 3 full blocks of prompt in common.  A holds 4 blocks, B 3 of them and 1 of its own.
    # Without sharing B would wait for A.
    requests = [Request(0, 13, 4, (7,)), Request(0.5, 13, 1, (7,))]
    assert finish(run(engine(total_blocks=5, prefix_caching=True), requests)) == [4, 2]
    assert finish(run(engine(total_blocks=5), requests)) == [4, 5]


def test_the_longest_free_block_is_reused_first(run):
    # 4 blocks.  A (prefix 7) leaves 2 cached, then B (prefix 8) leaves 2 cached.  C needs 2 blocks and takes A's,
    # which have been free longer.  D finds B's prefix: 4 of its 8 tokens are hits.  E does not find A's.
    requests = [
        Request(0, 8, 1, (7,)),
        Request(20, 8, 1, (8,)),
        Request(40, 6, 1, (9,)),
        Request(60, 8, 1, (8,)),
        Request(80, 8, 1, (7,)),
    ]
    out = run(engine(total_blocks=4, prefix_caching=True), requests, TOKENS_COST)
    assert finish(out) == [9, 29, 47, 65, 89]


def test_a_hit_takes_a_block_out_of_the_free_list(run):
    # 4 blocks, all of them cached from A (2) and B (2).  C hits A's first block and takes A's second as the
    # longest free; it must not be given the block that it has just hit.  D still finds the block of A that C hit.
    requests = [
        Request(0, 8, 1, (7,)),
        Request(20, 8, 1, (8,)),
        Request(40, 8, 1, (7,)),
        Request(60, 8, 1, (7,)),
    ]
    out = run(engine(total_blocks=4, prefix_caching=True), requests, TOKENS_COST)
    assert finish(out) == [9, 29, 45, 65]


def test_cached_blocks_that_nobody_holds_are_not_room_besides(run):
    # 4 blocks.  A leaves 2 cached; B holds 1 from 20 to 24.  C's 13 tokens need 4 blocks: 2 are cached, but they are
    # among the 3 free ones, so C waits for B.
    requests = [Request(0, 8, 1, (7,)), Request(20, 1, 4), Request(20.5, 13, 1, (7,))]
    assert finish(run(engine(total_blocks=4, prefix_caching=True), requests)) == [1, 24, 25]


def test_nobody_is_admitted_in_a_step_that_preempted(run):
    # 7 blocks.  A and B have 2 blocks of prompt in common; B's second is a copy, for its last token is computed anew.
    # At 8 A needs its fifth block and B gives back 3 of its 4, of which A takes one.  B's 16 known tokens then need
    # just the 2 that are left, since A holds 2 and 1 is cached, but B has to wait for the next step, [9,10].
    requests = [Request(0, 9, 12, (7,)), Request(0, 8, 9, (7,))]
    out = run(engine(total_blocks=7, prefix_caching=True), requests)
    assert preemptions(out) == [0, 1]
    assert finish(out) == [12, 10]
    assert out[1].longest_gap_s == 2


def test_generated_tokens_are_not_taken_for_a_longer_prompt(run):
    # 11 blocks.  The prefix block 7 goes on in A's prompt of 24 tokens, where B's ends after 8.  At 9 A needs a block,
    # and B gives back 3 of its 4 blocks, of which A takes one.  B's 17 known tokens need 5 blocks: A holds the 2 of
    # the prompt, 1 of B's own is cached but free, so 3 of the 2 free ones: B waits until A ends at 12.  A's third
    # and fourth block are no hits, for B's tokens there are its own.
    requests = [Request(0, 24, 12, (7,)), Request(0, 8, 10, (7,))]
    out = run(engine(total_blocks=11, prefix_caching=True, max_num_batched_tokens=32), requests)
    assert preemptions(out) == [0, 1]
    assert finish(out) == [12, 13]


def test_async_a_request_joins_the_step_after_next(run):
    # B comes during step 1 = [1,2]; step 2 is decided, so it joins step 3 = [3,4].
    requests = [Request(0, 1, 6), Request(1.5, 1, 1)]
    assert finish(run(engine(async_scheduling=True), requests)) == [6, 4]
    assert finish(run(engine(async_scheduling=False), requests)) == [6, 3]


def test_async_an_idle_engine_starts_at_once(run):
    # A alone: decided and started at 0.5.  B at 4 finds the engine idle again.
    out = run(engine(async_scheduling=True), [Request(0.5, 1, 2), Request(4, 1, 1)])
    assert finish(out) == [2.5, 5]


def test_async_the_first_step_after_an_idle_spell_already_has_a_successor(run):
    # A starts [0,1] and [1,2] is decided at 0, so B, who comes at 0.25, joins [2,3].
    assert finish(run(engine(async_scheduling=True), [Request(0, 1, 4), Request(0.25, 1, 1)])) == [4, 3]


def test_async_a_request_keeps_its_seat_until_its_last_step_ends(run):
    # 2 seats.  A's last step is [1,2].  The step [2,3] is decided at 1, when A still has its seat, so C joins [3,4].
    requests = [Request(0, 1, 2), Request(0, 1, 5), Request(0, 1, 1)]
    assert finish(run(engine(async_scheduling=True, max_num_seqs=2), requests)) == [2, 5, 4]
    assert finish(run(engine(async_scheduling=False, max_num_seqs=2), requests)) == [2, 5, 3]


def test_async_an_empty_decision_is_taken_again(run):
    # 1 seat.  At 1 the step [2,3] is decided empty, since A keeps its seat; at 2 A is gone and B starts at once.
    out = run(engine(async_scheduling=True, max_num_seqs=1), [Request(0, 1, 2), Request(0, 1, 1)])
    assert finish(out) == [2, 3]


def test_async_a_preempted_request_still_emits_the_token_in_flight(run):
    # As in the synchronous case, but B is preempted at 4, when the step [5,6] is decided, with [4,5] in flight.
    # B's fifth token comes at 5, A ends at 9, and B (9 known tokens) is admitted when A's blocks are back: the step
    # [9,10] was decided empty at 8 and is decided again at 9.  Tokens 6 and 7 at 10 and 11.
    out = run(engine(async_scheduling=True, total_blocks=4), PREEMPTED[:2])
    assert preemptions(out) == [0, 1]
    assert finish(out) == [9, 11]
    assert out[1].longest_gap_s == 5


def test_async_a_request_in_its_last_step_is_no_victim(run):
    # 4 blocks.  B's last token comes in [4,5].  At 4 A needs a third block for [5,6]: the last of the list is B, who
    # is done after this step, so A itself gives way.  At 5 the empty decision is taken again: A recomputes 9 tokens.
    out = run(engine(async_scheduling=True, total_blocks=4), [Request(0, 4, 9), Request(0, 4, 5)])
    assert preemptions(out) == [1, 0]
    assert finish(out) == [9, 5]


def test_decode_only_steps_are_padded_to_a_graph_size(run):
    # [0,1] three prompts.  Then 3 decoders and D's prompt: 1 + 3 s, not padded.  Then 3 decoders alone: 1 + 4 s.
    requests = [Request(0, 1, 3), Request(0, 1, 3), Request(0, 1, 3), Request(0.5, 1, 1)]
    out = run(engine(cudagraph_sizes=(1, 2, 4)), requests, SEQUENCES_COST)
    assert finish(out) == [10, 10, 10, 5]


def test_batches_above_the_largest_graph_are_not_padded(run):
    requests = [Request(0, 1, 2)] * 3
    assert finish(run(engine(cudagraph_sizes=(1, 2)), requests, SEQUENCES_COST)) == [5, 5, 5]


def test_padding_counts_in_the_token_term(run):
    # A decode step of 3 costs 1 s and 4 padded tokens; the prompts' step 1 s and 3 tokens.
    assert finish(run(engine(cudagraph_sizes=(1, 2, 4)), [Request(0, 1, 2)] * 3, TOKENS_COST)) == [9, 9, 9]


def test_attention_work_counts_the_pairs_of_each_chunk(run):
    # Chunks of 4, 4 and 2 tokens: 4 * 2.5, 4 * (4 + 2.5) and 2 * (8 + 1.5) pairs, together 10 * 5.5.
    latency = LatencyModel(base_s=1.0, attention=PiecewiseLinear.linear(0.5))
    out = run(engine(max_num_batched_tokens=4), [Request(0, 10, 1)], latency)
    assert finish(out) == [3 + 0.5 * 55]


def test_attention_work_starts_behind_the_cached_prefix(run):
    # B computes 4 tokens after 4 cached ones: 4 * (4 + 2.5) pairs.
    latency = LatencyModel(base_s=1.0, attention=PiecewiseLinear.linear(0.5))
    requests = [Request(0, 8, 1, (7,)), Request(100, 8, 1, (7,))]
    assert finish(run(engine(prefix_caching=True), requests, latency)) == [1 + 0.5 * 36, 101 + 0.5 * 26]


def test_decoding_reads_the_context_with_the_new_token(run):
    # Prompts of 3 and 5 tokens: the decode step reads 4 + 6 tokens, the next one 5 + 7.
    latency = LatencyModel(base_s=1.0, kv=PiecewiseLinear(((0, 0), (10, 1)), 0.5))
    out = run(engine(), [Request(0, 3, 3), Request(0, 5, 3)], latency)
    assert first(out) == [1, 1]
    assert finish(out) == [1 + 2 + 3, 1 + 2 + 3]


def test_the_host_overhead_is_paid_every_step(run):
    out = run(engine(step_overhead_s=0.25, max_num_batched_tokens=4), [Request(0, 10, 3)])
    assert finish(out) == [6.25]


def test_simultaneous_arrivals_share_the_first_step(run):
    assert finish(run(engine(), [Request(2, 1, 1), Request(2, 1, 1)])) == [3, 3]


def test_an_arrival_on_a_boundary_is_seen_by_that_boundary(run):
    # B comes as [0,1] ends.  Sync: it joins [1,2].  Async: [1,2] is decided, [2,3] is decided at 1, after B came.
    requests = [Request(0, 1, 4), Request(1, 1, 1)]
    assert finish(run(engine(), requests)) == [4, 2]
    assert finish(run(engine(async_scheduling=True), requests)) == [4, 3]


def test_an_arrival_as_the_engine_falls_idle_starts_at_once(run):
    requests = [Request(0, 1, 1), Request(1, 1, 1)]
    assert finish(run(engine(), requests)) == [1, 2]
    assert finish(run(engine(async_scheduling=True), requests)) == [1, 2]


def test_requests_that_can_never_fit_are_rejected(run):
    # 4 blocks hold 16 tokens, and the model 14: 10 + 4 fits, 10 + 5 is too long, 13 + 4 needs 5 blocks.
    by_length = run(engine(total_blocks=8, max_model_len=14), [Request(0, 10, 4), Request(0, 10, 5)])
    assert [o.rejected for o in by_length] == [False, True]
    assert finish(by_length) == [4, None]
    by_memory = run(engine(total_blocks=4), [Request(0, 13, 3), Request(0, 13, 4), Request(0, 4, 1)])
    assert [o.rejected for o in by_memory] == [False, True, False]
    assert finish(by_memory) == [3, None, 4]


def v0(**settings) -> Engine:
    return engine(preset="vllm-v0", **settings)


def test_v0_prefill_stalls_decoding(run):
    # [0,1] A's prompt.  [1,2] B's prompt, A waits.  [2,3] and on: both decode.
    requests = [Request(0, 4, 4), Request(0.5, 4, 2)]
    out = run(v0(), requests)
    assert first(out) == [1, 2]
    assert finish(out) == [5, 3]
    assert out[0].longest_gap_s == 2
    assert finish(run(engine(), requests)) == [4, 3]


def test_v0_prompts_are_computed_whole(run):
    # 8 tokens a step: 5 + 5 do not fit, so B's prompt has a step of its own before A decodes.  [2,3] both decode.
    requests = [Request(0, 5, 2), Request(0, 5, 2)]
    out = run(v0(max_num_batched_tokens=8), requests)
    assert first(out) == [1, 2]
    assert finish(out) == [3, 3]


def test_v0_prompts_that_fit_share_a_step(run):
    out = run(v0(max_num_batched_tokens=16), [Request(0, 5, 2), Request(0, 5, 2), Request(0, 8, 1)])
    assert first(out) == [1, 1, 2]
    assert finish(out) == [3, 3, 2]


def test_v0_keeps_one_percent_of_the_blocks_free_at_admission(run):
    # 100 blocks.  A holds 2; B's 98 blocks would leave none free, so B waits until A ends at 3.  97 are admitted.
    settings = {"total_blocks": 100, "max_num_batched_tokens": 512}
    assert first(run(v0(**settings), [Request(0, 5, 3), Request(0.5, 390, 2)])) == [1, 4]
    assert first(run(v0(**settings), [Request(0, 5, 3), Request(0.5, 386, 2)])) == [1, 2]


def test_v0_preempts_the_last_and_recomputes_it_in_a_prefill_step(run):
    # As with v1, B gives way at 5 and A ends at 9.  [9,10] B's 9 known tokens (token 6).  [10,11] its token 7.
    out = run(v0(total_blocks=4), PREEMPTED[:2])
    assert preemptions(out) == [0, 1]
    assert finish(out) == [9, 11]
    assert out[1].longest_gap_s == 5


def test_v0_rejects_what_one_step_could_not_compute_again(run):
    # A step takes 8 tokens, and a sequence of 9 might be recomputed whole; 100 blocks less the watermark are 99.
    out = run(v0(max_num_batched_tokens=8), [Request(0, 8, 1), Request(0, 7, 1)])
    assert [o.rejected for o in out] == [True, False]
    assert finish(out) == [None, 1]
    out = run(v0(total_blocks=100, max_num_batched_tokens=512), [Request(0, 396, 1), Request(0, 395, 1)])
    assert [o.rejected for o in out] == [True, False]
