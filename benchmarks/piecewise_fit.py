"""Least-squares fit of the latency model's form: a constant and four non-decreasing piecewise-linear terms.

Every piece of a term is a feature with a coefficient >= 0 (its slope), so the fit is a non-negative least squares whose
residuals are relative errors. Knots are chosen from a list of candidates by backward elimination: the one whose loss
costs least goes first, until every term has few enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import nnls

TERMS = ("tokens", "attention", "sequences", "kv")


@dataclass(frozen=True)
class Steps:
    """Measured or estimated engine steps, one row each: what a step holds and how long it takes.

    kind: str array ("decode", "prefill", "mixed"); prefill_tokens, decode_sequences, kv_tokens: counts; attention_work:
    token pairs of the prompt chunks; seconds: duration.
    """

    kind: np.ndarray
    prefill_tokens: np.ndarray
    attention_work: np.ndarray
    decode_sequences: np.ndarray
    kv_tokens: np.ndarray
    seconds: np.ndarray

    @classmethod
    def from_rows(cls, rows: list[tuple[str, float, float, float, float, float]]) -> Steps:
        """Rows of (kind, prefill_tokens, attention_work, decode_sequences, kv_tokens, seconds)."""
        kind, *numbers = zip(*rows, strict=True)
        return cls(np.array(kind), *(np.array(column, dtype=float) for column in numbers))

    def select(self, mask: np.ndarray) -> Steps:
        return Steps(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))

    def arguments(self) -> dict[str, np.ndarray]:
        """The argument of each term of the model."""
        return {
            "tokens": self.prefill_tokens + self.decode_sequences,
            "attention": self.attention_work,
            "sequences": self.decode_sequences,
            "kv": self.kv_tokens,
        }


@dataclass(frozen=True)
class Fit:
    """base_s and, by term, the knots' x (first 0) and one slope a piece, the last one beyond the last knot."""

    base_s: float
    knots: dict[str, tuple[float, ...]]
    slopes: dict[str, tuple[float, ...]]

    def predict(self, steps: Steps) -> np.ndarray:
        """Seconds of every step."""
        total = np.full(len(steps.seconds), self.base_s)
        for term, x in steps.arguments().items():
            total += _pieces(x, self.knots[term]) @ np.array(self.slopes[term])
        return total

    def to_json(self) -> dict:
        """The fields of a profile that make its latency model, to six digits, so that every machine writes the same."""
        fields: dict = {"base_s": _six_digits(self.base_s)}
        for term in TERMS:
            xs, slopes = self.knots[term], self.slopes[term]
            ys = np.concatenate(([0.0], np.cumsum(np.diff(xs) * slopes[:-1])))
            fields[term] = {
                "knots": [[float(x), _six_digits(y)] for x, y in zip(xs, ys, strict=True)],
                "final_slope": _six_digits(slopes[-1]),
            }
        return fields


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")


def _pieces(x: np.ndarray, knots: tuple[float, ...]) -> np.ndarray:
    """How far x reaches into every piece: shape (rows, pieces)."""
    ends = [*pairwise(knots), (knots[-1], np.inf)]
    return np.stack([np.clip(x - low, 0.0, high - low) for low, high in ends], axis=1)


class _Problem:
    """The least squares over all candidate pieces, reduced once to a small triangle that every trial works on.

    Dropping a knot joins two pieces into one, whose feature is the sum of theirs: a sum of columns of the triangle.
    """

    def __init__(self, steps: Steps, candidates: dict[str, tuple[float, ...]]) -> None:
        self.candidates = candidates
        columns = [np.ones((len(steps.seconds), 1))]
        columns += [_pieces(x, candidates[term]) for term, x in steps.arguments().items()]
        # Each kind of step weighs the same, however many rows the grid gave it.
        counts = dict(zip(*np.unique(steps.kind, return_counts=True), strict=True))
        weight = np.sqrt([1.0 / counts[kind] for kind in steps.kind])
        scaled = np.concatenate(columns, axis=1) * (weight / steps.seconds)[:, None]
        triangle = np.linalg.qr(np.column_stack((scaled, weight)), mode="r")
        self._features, self._target = triangle[:, :-1], triangle[:, -1]

    def solve(self, knots: dict[str, tuple[float, ...]]) -> tuple[float, Fit]:
        """Norm of the residual and the fit with these knots, a subset of the candidates."""
        starts, at = [0], 1
        for term in TERMS:
            starts += [at + self.candidates[term].index(knot) for knot in knots[term]]
            at += len(self.candidates[term])
        joined = np.add.reduceat(self._features, starts, axis=1)
        size = np.linalg.norm(joined, axis=0)
        size[size == 0.0] = 1.0
        coefficients, residual = nnls(joined / size, self._target)
        coefficients = [float(value) for value in coefficients / size]
        slopes, at = {}, 1
        for term in TERMS:
            slopes[term] = tuple(coefficients[at : at + len(knots[term])])
            at += len(knots[term])
        return residual, Fit(coefficients[0], dict(knots), slopes)


def fit(steps: Steps, candidates: dict[str, tuple[float, ...]], most: dict[str, int]) -> Fit:
    """Fit to steps with at most most[term] knots a term, chosen from candidates[term], whose first is 0."""
    problem = _Problem(steps, candidates)
    knots = dict(candidates)
    while any(len(knots[term]) > most[term] for term in TERMS):
        trials = []
        for term in TERMS:
            if len(knots[term]) > most[term]:
                for knot in knots[term][1:]:
                    fewer = knots | {term: tuple(k for k in knots[term] if k != knot)}
                    trials.append((problem.solve(fewer)[0], term, knot, fewer))
        knots = min(trials, key=lambda trial: trial[:3])[3]
    return problem.solve(knots)[1]


def relative_errors(fitted: Fit, steps: Steps) -> dict[str, dict[str, float]]:
    """By kind of step: rows, median, p90 and maximum of the absolute relative error."""
    error = np.abs(fitted.predict(steps) / steps.seconds - 1.0)
    result = {}
    for kind in np.unique(steps.kind):
        of_kind = error[steps.kind == kind]
        median, p90 = np.quantile(of_kind, [0.5, 0.9])
        result[str(kind)] = {
            "rows": len(of_kind),
            "median": round(float(median), 4),
            "p90": round(float(p90), 4),
            "max": round(float(of_kind.max()), 4),
        }
    return result
