"""What a fleet of LLM replicas is made of. Frozen, unknown keys refused, units in the names."""

from __future__ import annotations

import functools
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError, field_serializer, model_validator

from ...traces.errors import HandrailError
from .latency import GpuProfile, LatencyModel

Preset = Literal["vllm-v1", "vllm-v0"]

# Sizes that vLLM captures CUDA graphs for by default: 1, 2, 4, then multiples of 8 to 256, then of 16 to 512.
CUDAGRAPH_SIZES = (1, 2, 4, *range(8, 257, 8), *range(272, 513, 16))

_GIB = 1024**3

MAX_REPLICAS = 4096
"""Largest fleet that the command line's form makes; a larger count is taken for a slip."""


class ReplicaConfig(BaseModel):
    """One replica: a GPU (or a tensor-parallel group that acts as one) with its engine's settings.

    Fields left at ``None`` take the preset's and the GPU's defaults; `resolved` returns a config without ``None``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu: str = Field("h100", description="latency profile; see GpuProfile.names()")
    preset: Preset = "vllm-v1"
    latency: InstanceOf[LatencyModel] | None = Field(None, description="step times; default: the profile's")
    max_num_seqs: int | None = Field(None, ge=1, description="most sequences running at once")
    max_num_batched_tokens: int | None = Field(None, ge=1, description="token budget of a step [tokens]")
    kv_capacity_tokens: int | None = Field(None, ge=1, description="KV cache size [tokens]; default: GPU memory's")
    block_size: int = Field(16, ge=1, description="KV block [tokens]")
    max_model_len: int = Field(131_072, ge=2, description="longest prompt plus output [tokens]")
    async_scheduling: bool | None = Field(None, description="decide step n + 1 while step n runs; default: v1 only")
    prefix_caching: bool | None = Field(None, description="reuse KV blocks by content; default: v1 only")
    cudagraph_sizes: tuple[int, ...] = Field(CUDAGRAPH_SIZES, description="decode batches are padded up to these")
    step_overhead_s: float = Field(0.0, ge=0, allow_inf_nan=False, description="host time added to each step [s]")

    @model_validator(mode="after")
    def _consistent(self) -> ReplicaConfig:
        if self.preset == "vllm-v0" and (self.async_scheduling or self.prefix_caching):
            raise ValueError("preset vllm-v0 has neither async_scheduling nor prefix_caching; leave both out")
        if list(self.cudagraph_sizes) != sorted(set(self.cudagraph_sizes)) or min(self.cudagraph_sizes, default=1) < 1:
            raise ValueError("cudagraph_sizes must be positive and increasing")
        seqs, tokens = self.max_num_seqs, self.max_num_batched_tokens
        if seqs is not None and tokens is not None and tokens < seqs:
            raise ValueError(f"max_num_batched_tokens ({tokens}) must be at least max_num_seqs ({seqs})")
        return self

    @field_serializer("latency")
    def _latency_as_json(self, latency: LatencyModel | None) -> Any:
        if latency is None:
            return None
        terms = {t: getattr(latency, t) for t in ("tokens", "attention", "sequences", "kv")}
        return {"name": latency.name, "base_s": latency.base_s} | {
            name: {"knots": [list(k) for k in term.knots], "final_slope": term.final_slope}
            for name, term in terms.items()
        }

    def resolved(self) -> ReplicaConfig:
        """This config with every default filled in.

        Raises:
            HandrailError: There is no profile of that name and something is left to it.
        """
        needs_profile = self.latency is None or self.kv_capacity_tokens is None
        profile = GpuProfile.named(self.gpu) if needs_profile or self.gpu in GpuProfile.names() else None
        v1 = self.preset == "vllm-v1"
        # Server defaults of vLLM v1: 70 GiB and more other than A100: 8,192 and 1,024; others 2,048 and 256.
        large = profile is not None and profile.memory_bytes >= 70 * _GIB and not self.gpu.startswith("a100")
        seqs = (1024 if large else 256) if v1 else 256
        tokens = (8192 if large else 2048) if v1 else self.max_model_len
        if self.max_num_seqs is not None:
            seqs = self.max_num_seqs
            tokens = max(tokens, seqs)
        if self.max_num_batched_tokens is not None:
            tokens = self.max_num_batched_tokens
            seqs = seqs if self.max_num_seqs is not None else min(seqs, tokens)
        values = self.model_dump(exclude={"latency"}) | {
            "latency": self.latency if self.latency is not None else profile.latency,  # type: ignore[union-attr]
            "max_num_seqs": seqs,
            "max_num_batched_tokens": tokens,
            "kv_capacity_tokens": self.kv_capacity_tokens or profile.kv_capacity_tokens,  # type: ignore[union-attr]
            "async_scheduling": v1 if self.async_scheduling is None else self.async_scheduling,
            "prefix_caching": v1 if self.prefix_caching is None else self.prefix_caching,
        }
        return ReplicaConfig(**values)

    def pad_table(self) -> list[int]:
        """Padded decode batch for each number of decoding sequences 0 ... the largest captured size."""
        table, sizes = [0], self.cudagraph_sizes
        for size in sizes:
            table.extend([size] * (size - len(table) + 1))
        return table


class Outage(BaseModel):
    """A replica is down from ``down_s`` until ``up_s`` (simulated seconds)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replica: int = Field(ge=0)
    down_s: float = Field(ge=0, allow_inf_nan=False)
    up_s: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Outage:
        if self.up_s <= self.down_s:
            raise ValueError(f"up_s ({self.up_s}) must be after down_s ({self.down_s})")
        return self


