"""Parameters of the Lublin-Feitelson workload model, as published.

U. Lublin and D. G. Feitelson, "The Workload on Parallel Supercomputers: Modeling the Characteristics of Rigid Jobs",
J. Parallel and Distributed Computing 63(11), 2003; the figures are those of the authors' public program (m_lublin99).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

# The three fits of the paper: batch jobs, interactive jobs, and all jobs where a log does not tell them apart.
PUBLISHED: dict[str, dict[str, float]] = {
    "batch": {
        "serial_share": 0.2927,
        "power_of_two_share": 0.6686,
        "size_log2_low": 1.2,
        "size_log2_medium_below": 2.0,
        "size_log2_high_below": 0.0,
        "size_low_share": 0.875,
        "run_shape_1": 6.57,
        "run_scale_1": 0.823,
        "run_shape_2": 639.1,
        "run_scale_2": 0.0156,
        "run_mix_slope": -0.003,
        "run_mix_base": 0.6986,
        "gap_shape": 6.0415,
        "gap_scale": 0.8531,
        "gap_all_day_factor": 1.0519,
        "day_shape": 6.1271,
        "day_scale": 5.2740,
    },
    "interactive": {
        "serial_share": 0.1541,
        "power_of_two_share": 0.625,
        "size_log2_low": 1.0,
        "size_log2_medium_below": 4.0,
        "size_log2_high_below": 1.5,
        "size_low_share": 0.705,
        "run_shape_1": 3.8351,
        "run_scale_1": 0.6605,
        "run_shape_2": 7.073,
        "run_scale_2": 0.6856,
        "run_mix_slope": -0.0118,
        "run_mix_base": 0.9156,
        "gap_shape": 6.5510,
        "gap_scale": 0.6621,
        "gap_all_day_factor": 0.9797,
        "day_shape": 8.9186,
        "day_scale": 3.6680,
    },
    "all": {
        "serial_share": 0.244,
        "power_of_two_share": 0.576,
        "size_log2_low": 0.8,
        "size_log2_medium_below": 2.5,
        "size_log2_high_below": 0.0,
        "size_low_share": 0.86,
        "run_shape_1": 4.2,
        "run_scale_1": 0.94,
        "run_shape_2": 312.0,
        "run_scale_2": 0.03,
        "run_mix_slope": -0.0054,
        "run_mix_base": 0.78,
        "gap_shape": 10.2303,
        "gap_scale": 0.4871,
        "gap_all_day_factor": 1.0225,
        "day_shape": 8.1737,
        "day_scale": 3.9631,
    },
}


class LublinConfig(BaseModel):
    """What the model draws from. ``kind`` fills every figure that is not given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["batch", "interactive", "all"] = "all"
    jobs: Annotated[int, Field(ge=1, le=20_000_000)] = 10_000
    processors: Annotated[int, Field(ge=4, le=1_000_000)] = 256  # the paper's machines have 128 and more
    start_hour: Annotated[float, Field(ge=0, lt=24)] = 0.0

    # Size: serial with serial_share, else 2 to the power of a two-stage uniform, which power_of_two_share of all jobs
    # round to a whole number. Its bounds: low, log2(processors) less medium_below and less high_below.
    serial_share: Share
    power_of_two_share: Share
    size_log2_low: NotNegative
    size_log2_medium_below: NotNegative
    size_log2_high_below: NotNegative
    size_low_share: Share  # of the lower of the two uniforms

    # Logarithm of the run time in seconds: of two gammas the first with probability slope x processors + base.
    run_shape_1: Positive
    run_scale_1: Positive
    run_shape_2: Positive
    run_scale_2: Positive
    run_mix_slope: float
    run_mix_base: float
    run_log_max: Positive = 12.0  # longer ones (162,754 s) are drawn again

    # Logarithm of the gap between arrivals in seconds at the mean intensity of the day, gamma; the shape was fitted to
    # the rush hours and is multiplied by a factor to stand for the whole day.
    gap_shape: Positive
    gap_scale: Positive
    gap_all_day_factor: Positive
    gap_log_max: Positive = 13.0  # longer ones (five days) are drawn again
    # Intensity by time of day: a gamma over half hours, counted from 5:30 on.
    day_shape: Positive
    day_scale: Positive

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {**PUBLISHED.get(str(values.get("kind", "all")), PUBLISHED["all"]), **values}

    @model_validator(mode="after")
    def _consistent(self) -> LublinConfig:
        if self.serial_share + self.power_of_two_share > 1:
            raise ValueError("serial_share and power_of_two_share are more than 1 together")
        if not self.size_log2_low <= self.size_log2_medium <= self.size_log2_high:
            raise ValueError("the bounds of size_log2 do not rise; give more processors or other bounds")
        return self

    @property
    def size_log2_high(self) -> float:
        return math.log2(self.processors) - self.size_log2_high_below

    @property
    def size_log2_medium(self) -> float:
        return math.log2(self.processors) - self.size_log2_medium_below

    @property
    def expected_jobs(self) -> float:
        return float(self.jobs)
