"""The schema of ``policy.json``: what a policy folder says about the weights beside it. Unknown keys are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .domains import Domain
from .network import Feature

FORMAT_VERSION = 1
WEIGHTS_FILE = "policy.safetensors"

Scalar = bool | int | float | str | None
LayerSize = Annotated[int, Field(ge=1, le=1024)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FeatureCard(_Strict):
    """One input of a replica scorer (see ``network.Feature``)."""

    fields: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)]
    transform: Literal["identity", "log1p"] = "identity"

    @classmethod
    def of(cls, feature: Feature) -> FeatureCard:
        """The card of a feature."""
        return cls(fields=feature.fields, transform=feature.transform)

    def feature(self) -> Feature:
        """The feature that this card describes."""
        return Feature(self.fields, self.transform)


class ScorerArchitecture(_Strict):
    """A scorer shared by all replicas: linear, or linear beside one or two hidden tanh layers."""

    kind: Literal["replica-scorer"] = "replica-scorer"
    features: Annotated[tuple[FeatureCard, ...], Field(min_length=1, max_length=256)]
    hidden: Annotated[tuple[LayerSize, ...], Field(max_length=2)] = ()


class MlpArchitecture(_Strict):
    """A perceptron over the whole observation."""

    kind: Literal["mlp"] = "mlp"
    hidden: Annotated[tuple[LayerSize, ...], Field(max_length=4)]
    activation: Literal["tanh", "relu"]
    clip: Annotated[float, Field(gt=0)] = 10.0


class ObservationCard(_Strict):
    """The layout that the policy was trained on, and the statistics that normalise its inputs.

    ``n_replicas`` is ``None`` where the policy takes any fleet. ``mean`` and ``std`` have one value a feature (replica
    scorer) or one a position of the observation (mlp).
    """

    replica_fields: tuple[str, ...]
    global_fields: tuple[str, ...]
    n_replicas: Annotated[int, Field(ge=1)] | None
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]


class ActionCard(_Strict):
    """The action space: an index among ``n`` replicas, or among however many there are (``None``)."""

    kind: Literal["discrete"] = "discrete"
    n: Annotated[int, Field(ge=1)] | None


class TrainingCard(_Strict):
    """What the policy was trained on and how."""

    trace: str
    trace_sha256: Sha256
    algorithm: Literal["cem", "ppo", "dqn", "ppo-lagrangian", "bc-residual", "maskable-ppo", "bandit"]
    seed: int
    settings: dict[str, Scalar | tuple[Scalar, ...]] = {}
    command: str = ""


class WeightsCard(_Strict):
    """The tensor file that belongs to this card."""

    file: Literal["policy.safetensors"] = WEIGHTS_FILE
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1)]


class PolicyCard(_Strict):
    """The whole of ``policy.json``."""

    format_version: Literal[1] = FORMAT_VERSION
    name: Annotated[str, Field(min_length=1, max_length=200)]
    domain: Domain = "llm"
    architecture: Annotated[ScorerArchitecture | MlpArchitecture, Field(discriminator="kind")]
    observation: ObservationCard
    action: ActionCard
    training: TrainingCard
    versions: dict[str, str]
    metrics: dict[str, dict[str, Scalar]] = {}
    weights: WeightsCard

    @model_validator(mode="after")
    def _fleet_size_agrees(self) -> PolicyCard:
        if self.observation.n_replicas != self.action.n:
            raise ValueError("observation.n_replicas and action.n must be the same")
        if self.architecture.kind == "mlp" and self.action.n is None:
            raise ValueError("an mlp is tied to one fleet size: observation.n_replicas and action.n must be numbers")
        return self
