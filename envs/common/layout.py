"""The public, named layout of an observation vector: what stands where, in which unit, within which bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces.errors import HandrailError


@dataclass(frozen=True, slots=True)
class Field:
    """One named number of an observation.

    Attributes:
        name: Field name, unit included (``drain_s``).
        low: Smallest value that is reported; smaller ones are clipped.
        high: Largest value that is reported; larger ones are clipped.
        meaning: One sentence for the documentation.
    """

    name: str
    low: float
    high: float
    meaning: str


class Layout:
    """Where each field stands in a float32 observation of shape ``(size,)``.

    The vector is replica-major: ``observation[: n_replicas * n_fields].reshape(n_replicas, n_fields)``, then the global
    fields. "Replica" stands for whatever the domain has several of and chooses among (replicas, waiting jobs, tenants).
    """

    def __init__(self, replica_fields: Sequence[Field], global_fields: Sequence[Field], n_replicas: int) -> None:
        if n_replicas < 1:
            raise HandrailError(f"a layout needs at least one replica, got {n_replicas}")
        self.replica_fields = tuple(replica_fields)
        self.global_fields = tuple(global_fields)
        self.n_replicas = n_replicas
        self._replica_index = {f.name: i for i, f in enumerate(self.replica_fields)}
        self._global_index = {f.name: i for i, f in enumerate(self.global_fields)}
        if len(self._replica_index) != len(self.replica_fields) or len(self._global_index) != len(self.global_fields):
            raise HandrailError("a layout's field names must be distinct")
        self._width = len(self.replica_fields)
        self._block = self._width * n_replicas
        self.size = self._block + len(self.global_fields)

    def __deepcopy__(self, memo: dict[int, Any]) -> Layout:
        """Itself: it never changes, and forks of policies share it."""
        return self

    def replica_matrix(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """View of the per-replica part, shape (n_replicas, n_replica_fields)."""
        return observation[: self._block].reshape(self.n_replicas, self._width)

    def replica(self, observation: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        """View of one per-replica field, shape (n_replicas,).

        Raises:
            HandrailError: The layout has no such field.
        """
        return observation[self._replica_offset(name) : self._block : self._width]

    def scalar(self, observation: NDArray[np.float32], name: str) -> float:
        """One global field.

        Raises:
            HandrailError: The layout has no such field.
        """
        try:
            return float(observation[self._block + self._global_index[name]])
        except KeyError:
            raise HandrailError(
                f"the observation has no global field {name!r}; it has {', '.join(self._global_index)}"
            ) from None

    def globals(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """View of the global part, shape (n_global_fields,)."""
        return observation[self._block :]

    def _replica_offset(self, name: str) -> int:
        try:
            return self._replica_index[name]
        except KeyError:
            raise HandrailError(
                f"the observation has no per-replica field {name!r}; it has {', '.join(self._replica_index)}"
            ) from None

    @cached_property
    def low(self) -> NDArray[np.float32]:
        """Lower bounds, shape (size,)."""
        return self._bounds("low")

    @cached_property
    def high(self) -> NDArray[np.float32]:
        """Upper bounds, shape (size,)."""
        return self._bounds("high")

    def _bounds(self, which: str) -> NDArray[np.float32]:
        per_replica = [getattr(f, which) for f in self.replica_fields] * self.n_replicas
        return np.array(per_replica + [getattr(f, which) for f in self.global_fields], dtype=np.float32)

    def names(self) -> list[str]:
        """A name for each position of the vector: ``replica0.up`` ... then the global fields."""
        out = [f"replica{r}.{f.name}" for r in range(self.n_replicas) for f in self.replica_fields]
        return out + [f.name for f in self.global_fields]

    def to_json(self) -> dict[str, Any]:
        """The layout's field names and the number of replicas, for policy folders and run folders."""
        return {
            "replica_fields": [f.name for f in self.replica_fields],
            "global_fields": [f.name for f in self.global_fields],
            "n_replicas": self.n_replicas,
        }

    def describe(self) -> str:
        """A plain-text table of the fields, one line a field."""
        rows = [("per replica", f) for f in self.replica_fields] + [("global", f) for f in self.global_fields]
        return "\n".join(f"{kind:12s} {f.name:24s} [{f.low:g}, {f.high:g}]  {f.meaning}" for kind, f in rows)
