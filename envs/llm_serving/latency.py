"""How long one iteration of an inference engine takes: a sum of piecewise-linear terms.

The form follows what measured engines do: a fixed part (weights are read once a step), a part in the tokens of the step
(dense layers), a part in the token pairs of prompt attention, a part in the number of decoding sequences, and a part in
the cached tokens that decoding reads. Every term is non-decreasing, so more work never takes less time. Being linear
between knots, a run of decode steps of an unchanged batch has a closed form.

`docs/latency.md` says where the coefficients in `profiles/` come from and how far they are off.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...traces.errors import HandrailError
from . import profiles

_PROFILES = resources.files(profiles)


@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """A non-decreasing piecewise-linear function on [0, inf).

    knots: (x, y) pairs, the first x 0, x strictly increasing, y non-decreasing and >= 0; linear between two knots.
    final_slope: slope beyond the last knot, >= 0.

    Raises HandrailError if the knots or the slope break these rules.
    """

    knots: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    final_slope: float = 0.0
    _xs: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _ys: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _slopes: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            knots = tuple((float(x), float(y)) for x, y in self.knots)
            final_slope = float(self.final_slope)
        except (TypeError, ValueError) as error:
            raise HandrailError(f"knots must be pairs of numbers and final_slope a number ({error})") from None
        if not knots:
            raise HandrailError("knots is empty; give at least [[0, 0]]")
        if not all(math.isfinite(value) for knot in knots for value in knot) or not math.isfinite(final_slope):
            raise HandrailError("knots and final_slope must be finite")
        if knots[0][0] != 0.0:
            raise HandrailError(f"the first knot must be at x = 0, not {knots[0][0]:g}")
        if knots[0][1] < 0.0:
            raise HandrailError(f"y must be >= 0, not {knots[0][1]:g} at x = 0")
        for (x0, y0), (x1, y1) in pairwise(knots):
            if x1 <= x0:
                raise HandrailError(f"knots must increase in x: {x1:g} follows {x0:g}")
            if y1 < y0:
                raise HandrailError(f"y must not fall: {y1:g} at x = {x1:g} follows {y0:g} at x = {x0:g}")
        if final_slope < 0.0:
            raise HandrailError(f"final_slope must be >= 0, not {final_slope:g}")
        slopes = tuple((y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in pairwise(knots))
        for name, value in (
            ("knots", knots),
            ("final_slope", final_slope),
            ("_xs", tuple(x for x, _ in knots)),
            ("_ys", tuple(y for _, y in knots)),
            ("_slopes", (*slopes, final_slope)),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def linear(cls, slope: float) -> PiecewiseLinear:
        """slope * x."""
        return cls(((0.0, 0.0),), slope)

    def __call__(self, x: float) -> float:
        """Value at x; x >= 0 is not checked, this is the simulator's inner loop."""
        i = bisect_right(self._xs, x) - 1
        return self._ys[i] + self._slopes[i] * (x - self._xs[i])

    def piece(self, x: float) -> tuple[float, float]:
        """(slope, next knot) of the piece [x_i, x_{i+1}) that holds x; the next knot is inf on the last piece."""
        i = bisect_right(self._xs, x)
        return self._slopes[i - 1], self._xs[i] if i < len(self._xs) else math.inf

    def at(self, x: float) -> tuple[float, float, float]:
        """(value, slope, next knot) at x: `__call__` and `piece` in one look-up."""
        xs = self._xs
        i = bisect_right(xs, x)
        slope = self._slopes[i - 1]
        return self._ys[i - 1] + slope * (x - xs[i - 1]), slope, xs[i] if i < len(xs) else math.inf

    def scaled(self, factor: float) -> PiecewiseLinear:
        """factor times this function, factor >= 0."""
        return PiecewiseLinear(tuple((x, y * factor) for x, y in self.knots), self.final_slope * factor)


