"""The torch scorer computes what its export computes, and starts at the search's start."""

from __future__ import annotations

import numpy as np
import pytest
from job_toy import LAYOUT, SmallestArea, random_queue

from handrail.policies.learning.job_features import job_search
from handrail.policies.learning.job_rows import JobRows, RowShapes
from handrail.policies.network import ReplicaScorer, scorer_shapes, unflatten

torch = pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")

from handrail.policies.learning.job_scorer import JobScorer  # noqa: E402
from handrail.policies.learning.timed_rollouts import TimedRolloutBuffer  # noqa: E402

HIDDEN = [(), (6,), (6, 3)]


def sample(n: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [random_queue(rng) for _ in range(n)]


def made(hidden: tuple[int, ...], temperature: float = 0.5):
    search = job_search(LAYOUT, sample(300, seed=5), hidden)
    torch.manual_seed(0)
    return search, JobScorer(RowShapes(LAYOUT, search), search, temperature, critic=8)


def vectors(search, observations) -> torch.Tensor:
    rows = JobRows(SmallestArea(), LAYOUT, search)
    return torch.as_tensor(np.stack([rows.rows(o, 0.0) for o in observations]))


@pytest.mark.parametrize("hidden", HIDDEN)
def test_logits_are_the_exported_networks_scores(hidden: tuple[int, ...]):
    search, scorer = made(hidden)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    exported = ReplicaScorer(LAYOUT, search.features, search.mean, search.std, scorer.tensors())
    seen = sample(200, seed=7)
    with torch.no_grad():
        logits = scorer.forward_actor(vectors(search, seen)).numpy()
    for observation, ours in zip(seen, logits, strict=True):
        expected = exported.scores(observation)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
        legal = LAYOUT.replica(observation, "up") > 0
        assert np.where(legal, ours, -np.inf).argmax() == exported.act(observation)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_it_starts_at_the_searchs_start_over_the_temperature(hidden: tuple[int, ...]):
    search, scorer = made(hidden, temperature=0.25)
    start = unflatten(search.start, scorer_shapes(len(search.features), hidden))
    first = ReplicaScorer(LAYOUT, search.features, search.mean, search.std, start)
    seen = sample(50, seed=8)
    with torch.no_grad():
        logits = scorer.forward_actor(vectors(search, seen)).numpy()
    expected = np.stack([first.scores(o) for o in seen]) / 0.25
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-4)


def test_order_and_empty_rows_change_neither_scores_nor_value():
    search, scorer = made((6,))
    observation = next(o for o in sample(50, seed=9) if LAYOUT.replica(o, "size_share")[:4].min() > 0)
    permuted, order = observation.copy(), [2, 0, 3, 1, 4]
    LAYOUT.replica_matrix(permuted)[:] = LAYOUT.replica_matrix(observation)[order]
    with torch.no_grad():
        scores, latent = scorer(vectors(search, [observation, permuted]))
        np.testing.assert_allclose(scores[1].numpy(), scores[0].numpy()[order], rtol=1e-6)
        np.testing.assert_allclose(latent[1].numpy(), latent[0].numpy(), rtol=1e-4, atol=1e-6)
        short = observation.copy()
        LAYOUT.replica_matrix(short)[1:4] = 0.0
        odd = vectors(search, [short])
        other = odd.clone()
        other[:, len(search.features) : 4 * len(search.features)] = 3.0  # what stands in empty rows
        np.testing.assert_array_equal(scorer.forward_critic(odd).numpy(), scorer.forward_critic(other).numpy())


def test_returns_are_discounted_by_simulated_time():
    space, actions = JobRows(SmallestArea(), LAYOUT, made(())[0]).observation_space, SmallestArea.action_space
    buffer = TimedRolloutBuffer(3, space, actions, "cpu", gae_lambda=1.0, gamma=0.5, horizon_s=100.0)
    seen = np.zeros((1, *space.shape), dtype=np.float32)
    for dt_s, reward in ((0.0, 1.0), (100.0, 2.0), (0.0, 4.0)):
        seen[0, -1] = dt_s
        zero, mask = torch.zeros(1), np.ones((1, 5))
        buffer.add(seen, np.zeros((1, 1)), np.array([reward]), np.zeros(1), zero, zero, action_masks=mask)
    buffer.compute_returns_and_advantage(torch.full((1,), 8.0), np.zeros(1, dtype=bool))
    last = 4.0 + 0.5 * 8.0
    np.testing.assert_allclose(buffer.returns[:, 0], [1.0 + np.exp(-1.0) * (2.0 + last), 2.0 + last, last], rtol=1e-6)
