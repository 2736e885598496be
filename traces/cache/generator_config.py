"""Parameters of the access generator: tenants, and the phases that each of them goes through again and again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Objects = Annotated[int, Field(ge=1, le=10**8)]
Step = Annotated[int, Field(ge=-(10**6), le=10**6)]

MAX_EXPECTED = 10**8
MAX_EXTENT = 10**8


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Phase(_Frozen):
    """What all phases have: their place in the tenant's ids, from ``first_id`` on, every ``spacing``-th of them."""

    objects: Objects
    first_id: Annotated[int, Field(ge=0, le=10**8)] = 0
    spacing: Annotated[int, Field(ge=1, le=10**6)] = 1
    duration_s: Positive = 60.0  # mean; see length_jitter
    rate_factor: Positive = 1.0  # on the tenant's rate


class Sequential(_Phase):
    """Runs of neighbouring objects, ascending, each from a random one on."""

    kind: Literal["sequential"] = "sequential"
    run_mean: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 64.0  # accesses a run, geometric


class Strided(_Phase):
    """The same with a constant distance between objects."""

    kind: Literal["strided"] = "strided"
    step: Step = 4
    run_mean: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 64.0


class Streams(_Phase):
    """Several runs at a time; each access belongs to one of them at random."""

    kind: Literal["streams"] = "streams"
    streams: Annotated[int, Field(ge=1, le=10_000)] = 4
    steps: Annotated[tuple[Step, ...], Field(min_length=1)] = (1,)  # each run draws one
    run_mean: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 64.0


class Chase(_Phase):
    """A walk along a chain that links all objects in a fixed random order and closes to a circle."""

    kind: Literal["chase"] = "chase"
    noise: Share = 0.0  # accesses to a random object instead of the next one


class Zipf(_Phase):
    """Independent accesses, the k-th most popular object in proportion to k ** -alpha; popular ids lie anywhere."""

    kind: Literal["zipf"] = "zipf"
    alpha: NotNegative = 0.9


class Uniform(_Phase):
    """Independent accesses to any object alike."""

    kind: Literal["uniform"] = "uniform"


class Loop(_Phase):
    """All objects in order of their ids, over and over; each time that the phase comes, from a random one on."""

    kind: Literal["loop"] = "loop"


Phase = Annotated[
    Sequential | Strided | Streams | Chase | Zipf | Uniform | Loop,
    Field(discriminator="kind"),
]


class AccessTenant(_Frozen):
    """One tenant. Its phases follow each other in the order given, and begin again after the last."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
    rate_per_s: Positive
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    length_jitter: Annotated[float, Field(ge=0, lt=1)] = 0.3  # a phase lasts duration_s times 1 -+ this, uniform
    arrival_cv: Positive = 1.0  # of the gaps between accesses while the tenant is on
    on_mean_s: Positive = 1.0  # of exponential times; the rate above is the mean over both
    off_mean_s: NotNegative = 0.0  # 0: always on
    write_share: Share = 0.0
    size_bytes: Annotated[int, Field(ge=1, le=2**40)] = 4096  # median over objects
    size_log_sigma: Annotated[float, Field(ge=0, le=5)] = 0.0  # of a lognormal over objects

    @property
    def extent(self) -> int:
        """Ids that the tenant's phases reach over."""
        return max(phase.first_id + (phase.objects - 1) * phase.spacing + 1 for phase in self.phases)

    @property
    def mean_rate_factor(self) -> float:
        """Of the phases, over time."""
        total_s = sum(phase.duration_s for phase in self.phases)
        return sum(phase.rate_factor * phase.duration_s for phase in self.phases) / total_s


def _bundled_tenants() -> tuple[AccessTenant, ...]:
    """Two that prefetching helps, by address and by association, and two that it does not."""
    scans = AccessTenant(
        name="scans",
        rate_per_s=9.0,
        on_mean_s=4.0,
        off_mean_s=4.0,
        size_bytes=65_536,
        phases=(
            Streams(objects=6_000, streams=4, steps=(1, 1, 2, 8), run_mean=80, duration_s=100),
            Sequential(objects=6_000, run_mean=200, duration_s=60),
            Strided(objects=6_000, step=16, run_mean=100, duration_s=60),
        ),
    )
    graph = AccessTenant(
        name="graph",
        rate_per_s=8.0,
        size_bytes=8_192,
        phases=(
            Chase(objects=900, spacing=64, noise=0.05, duration_s=140),
            Chase(objects=900, first_id=32, spacing=64, noise=0.05, duration_s=100),
        ),
    )
    web = AccessTenant(
        name="web",
        rate_per_s=15.0,
        write_share=0.1,
        size_bytes=16_384,
        size_log_sigma=0.8,
        phases=(
            Zipf(objects=4_000, spacing=16, alpha=1.2, duration_s=150),
            Zipf(objects=4_000, first_id=32_000, spacing=16, alpha=1.0, duration_s=80, rate_factor=1.5),
        ),
    )
    oltp = AccessTenant(
        name="oltp",
        rate_per_s=6.0,
        arrival_cv=2.0,
        write_share=0.3,
        size_bytes=8_192,
        phases=(
            Uniform(objects=5_000, spacing=8, duration_s=100),
            Zipf(objects=1_500, spacing=8, alpha=0.8, duration_s=100),
            Uniform(objects=5_000, spacing=8, duration_s=20, rate_factor=2.0),
        ),
    )
    return scans, graph, web, oltp


class AccessConfig(_Frozen):
    """Parameters of one generated trace. The defaults are those of the bundled trace."""

    duration_s: Positive = 1_500.0
    rate_factor: Positive = 1.0  # on the rates of all tenants
    backing: Literal["all", "seen"] = "all"
    tenants: Annotated[tuple[AccessTenant, ...], Field(min_length=1)] = Field(default_factory=_bundled_tenants)

    @model_validator(mode="after")
    def _consistent(self) -> AccessConfig:
        names = [tenant.name for tenant in self.tenants]
        if len(set(names)) != len(names):
            raise ValueError("tenants need names of their own")
        for tenant in self.tenants:
            if tenant.extent > MAX_EXTENT:
                raise ValueError(f"tenant {tenant.name} reaches over more than {MAX_EXTENT:,} ids")
        if self.expected_accesses > MAX_EXPECTED:
            raise ValueError(f"more than {MAX_EXPECTED:,} accesses would be drawn")
        return self

    @property
    def expected_accesses(self) -> float:
        """How many accesses are to be expected."""
        a_second = sum(tenant.rate_per_s * tenant.mean_rate_factor for tenant in self.tenants)
        return a_second * self.rate_factor * self.duration_s
