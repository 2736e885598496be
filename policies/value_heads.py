"""Value heads: a few ridge regressions from the observation to what is to come, each on its own bootstrap sample.

Where they agree they have seen the like; where they spread they extrapolate (Rotman et al., HotNets'20).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from ..envs.common import Layout
from ..traces.errors import HandrailError

CARD_FILE = "value_heads.json"
WEIGHTS_FILE = "value_heads.safetensors"
FORMAT = "handrail-value-heads"


class ValueHeadsCard(BaseModel):
    """What ``value_heads.json`` holds.

    Attributes:
        format: Says what the file is.
        replica_fields, global_fields: The observation that they were fitted on, in order.
        n_replicas: Its number of choices.
        unit: Unit of the values.
        sha256: Hash of the weights' file, in hex.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = FORMAT
    replica_fields: tuple[str, ...]
    global_fields: tuple[str, ...]
    n_replicas: int
    unit: str
    sha256: str


class ValueHeads:
    """Linear estimates from the standardised arcsinh of the observation.

    Attributes:
        weights: Shape (heads, layout.size + 1); the last column is the intercept.
        unit: Unit of the values.
    """

    def __init__(self, layout: Layout, mean: ArrayLike, std: ArrayLike, weights: ArrayLike, unit: str = "s") -> None:
        """Take the numbers.

        Raises:
            HandrailError: A shape does not fit the layout, or a number is not finite.
        """
        self._layout = layout
        self._mean, self._std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
        self.weights = np.ascontiguousarray(weights, dtype=np.float64)
        self.unit = unit
        shapes = (self._mean.shape, self._std.shape, self.weights.shape[1:])
        if shapes != ((layout.size,), (layout.size,), (layout.size + 1,)) or len(self.weights) < 2:
            raise HandrailError(f"value heads of shapes {shapes} do not fit an observation of {layout.size} numbers")
        if not all(np.isfinite(x).all() for x in (self._mean, self._std, self.weights)) or (self._std <= 0).any():
            raise HandrailError("value heads hold a number that is not finite, or a deviation that is not positive")
        scaled = self.weights[:, :-1] / self._std
        self._slope, self._intercept = scaled, self.weights[:, -1] - scaled @ self._mean

    def values(self, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Each head's estimate, shape (heads,)."""
        return self._slope.dot(np.arcsinh(observation.astype(np.float64))) + self._intercept

    def save(self, folder: str | Path) -> None:
        """Write the weights and the card that names them into a folder, weights first.

        Raises:
            HandrailError: It cannot be written.
        """
        path = Path(folder)
        blob = safetensors.numpy.save({"mean": self._mean, "std": self._std, "weights": self.weights})
        card = ValueHeadsCard(
            replica_fields=tuple(f.name for f in self._layout.replica_fields),
            global_fields=tuple(f.name for f in self._layout.global_fields),
            n_replicas=self._layout.n_replicas,
            unit=self.unit,
            sha256=hashlib.sha256(blob).hexdigest(),
        )
        text = json.dumps(card.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
        try:
            path.mkdir(parents=True, exist_ok=True)
            for name, data in ((WEIGHTS_FILE, blob), (CARD_FILE, text.encode())):
                part = path / (name + ".part")
                part.write_bytes(data)
                os.replace(part, path / name)
        except OSError as error:
            raise HandrailError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None

    @classmethod
    def load(cls, folder: str | Path, layout: Layout) -> ValueHeads:
        """Read what :meth:`save` wrote, for observations of ``layout``.

        Raises:
            HandrailError: A file is missing or damaged, or the heads are for other observations.
        """
        path = Path(folder)
        mend = "fit the value heads again"
        try:
            card = ValueHeadsCard.model_validate_json((path / CARD_FILE).read_bytes())
            blob = (path / WEIGHTS_FILE).read_bytes()
        except OSError as error:
            raise HandrailError(f"{error.filename}: cannot be read ({error.strerror}); {mend}") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise HandrailError(f"{path / CARD_FILE}: field {field}: {first['msg']}; {mend}") from None
        if card.format != FORMAT or card.sha256 != hashlib.sha256(blob).hexdigest():
            raise HandrailError(f"{path / WEIGHTS_FILE}: not the weights that {CARD_FILE} names (field sha256); {mend}")
        ours = layout.to_json()
        for key in ("replica_fields", "global_fields", "n_replicas"):
            theirs: Any = getattr(card, key)
            if (list(theirs) if isinstance(theirs, tuple) else theirs) != ours[key]:
                raise HandrailError(f"{path / CARD_FILE}: field {key} is not that of this observation; {mend}")
        try:
            tensors = safetensors.numpy.load(blob)
            return cls(layout, tensors["mean"], tensors["std"], tensors["weights"], card.unit)
        except (SafetensorError, KeyError) as error:
            raise HandrailError(f"{path / WEIGHTS_FILE}: no value heads ({error}); {mend}") from None


def fit_value_heads(
    layout: Layout,
    observations: NDArray[np.floating],
    returns: ArrayLike,
    *,
    heads: int = 5,
    ridge: float = 1.0,
    seed: int = 0,
    unit: str = "s",
) -> ValueHeads:
    """Fit each head on a bootstrap sample of its own.

    Args:
        layout: Layout of the observations.
        observations: Shape (n, layout.size).
        returns: What came of each, shape (n,); see :func:`discounted_returns`.
        heads: How many.
        ridge: Weight of the squared slopes beside the sum of squared errors.
        seed: Of the bootstrap samples.
        unit: Unit of the returns.

    Raises:
        HandrailError: There are too few observations, or the two do not pair up or are not finite.
    """
    y = np.asarray(returns, dtype=np.float64)
    x = np.arcsinh(np.asarray(observations, dtype=np.float64))
    if x.ndim != 2 or x.shape[1] != layout.size or y.shape != x.shape[:1] or len(y) < 2 or heads < 2:
        raise HandrailError(
            f"value heads need pairs of observation and return and two heads, got {x.shape}, {y.shape}, {heads}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise HandrailError("an observation or return is not finite; leave it out")
    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(std > 0.0, std, 1.0)
    z = np.column_stack([(x - mean) / std, np.ones(len(x))])
    penalty = np.diag([ridge] * layout.size + [0.0])
    weights = []
    for stream in np.random.SeedSequence(seed).spawn(heads):
        rows = np.random.default_rng(stream).integers(len(y), size=len(y))
        sample = z[rows]
        weights.append(np.linalg.solve(sample.T @ sample + penalty, sample.T @ y[rows]))
    return ValueHeads(layout, mean, std, np.array(weights), unit)


def discounted_returns(costs: Sequence[float] | NDArray[np.floating], discount: float) -> NDArray[np.float64]:
    """Weighted mean of the costs from each decision on: ``(1 - discount) sum_k discount^k costs[t + k]``, shape (n,).

    Weights beyond the end are left out and the rest made to sum to 1, so that the last returns are of few costs but not
    small. Costs that are not known (NaN) are left out likewise; a return of none is NaN.

    Raises:
        HandrailError: The discount does not lie in [0, 1).
    """
    if not 0.0 <= discount < 1.0:
        raise HandrailError(f"a discount lies in [0, 1), got {discount}")
    out = np.full(len(costs), np.nan)
    total = weight = 0.0
    for i in range(len(costs) - 1, -1, -1):
        total, weight = total * discount, weight * discount
        if not np.isnan(costs[i]):
            total, weight = total + float(costs[i]), weight + 1.0
        if weight > 0.0:
            out[i] = total / weight
    return out
