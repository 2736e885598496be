"""Intervals for comparisons that are paired over replicates (disjoint windows, or realisations of a trace)."""

from .bootstrap import bootstrap_ratio_of_sums, simultaneous_log_ratios
from .interval import Interval
from .paired import geometric_mean_ratio, paired_mean_difference
from .student import student_t_quantile

__all__ = [
    "Interval",
    "bootstrap_ratio_of_sums",
    "geometric_mean_ratio",
    "paired_mean_difference",
    "simultaneous_log_ratios",
    "student_t_quantile",
]
