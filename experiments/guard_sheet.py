"""A guard on one sheet: what checks it has, in which order, at which cost and with which thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..policies.guards import GuardConfig, build_guard, load_guard
from .decision_log import guard_hash

if TYPE_CHECKING:
    from ..envs.common import Layout
    from .domains import Domain


def guard_for(domain: Domain, file: Path | None, system: Any) -> GuardConfig:
    """The guard of a file, or the domain's default guard on a system, fitted to it.

    Raises:
        HandrailError: The file is no guard.
    """
    return domain.fit_guard(domain.default_guard(system), system) if file is None else load_guard(file)


def guard_sheet(config: GuardConfig, layout: Layout) -> dict[str, Any]:
    """A guard as JSON has it.

    Keys: ``checks`` (a list in the order in which they run: ``name``, ``stage``, ``cost_us``, ``fault``,
    ``settings``), ``supervisor``, ``charge`` and ``guard_hash``.

    Args:
        config: The guard.
        layout: Layout of the observations that it reads.

    Raises:
        HandrailError: The guard does not fit the layout.
    """
    # Each check is built alone as well, to tell which config it came of.
    settings = {
        build_guard(config.model_copy(update={"checks": (one,)}), layout).checks[0].name: one for one in config.checks
    }
    guard = build_guard(config, layout)
    return {
        "checks": [
            {
                "name": check.name,
                "stage": check.stage,
                "cost_us": check.cost_us,
                "fault": check.fault,
                "settings": settings[check.name].model_dump(mode="json", exclude={"check"}),
            }
            for check in guard.checks
        ],
        "supervisor": config.supervisor.model_dump(mode="json"),
        "charge": guard.charge,
        "guard_hash": guard_hash(config),
    }
