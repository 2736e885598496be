"""The policy folder: ``policy.json`` (what it is) and ``policy.safetensors`` (its weights). No pickle, no code.

Loading checks everything before it is used, and says which file and field is wrong and what mends it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError

from ..envs.common import Layout
from ..traces.errors import HandrailError
from .card import (
    WEIGHTS_FILE,
    ActionCard,
    MlpArchitecture,
    ObservationCard,
    PolicyCard,
    ScorerArchitecture,
    TrainingCard,
    WeightsCard,
)
from .domains import Domain
from .network import Mlp, ReplicaScorer, mlp_shapes, scorer_shapes

CARD_FILE = "policy.json"
MAX_CARD_BYTES = 1 << 20
MAX_WEIGHTS_BYTES = 64 << 20

_CHOICES: dict[Domain, str] = {
    "llm": "the fleet has",
    "cluster": "the window with its row for waiting has",
    "prefetch": "the menu has",
}
"""How an error speaks of the layout's number of choices."""

_MEND = "train again, or restore the folder from where it came"


class LearnedPolicy:
    """A trained policy, NumPy alone. It takes the best action always: ``deterministic`` changes nothing.

    Attributes:
        card: What ``policy.json`` says.
        policy_hash: SHA-256 of ``policy.json``, which itself holds the weights' SHA-256: the identity of the policy.
        name: The card's name.
        latency_s: Declared decision latency in simulated seconds.
    """

    knows = "predicted"

    def __init__(
        self, card: PolicyCard, policy_hash: str, network: ReplicaScorer | Mlp, latency_s: float = 0.0
    ) -> None:
        self.card = card
        self.policy_hash = policy_hash
        self.network = network
        self.name = card.name
        self.latency_s = latency_s

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[int, Any]:
        """Return the index of the legal choice with the highest score, and ``state`` as given."""
        return self.network.act(observation), state


def save_policy(
    folder: str | Path,
    *,
    name: str,
    architecture: ScorerArchitecture | MlpArchitecture,
    layout: Layout,
    mean: NDArray[np.floating],
    std: NDArray[np.floating],
    tensors: Mapping[str, NDArray[np.floating]],
    training: TrainingCard,
    metrics: Mapping[str, Mapping[str, bool | int | float | str | None]] | None = None,
    domain: Domain = "llm",
) -> PolicyCard:
    """Write a policy folder (files replaced one by one, weights first) and return its card.

    A replica scorer is saved for any number of choices, an mlp for the layout's.

    Raises:
        HandrailError: The tensors or statistics do not fit the architecture, or a value is not finite.
    """
    weights = {key: np.ascontiguousarray(value) for key, value in sorted(tensors.items())}
    blob = safetensors.numpy.save(weights)
    n_replicas = layout.n_replicas if isinstance(architecture, MlpArchitecture) else None
    try:
        card = PolicyCard(
            name=name,
            domain=domain,
            architecture=architecture,
            observation=ObservationCard(
                replica_fields=tuple(f.name for f in layout.replica_fields),
                global_fields=tuple(f.name for f in layout.global_fields),
                n_replicas=n_replicas,
                mean=tuple(float(x) for x in mean),
                std=tuple(float(x) for x in std),
            ),
            action=ActionCard(n=n_replicas),
            training=training,
            versions=_versions(),
            metrics={split: dict(values) for split, values in (metrics or {}).items()},
            weights=WeightsCard(sha256=hashlib.sha256(blob).hexdigest(), size_bytes=len(blob)),
        )
    except ValidationError as error:
        raise HandrailError(f"the policy cannot be saved: {_first_problem(error)}") from None
    path = Path(folder)
    _check_tensors(weights, card, path / WEIGHTS_FILE)
    _build(card, layout, weights, path)
    path.mkdir(parents=True, exist_ok=True)
    text = json.dumps(card.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False) + "\n"
    _replace(path / WEIGHTS_FILE, blob)
    _replace(path / CARD_FILE, text.encode())
    return card


