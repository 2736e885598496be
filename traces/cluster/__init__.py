"""Job traces of clusters: the canonical trace, its readers and writer, statistics and generators.

Import ``JobTrace``, ``load_job_trace``, ``NodeTable`` and ``read_nodes`` from here or from ``handrail.traces``.
"""

from .job_trace import JobTrace
from .load import load_job_trace
from .openb import NodeTable, read_nodes

__all__ = ["JobTrace", "NodeTable", "load_job_trace", "read_nodes"]