_ZERO = PiecewiseLinear()
_TERMS = ("tokens", "attention", "sequences", "kv")


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """Time of one engine step in seconds, as the sum of a constant and four terms.

    base_s: s a step.
    tokens: s, of the tokens the step computes (prompt tokens and one for each decoding sequence).
    attention: s, of the token pairs of the step's prompt chunks, chunk * (context before + (chunk + 1) / 2) summed.
    sequences: s, of the decoding sequences, after padding to a CUDA graph's size.
    kv: s, of the context tokens that the step's decoding sequences attend to, summed.

    Raises HandrailError if base_s is negative or not finite.
    """

    base_s: float
    tokens: PiecewiseLinear = _ZERO
    attention: PiecewiseLinear = _ZERO
    sequences: PiecewiseLinear = _ZERO
    kv: PiecewiseLinear = _ZERO
    name: str = "custom"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.base_s) and self.base_s >= 0.0):
            raise HandrailError(f"base_s must be finite and >= 0, not {self.base_s!r}")

    def step_s(self, prefill_tokens: int, attention_work: float, decode_sequences: int, kv_tokens: float) -> float:
        """Seconds of a step. The terms are added in a fixed order, so that equal work gives equal bits."""
        return (
            self.base_s
            + self.tokens(prefill_tokens + decode_sequences)
            + self.attention(attention_work)
            + self.sequences(decode_sequences)
            + self.kv(kv_tokens)
        )

    def batch_s(self, decode_sequences: int) -> float:
        """The part of a decode-only step that does not depend on context: ``batch_s(n) + kv(c) == step_s(0, 0, n, c)``.

        Bit for bit, since `step_s` adds the context's term last.
        """
        return self.base_s + self.tokens(decode_sequences) + self.attention(0.0) + self.sequences(decode_sequences)

    @classmethod
    def constant(cls, step_s: float) -> LatencyModel:
        """Every step takes step_s, whatever it computes."""
        return cls(base_s=step_s, name="constant")

    @classmethod
    def proportional(cls, s_per_prompt_token: float) -> LatencyModel:
        """Every computed token takes s_per_prompt_token and nothing else costs: work is the prompt's length.

        A decoded token costs the same as a prompt token, so this is proportional to the prompt for one output token.
        """
        return cls(base_s=0.0, tokens=PiecewiseLinear.linear(s_per_prompt_token), name="proportional")

    @classmethod
    def from_profile(cls, name: str) -> LatencyModel:
        """The model of a profile that comes with handrail, such as "h100"; HandrailError if there is none."""
        return GpuProfile.named(name).latency

    @classmethod
    def from_json(cls, path: str | Path) -> LatencyModel:
        """The model in a profile file (the format of `profiles/h100.json`); HandrailError names file and field."""
        return GpuProfile.from_json(path).latency

    def scaled(self, factor: float) -> LatencyModel:
        """A model whose every step takes factor times as long; factor finite and >= 0.

        Exact for powers of two, so that a run at scaled times has the scaled timestamps bit for bit.
        """
        if not (math.isfinite(factor) and factor >= 0.0):
            raise HandrailError(f"factor must be finite and >= 0, not {factor!r}")
        terms = {term: getattr(self, term).scaled(factor) for term in _TERMS}
        return LatencyModel(base_s=self.base_s * factor, name=f"{self.name}*{factor:g}", **terms)


@dataclass(frozen=True, slots=True)
class GpuProfile:
    """A GPU serving one model: its latency model and the memory that bounds its KV cache.

    gpu, model: names; latency: the fitted step time; memory_bytes: the card's memory; weights_bytes: of the model;
    kv_bytes_per_token: of the KV cache; kv_capacity_tokens: KV tokens that fit by default.
    """

    gpu: str
    model: str
    latency: LatencyModel
    memory_bytes: int
    weights_bytes: int
    kv_bytes_per_token: int
    kv_capacity_tokens: int

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the profiles that come with handrail, sorted."""
        return tuple(sorted(f.name.removesuffix(".json") for f in _PROFILES.iterdir() if f.name.endswith(".json")))

    @classmethod
    def named(cls, name: str) -> GpuProfile:
        """The profile that comes with handrail under this name; HandrailError lists the names if there is none."""
        if name not in cls.names():
            raise HandrailError(f"no latency profile named {name!r}; there are: {', '.join(cls.names())}")
        return cls._parse((_PROFILES / f"{name}.json").read_text(encoding="utf-8"), f"profiles/{name}.json")

    @classmethod
    def from_json(cls, path: str | Path) -> GpuProfile:
        """Read a profile file; HandrailError names the file and the field that is wrong."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise HandrailError(f"{path}: cannot be read as a latency profile: {error}") from None
        return cls._parse(text, str(path))

    @classmethod
    def _parse(cls, text: str, where: str) -> GpuProfile:
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise HandrailError(f"{where}: not JSON: line {error.lineno}: {error.msg}") from None
        if not isinstance(values, Mapping):
            raise HandrailError(f"{where}: must hold one JSON object")
        gpu = _field(values, "gpu", str, where)
        terms = {term: _term(_field(values, term, Mapping, where), f"{where}: {term}") for term in _TERMS}
        base_s = _field(values, "base_s", (int, float), where)
        try:
            latency = LatencyModel(base_s=float(base_s), name=gpu, **terms)
        except HandrailError as error:
            raise HandrailError(f"{where}: {error}") from None
        return cls(
            gpu=gpu,
            model=_field(values, "model", str, where),
            latency=latency,
            memory_bytes=_positive(values, "memory_bytes", where),
            weights_bytes=_positive(values, "weights_bytes", where),
            kv_bytes_per_token=_positive(values, "kv_bytes_per_token", where),
            kv_capacity_tokens=_positive(values, "kv_capacity_tokens", where),
        )


def _field(values: Mapping[str, Any], key: str, kind: Any, where: str) -> Any:
    if key not in values:
        raise HandrailError(f"{where}: {key} is missing")
    value = values[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise HandrailError(f"{where}: {key} has the wrong type: {value!r}")
    return value


def _positive(values: Mapping[str, Any], key: str, where: str) -> int:
    value = _field(values, key, int, where)
    if value <= 0:
        raise HandrailError(f"{where}: {key} must be > 0, not {value}")
    return value


def _term(values: Mapping[str, Any], where: str) -> PiecewiseLinear:
    unknown = sorted(set(values) - {"knots", "final_slope"})
    if unknown:
        raise HandrailError(f"{where}: unknown field {unknown[0]!r}; a term has knots and final_slope")
    knots = _field(values, "knots", list, where)
    final_slope = _field(values, "final_slope", (int, float), where)
    try:
        return PiecewiseLinear(knots, final_slope)
    except HandrailError as error:
        raise HandrailError(f"{where}: {error}") from None
