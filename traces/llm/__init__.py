"""Request traces of LLM serving: the canonical trace, its readers and writer, statistics and a generator.

Import ``RequestTrace`` and ``load_trace`` from here or from ``handrail.traces``.
"""

from .load import load_trace
from .request_trace import RequestTrace

__all__ = ["RequestTrace", "load_trace"]
