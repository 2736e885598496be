"""What every prefetcher is: it watches one tenant's accesses and suggests ids to fetch before they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

from ..layers import fork_containers


class Prefetcher(ABC):
    """Watches one stream of accesses.

    Suggestions are ids, most worthwhile first, distinct, without the accessed id itself. The caller leaves out what is
    in the cache or under way already, and what does not exist behind it. A prefetcher suggests at every access all that
    it would want fetched now, whether or not it suggested the same before; the first ``degree`` are taken.

    Args:
        degree: Most suggestions at an access.

    Attributes:
        name: Its name on the command line.
        demand_driven: Whether suggestions depend on the sequence of accesses alone. Such a prefetcher ignores ``hit``,
            hears nothing back, and its suggestions for a whole trace can be worked out beforehand.
        knows_future: Whether it is an oracle.
    """

    name: ClassVar[str]
    demand_driven: ClassVar[bool] = True
    knows_future: ClassVar[bool] = False

    def __init__(self, degree: int) -> None:
        self.degree = degree

    def fork(self) -> Self:
        """A prefetcher that goes on alike and apart. Containers hold what never changes; where they hold other things
        a prefetcher forks those itself."""
        return fork_containers(self)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self.fork()

    @abstractmethod
    def access(self, key: int, hit: bool) -> Sequence[int]:
        """Take in the next demand access; return at most ``degree`` suggestions.

        Args:
            key: The accessed id.
            hit: Whether it was in the cache (neither fetched nor waited for).
        """

    def note_filled(self, key: int, prefetched: bool) -> None:  # noqa: B027  (a hook that most leave empty)
        """A fetch of the id has arrived, as a prefetch or on demand. Not called where ``demand_driven``."""

    def note_used(self, key: int, late: bool) -> None:  # noqa: B027  (a hook that most leave empty)
        """A prefetched id was accessed for the first time, in the cache or (late) under way; before `access`."""

    def note_evicted(self, key: int) -> None:  # noqa: B027  (a hook that most leave empty)
        """A prefetched id left the cache without ever being accessed. Not called where ``demand_driven``."""
