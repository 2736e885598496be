"""What the world did: traces, their readers, generators, and where to fetch them. Imports nothing else of handrail."""

from .cache import AccessTrace, load_access_trace
from .cluster import JobTrace, NodeTable, load_job_trace, read_nodes
from .errors import HandrailError, TraceError
from .llm import RequestTrace, load_trace

__all__ = [
    "AccessTrace",
    "HandrailError",
    "JobTrace",
    "NodeTable",
    "RequestTrace",
    "TraceError",
    "load_access_trace",
    "load_job_trace",
    "load_trace",
    "read_nodes",
]