class Slowdown(BaseModel):
    """The steps of a replica that start in [start_s, end_s) take ``factor`` times as long; overlapping ones multiply.

    A straggler; a cold start is one that begins when an outage's ``up_s`` is reached. A step that is under way when the
    slowdown begins or ends takes what it took.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    replica: int = Field(ge=0)
    start_s: float = Field(ge=0, allow_inf_nan=False)
    end_s: float = Field(gt=0, allow_inf_nan=False)
    factor: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Slowdown:
        if self.end_s <= self.start_s:
            raise ValueError(f"end_s ({self.end_s}) must be after start_s ({self.start_s})")
        return self


class KVCut(BaseModel):
    """A replica has only ``share`` of its KV blocks in [start_s, end_s); of overlapping cuts the deepest counts.

    The first step that is decided in the window gives the blocks up: free ones first, the least recently used content
    first; then requests are preempted as by any shortage of blocks, the last one first. What does not fit what is left
    waits for the cut to end; what does not fit the whole cache is rejected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    replica: int = Field(ge=0)
    start_s: float = Field(ge=0, allow_inf_nan=False)
    end_s: float = Field(gt=0, allow_inf_nan=False)
    share: float = Field(ge=0, le=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> KVCut:
        if self.end_s <= self.start_s:
            raise ValueError(f"end_s ({self.end_s}) must be after start_s ({self.start_s})")
        return self


class FleetConfig(BaseModel):
    """A fleet and what its router knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: tuple[ReplicaConfig, ...] = Field(min_length=1)
    outages: tuple[Outage, ...] = ()
    slowdowns: tuple[Slowdown, ...] = ()
    kv_cuts: tuple[KVCut, ...] = ()
    telemetry_delay_s: float = Field(0.1, ge=0, allow_inf_nan=False, description="age of what replicas report [s]")
    output_estimate: Literal["class-mean", "oracle"] = Field(
        "class-mean", description="what the router believes of output lengths: the class's mean so far, or the truth"
    )
    output_prior_tokens: float = Field(
        256.0, gt=0, allow_inf_nan=False, description="output estimate of a class before any of it ended [tokens]"
    )

    @model_validator(mode="after")
    def _outages_fit(self) -> FleetConfig:
        last_up: dict[int, float] = {}
        for outage in sorted(self.outages, key=lambda o: (o.replica, o.down_s)):
            if outage.replica >= len(self.replicas):
                raise ValueError(f"outage of replica {outage.replica}, but the fleet has {len(self.replicas)}")
            if outage.down_s < last_up.get(outage.replica, 0.0):
                raise ValueError(f"outages of replica {outage.replica} overlap at {outage.down_s} s")
            last_up[outage.replica] = outage.up_s
        for what, changes in (("slowdown", self.slowdowns), ("KV cut", self.kv_cuts)):
            for change in changes:
                if change.replica >= len(self.replicas):
                    raise ValueError(f"{what} of replica {change.replica}, but the fleet has {len(self.replicas)}")
        return self

    @classmethod
    def parse(cls, text: str, **fields: Any) -> FleetConfig:
        """A fleet from the command line's form ``h100:2,a100:2``; ``fields`` go to the fleet or to every replica.

        Raises:
            HandrailError: The text or a field is not understood.
        """
        fleet_fields = {k: v for k, v in fields.items() if k in cls.model_fields}
        replica_fields = {k: v for k, v in fields.items() if k not in cls.model_fields}
        replicas: list[ReplicaConfig] = []
        for part in text.split(","):
            gpu, _, count_text = part.strip().partition(":")
            if not gpu or not (count_text or "1").isdecimal() or int(count_text or "1") < 1:
                raise HandrailError(f"--replicas {text!r}: {part.strip()!r} is not GPU:COUNT, as in h100:2,a100:2")
            if len(replicas) + int(count_text or "1") > MAX_REPLICAS:
                raise HandrailError(
                    f"--replicas {text!r}: a fleet has at most {MAX_REPLICAS:,} replicas; ask for fewer"
                )
            if gpu not in GpuProfile.names() and "latency" not in replica_fields:
                names = ", ".join(GpuProfile.names())
                raise HandrailError(f"--replicas {text!r}: no profile for {gpu!r}; there are {names}")
            try:
                replicas += [ReplicaConfig(gpu=gpu, **replica_fields)] * int(count_text or "1")
            except ValidationError as error:
                raise HandrailError(f"replica {gpu}: {_first_line(error)}") from None
        try:
            return cls(replicas=tuple(replicas), **fleet_fields)
        except ValidationError as error:
            raise HandrailError(f"fleet: {_first_line(error)}") from None

    @functools.cached_property
    def resolved_replicas(self) -> tuple[ReplicaConfig, ...]:
        """The replicas with every default filled in."""
        return tuple(replica.resolved() for replica in self.replicas)


def _first_line(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
