"""Broken policies that need no domain: what they do wrong is the same everywhere."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...traces.errors import HandrailError
from ..artifact import CARD_FILE, LearnedPolicy, load_policy
from ..card import ScorerArchitecture
from ..domains import DOMAIN_FOLDERS, Domain
from ..interface import Feedback, Policy
from ..network import Mlp, ReplicaScorer, mlp_shapes, scorer_shapes
from .common import HEALTHY_DECISIONS

PRETRAINED = Path(__file__).parent.parent / "pretrained"

FLAP_DECISIONS = 8
"""Decisions between two changes of mind of the flapping policy."""

SLEEP_DECISIONS = 2_000
"""Decisions that the sleeper is good for at least."""

WAKE_LOAD = 1.1
"""Load over the mean of all it saw so far at which the sleeper wakes."""

LOAD_FIELDS: dict[Domain, str] = {"llm": "rate_60s", "cluster": "load_6h", "prefetch": "utilisation_slow"}
"""Field of each domain's observation with the load that arrives."""


class Wake(Protocol):
    """Whether a sleeper may wake, by simulated time in seconds and decisions made."""

    def __call__(self, now_s: float, decision: int) -> bool: ...


class WrongShape:
    """Returns two indices where one belongs."""

    name = "sabotage:wrong-shape"
    knows = "none"
    needs_observation = False
    latency_s: float = 0.0

    def predict(
        self, observation: NDArray[np.float32], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        """Return an array of shape (2,) and ``state`` as given."""
        return np.zeros(2, dtype=np.int64), state


class _Both:
    """Two policies that hear of everything, one of which answers."""

    latency_s: float = 0.0

    def __init__(self, good: Policy, bad: Policy) -> None:
        self._policies = (good, bad)
        self._answering = good

    @property
    def votes(self) -> Any:
        """The members' proposals, where the one that answered last is an ensemble; else None."""
        return getattr(self._answering, "votes", None)

    @property
    def values(self) -> Any:
        """The value estimates of the one that answered last, where it has some; else None."""
        return getattr(self._answering, "values", None)

    @property
    def policy_hash(self) -> str:
        """The good one's identity; empty where it has none."""
        return getattr(self._policies[0], "policy_hash", "")

    def notify(self, feedback: Feedback) -> None:
        """Pass the feedback on to both."""
        for policy in self._policies:
            notify = getattr(policy, "notify", None)
            if notify is not None:
                notify(feedback)

    def answer(self, bad: bool, observation: NDArray[np.float32], state: Any) -> tuple[Any, Any]:
        """What the one or the other says; ``state`` is the good one's and stays while the bad one answers."""
        policy = self._answering = self._policies[bad]
        action, following = policy.predict(observation, None if bad else state)
        self.latency_s = float(getattr(policy, "latency_s", 0.0))
        return action, state if bad else following


class Flapping(_Both):
    """The good policy's choices and the bad one's in turn, ``every`` decisions each."""

    name = "sabotage:flapping"

    def __init__(self, good: Policy, bad: Policy, every: int = FLAP_DECISIONS) -> None:
        super().__init__(good, bad)
        self._every = every
        self._decisions = 0

    def predict(
        self, observation: NDArray[np.float32], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        """Return the choice of whose turn it is."""
        turn = self._decisions // self._every % 2 == 1
        self._decisions += 1
        return self.answer(turn, observation, state)


class Sleeper(_Both):
    """Good until it wakes, then bad as long as it may be awake.

    It wakes where ``may_wake`` says it may (a time that validation never reaches) and the load that it sees is above
    ``WAKE_LOAD`` times the mean load of the decisions so far: a policy that passes every test before its trigger.
    """

    name = "sabotage:sleeper"

    def __init__(self, good: Policy, bad: Policy, layout: Layout, load_field: str, may_wake: Wake) -> None:
        super().__init__(good, bad)
        self._layout = layout
        self._load_field = load_field
        self._may_wake = may_wake
        self._now_s = 0.0
        self._decisions = 0
        self._total = 0.0
        self.awake = False

    def notify(self, feedback: Feedback) -> None:
        """Take the time, and pass the feedback on."""
        self._now_s = feedback.now_s
        super().notify(feedback)

    def predict(
        self, observation: NDArray[np.float32], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        """Return the good choice, or once awake the bad one."""
        load = self._layout.scalar(observation, self._load_field)
        self._decisions += 1
        self._total += load
        may_wake = self._may_wake(self._now_s, self._decisions)
        if may_wake and not self.awake:
            self.awake = load > WAKE_LOAD * self._total / self._decisions
        return self.answer(self.awake and may_wake, observation, state)


def after_decisions(now_s: float, decision: int) -> bool:
    """A sleeper's rule where no time is known: after ``SLEEP_DECISIONS`` decisions."""
    return decision > SLEEP_DECISIONS


class Hanging:
    """The healthy policy's choices for ``HEALTHY_DECISIONS`` decisions, then no answer any more.

    In simulated time it declares an infinite latency. In a process of its own (``policies.isolated``) it is told to
    hang in earnest, and never returns.

    Attributes:
        healthy_decisions: How many decisions it is healthy for.
        in_earnest: Whether it really hangs.
    """

    name = "sabotage:hanging"

    def __init__(self, healthy: Policy) -> None:
        self.healthy_decisions = HEALTHY_DECISIONS
        self._healthy = healthy
        self._decisions = 0
        self.latency_s = 0.0
        self.in_earnest = False

    def predict(
        self, observation: NDArray[np.float32], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        """Return the healthy policy's choice, or declare that it takes for ever."""
        self._decisions += 1
        if self._decisions > self.healthy_decisions:
            self.latency_s = float("inf")
            while self.in_earnest:
                time.sleep(3600.0)
        return self._healthy.predict(observation, state, episode_start, deterministic)


def untrained(folder: Path, layout: Layout, domain: Domain, seed: int) -> LearnedPolicy:
    """The policy of a folder with weights that are drawn, not learned: standard normal over the root of the width.

    Raises:
        HandrailError: The folder cannot be loaded.
    """
    policy = load_policy(folder, layout, domain)
    card = policy.card
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(b"untrained")))
    mean, std = np.array(card.observation.mean), np.array(card.observation.std)
    network: ReplicaScorer | Mlp
    if isinstance(card.architecture, ScorerArchitecture):
        features = [feature.feature() for feature in card.architecture.features]
        shapes = scorer_shapes(len(features), card.architecture.hidden)
        network = ReplicaScorer(layout, features, mean, std, _drawn(shapes, rng))
    else:
        shapes = mlp_shapes(layout.size, card.architecture.hidden, layout.n_replicas)
        plain = card.architecture
        network = Mlp(layout, mean, std, plain.clip, plain.activation, _drawn(shapes, rng))
    identity = hashlib.sha256(f"untrained {seed} {policy.policy_hash}".encode()).hexdigest()
    made = LearnedPolicy(card, identity, network)
    made.name = "sabotage:untrained"
    return made


def foreign(layout: Layout, domain: Domain) -> LearnedPolicy:
    """A policy that was trained on another trace at another load.

    Raises:
        HandrailError: None is bundled for the domain.
    """
    folder = PRETRAINED / f"foreign_{DOMAIN_FOLDERS[domain]}"
    if not (folder / CARD_FILE).is_file():
        raise HandrailError(f"no foreign policy is bundled for domain {domain}; train one and give its folder")
    policy = load_policy(folder, layout, domain)
    policy.name = "sabotage:foreign"
    return policy


def bundled(layout: Layout, domain: Domain) -> LearnedPolicy:
    """The policy that comes with handrail.

    Raises:
        HandrailError: None is bundled for the domain, or it does not fit the layout.
    """
    return load_policy(bundled_path(domain), layout, domain)


def bundled_path(domain: Domain) -> Path:
    """Folder of the policy that comes with handrail.

    Raises:
        HandrailError: None is bundled for the domain.
    """
    folder = PRETRAINED / DOMAIN_FOLDERS[domain]
    if not (folder / CARD_FILE).is_file():
        raise HandrailError(f"no policy is bundled for domain {domain}, which this kind of sabotage is made from")
    return folder


def _drawn(shapes: dict[str, tuple[int, ...]], rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    return {name: rng.standard_normal(shape) / np.sqrt(shape[-1]) for name, shape in shapes.items()}
