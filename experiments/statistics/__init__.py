"""Intervals for comparisons that are paired over replicates (disjoint windows, or realisations of a trace)."""

from .bootstrap import bootstrap_ratio_of_sums, simultaneous_log_ratios
from .interval import Interval
from .max_t import max_t_intervals
from .paired import geometric_mean_ratio, paired_mean_difference
from .pooled import log_counts, pooled_ratio
from .student import student_t_quantile
from .sums import ratio_of_cell_sums

__all__ = [
    "Interval",
    "bootstrap_ratio_of_sums",
    "geometric_mean_ratio",
    "log_counts",
    "max_t_intervals",
    "paired_mean_difference",
    "pooled_ratio",
    "ratio_of_cell_sums",
    "simultaneous_log_ratios",
    "student_t_quantile",
]
