"""A comparison's run folder made ready to be replayed again, exactly as it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...policies.guards import GuardConfig
from ...traces.errors import HandrailError
from ..decision_log import read_decisions
from ..domains import domain_named
from ..report.run_folder import MARKER_KEY
from ..scenario import Prepared, prepare


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run folder says of itself.

    Attributes:
        folder: Where it is.
        content: ``run.json``.
        log: The guarded run's decision log, an Arrow table.
    """

    folder: Path
    content: dict[str, Any]
    log: Any

    @property
    def command(self) -> list[str]:
        """The command that made it."""
        return list(self.content["command"])


@dataclass(frozen=True, slots=True)
class Rerun:
    """What is replayed again.

    Attributes:
        record: The run folder's own words.
        prepared: Its trace on its system.
        guard: Its guard, as calibrated then.
        policy: What ``--policy`` takes.
    """

    record: RunRecord
    prepared: Prepared
    guard: GuardConfig
    policy: str


def read_run(folder: Path) -> RunRecord:
    """Read a run folder of ``handrail compare``.

    Raises:
        HandrailError: It is none, or holds no guarded run.
    """
    try:
        content = json.loads((folder / "run.json").read_bytes())
    except OSError as error:
        raise HandrailError(f"{folder}: no run.json can be read there ({error.strerror}); name a run folder") from None
    except ValueError:
        raise HandrailError(f"{folder / 'run.json'}: is no JSON; make the run anew") from None
    if not isinstance(content, dict) or content.get(MARKER_KEY) != "compare":
        raise HandrailError(f"{folder}: is no run folder of `handrail compare`; name one that is")
    return RunRecord(folder, content, read_decisions(folder).table)


def rerun_of(record: RunRecord, trace: Any, policy: str, say: Any = lambda _: None) -> Rerun:
    """Prepare the run anew.

    Args:
        record: The run folder.
        trace: Its trace, as read with the options of its command.
        policy: Its policy: a folder, or the name in its command.
        say: Told in a few words what takes time.

    Raises:
        HandrailError: Trace or policy is another one, or something went wrong in the run that no replay repeats.
    """
    content = record.content
    if "stress" in content:
        raise HandrailError(
            f"{record.folder}: was made under stress {content['stress']['name']}, which an audit cannot replay; "
            "audit a run without --stress"
        )
    if "isolation" in content:
        raise HandrailError(
            f"{record.folder}: was made under --isolate, whose time-outs no replay can repeat; audit a run without it"
        )
    wanted = content["trace"]["sha256"]
    if trace.content_hash != wanted:
        raise HandrailError(
            f"{trace.name}: is not the trace of {record.folder} (sha256 {wanted[:12]}..., this is "
            f"{trace.content_hash[:12]}...); give that one with --trace"
        )
    domain = domain_named(content.get("domain", "llm"))
    scenario = domain.scenario_type.model_validate(_scenario_fields(content["config"]))
    prepared = prepare(trace, scenario, say)
    made = domain.make_policy(policy, prepared.system, scenario.seed)
    ours, theirs = getattr(made, "policy_hash", None), content["policy"]["sha256"]
    if ours != theirs:
        raise HandrailError(f"{policy}: is not the policy of {record.folder}; give that one with --policy")
    return Rerun(record, prepared, GuardConfig.model_validate(content["guard"]), policy)


def _scenario_fields(config: dict[str, Any]) -> dict[str, Any]:
    """The scenario of ``run.json``; there an open end of a window is null."""
    window = config.get("window_s")
    if window is None:
        return config
    return {**config, "window_s": tuple(float("inf") if x is None else x for x in window)}