def load_policy(folder: str | Path, layout: Layout, domain: Domain = "llm") -> LearnedPolicy:
    """Load a policy folder of ``domain`` for observations of ``layout``.

    Raises:
        HandrailError: A file is missing, too large, not what its hash says, not in the schema, of the wrong shape, not
            finite, or made for another domain or observation.
    """
    path = Path(folder)
    if not path.is_dir():
        raise HandrailError(f"{path}: no such policy folder; give a folder that holds {CARD_FILE} and {WEIGHTS_FILE}")
    raw = _read(path / CARD_FILE, MAX_CARD_BYTES)
    try:
        card = PolicyCard.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise HandrailError(f"{path / CARD_FILE}: {_first_problem(error)}; {_MEND}") from None
    if card.domain != domain:
        raise HandrailError(
            f"{path / CARD_FILE}: field domain is {card.domain!r}, but it is asked to decide in domain {domain!r}; "
            f"give --domain {card.domain}, or a policy that was trained for {domain!r}"
        )
    weights_path = path / WEIGHTS_FILE
    blob = _read(weights_path, MAX_WEIGHTS_BYTES)
    digest = hashlib.sha256(blob).hexdigest()
    if digest != card.weights.sha256:
        raise HandrailError(
            f"{weights_path}: its SHA-256 is {digest}, but field weights.sha256 of {CARD_FILE} is "
            f"{card.weights.sha256}: the two files do not belong together; {_MEND}"
        )
    if len(blob) != card.weights.size_bytes:
        raise HandrailError(
            f"{path / CARD_FILE}: field weights.size_bytes is {card.weights.size_bytes}, but {WEIGHTS_FILE} has "
            f"{len(blob)} bytes; {_MEND}"
        )
    try:
        weights = safetensors.numpy.load(blob)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise HandrailError(f"{weights_path}: not a readable safetensors file ({error}); {_MEND}") from None
    _check_tensors(weights, card, weights_path)
    return LearnedPolicy(card, hashlib.sha256(raw).hexdigest(), _build(card, layout, weights, path))


def _check_tensors(weights: Mapping[str, NDArray[Any]], card: PolicyCard, path: Path) -> None:
    architecture = card.architecture
    if isinstance(architecture, ScorerArchitecture):
        expected = scorer_shapes(len(architecture.features), architecture.hidden)
        n_inputs = len(architecture.features)
    else:
        n_inputs = len(card.observation.mean)
        expected = mlp_shapes(n_inputs, architecture.hidden, card.action.n or 0)
    if set(weights) != set(expected):
        raise HandrailError(f"{path}: its tensors are {sorted(weights)}, expected {sorted(expected)}; {_MEND}")
    for name, shape in expected.items():
        tensor = weights[name]
        if tensor.shape != shape:
            raise HandrailError(f"{path}: tensor {name!r} has shape {tensor.shape}, expected {shape}; {_MEND}")
        if tensor.dtype not in (np.float32, np.float64):
            raise HandrailError(f"{path}: tensor {name!r} is {tensor.dtype}, expected float32 or float64; {_MEND}")
        if not np.isfinite(tensor).all():
            raise HandrailError(f"{path}: tensor {name!r} holds values that are not finite; {_MEND}")
    for name, values in (("mean", card.observation.mean), ("std", card.observation.std)):
        if len(values) != n_inputs:
            raise HandrailError(
                f"{path.with_name(CARD_FILE)}: field observation.{name} has {len(values)} values, "
                f"expected {n_inputs}; {_MEND}"
            )


def _build(card: PolicyCard, layout: Layout, weights: Mapping[str, NDArray[Any]], folder: Path) -> ReplicaScorer | Mlp:
    """The network of a card, after checking that the card's observation is the layout's."""
    seen, here = card.observation, folder / CARD_FILE
    replica_fields = tuple(f.name for f in layout.replica_fields)
    global_fields = tuple(f.name for f in layout.global_fields)
    architecture = card.architecture
    if isinstance(architecture, ScorerArchitecture):
        features = [feature.feature() for feature in architecture.features]
        known = {*seen.replica_fields, *seen.global_fields}
        for name in (name for feature in features for name in feature.fields):
            if name not in known or name not in {*replica_fields, *global_fields}:
                raise HandrailError(
                    f"{here}: field architecture.features reads {name!r}, which the observation does not have; "
                    f"train again for this observation (it has {', '.join((*replica_fields, *global_fields))})"
                )
        return ReplicaScorer(layout, features, seen.mean, seen.std, weights)
    for key, theirs, ours in (
        ("replica_fields", seen.replica_fields, replica_fields),
        ("global_fields", seen.global_fields, global_fields),
    ):
        if theirs != ours:
            raise HandrailError(
                f"{here}: field observation.{key} is {list(theirs)}, but this observation has {list(ours)}; "
                "train again for this observation"
            )
    if seen.n_replicas != layout.n_replicas:
        raise HandrailError(
            f"{here}: field observation.n_replicas is {seen.n_replicas}, but {_CHOICES[card.domain]} "
            f"{layout.n_replicas}; train for that, or use a policy of architecture replica-scorer, which takes any"
        )
    if len(seen.mean) != layout.size:
        raise HandrailError(f"{here}: field observation.mean has {len(seen.mean)} values, expected {layout.size}")
    return Mlp(layout, seen.mean, seen.std, architecture.clip, architecture.activation, weights)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        if not path.is_file():
            raise HandrailError(f"{path}: the policy folder lacks this file; {_MEND}")
        size = path.stat().st_size
        if size > max_bytes:
            raise HandrailError(f"{path}: {size} bytes is over the cap of {max_bytes} bytes for this file; {_MEND}")
        return path.read_bytes()
    except OSError as error:
        raise HandrailError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        raise HandrailError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"field {where}: {first['msg']}" if where else str(first["msg"])


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    for package in ("handrail", "stable-baselines3", "torch"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
