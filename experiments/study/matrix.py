"""The matrix of a study expanded: settings (what is replayed) and cells (a setting and a policy)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .config import CLEAN, StudyConfig


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """One traffic on one system: what all arms of some cells share.

    Attributes:
        domain, trace, stress: Names.
        load: As in the config.
    """

    domain: str
    trace: str
    load_text: str
    stress: str

    @property
    def load(self) -> float | None:
        return None if self.load_text == "as-is" else float(self.load_text)

    @property
    def name(self) -> str:
        return "/".join((self.domain, self.trace, self.load_text, self.stress))


@dataclass(frozen=True, slots=True)
class CellPlan:
    """One cell: a policy in a setting.

    Attributes:
        setting: Where.
        policy: What ``--policy`` takes.
        block: Name of its block.
        role: What it shows.
        nulls: Whether the null guards run: for learned policies of blocks that have them.
        counted: Whether it may count.
    """

    setting: Setting
    policy: str
    block: str
    role: str
    nulls: bool
    counted: bool

    @property
    def name(self) -> str:
        return f"{self.setting.name}/{self.policy}"


@dataclass(slots=True)
class Group:
    """One replicate of a setting with all policies that meet it: the unit of work.

    Attributes:
        setting: What is replayed.
        replicate: Number of the replicate.
        placebos: Runs of the fallback with other tie-breaks.
        policies: Policy to whether its null guards run.
    """

    setting: Setting
    replicate: int
    placebos: int = 0
    policies: dict[str, bool] = field(default_factory=dict)


def load_text(load: float | None) -> str:
    """A load as names show it."""
    return "as-is" if load is None else f"{load:g}"


def cells_of(config: StudyConfig, only: str | None = None) -> list[CellPlan]:
    """All cells in the order of the config; a cell that two blocks name belongs to the first."""
    found: dict[str, CellPlan] = {}
    for domain, study in config.domains.items():
        if only is not None and domain != only:
            continue
        for block in study.blocks:
            for trace in block.traces:
                for load in block.loads:
                    for stress in block.stresses:
                        setting = Setting(domain, trace, load_text(load), stress)
                        for policy in block.policies:
                            nulls = block.nulls and policy in study.learned
                            plan = CellPlan(setting, policy, block.name, block.role, nulls, block.counted)
                            found.setdefault(plan.name, plan)
    return list(found.values())


def groups_of(config: StudyConfig, only: str | None = None) -> list[Group]:
    """All units of work; the largest first, so that workers end together."""
    found: dict[tuple[Setting, int], Group] = {}
    for cell in cells_of(config, only):
        study = config.domains[cell.setting.domain]  # type: ignore[index]
        block = next(b for b in study.blocks if b.name == cell.block)
        replicates = study.traces[cell.setting.trace].replicates.count
        for replicate in range(min(replicates, block.replicates or replicates)):
            group = found.setdefault((cell.setting, replicate), Group(cell.setting, replicate))
            group.placebos = max(group.placebos, block.placebos)
            group.policies[cell.policy] = group.policies.get(cell.policy, False) or cell.nulls
    return sorted(found.values(), key=lambda group: -runs_in(group))


def runs_in(group: Group) -> int:
    """About how many replays a unit of work takes."""
    return 1 + group.placebos + sum(2 + (4 if nulls else 0) for nulls in group.policies.values())


def is_clean(setting: Setting) -> bool:
    """Whether nothing goes wrong in it."""
    return setting.stress == CLEAN
