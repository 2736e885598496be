"""What the world did: traces, their readers, generators, and where to fetch them. Imports nothing else of handrail."""

from .errors import HandrailError, TraceError
from .llm import RequestTrace, load_trace

__all__ = ["HandrailError", "RequestTrace", "TraceError", "load_trace"]
