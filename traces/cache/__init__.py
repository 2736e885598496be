"""Access traces of caches: the canonical trace, its readers and writer, statistics, mixes and a generator.

Import ``AccessTrace`` and ``load_access_trace`` from here or from ``handrail.traces``, ``interleave``,
``permute_keys`` and ``writes_of`` from here.
"""

from .access_trace import AccessTrace
from .interleave import interleave
from .load import load_access_trace
from .permute import permute_keys
from .transforms import writes_of

__all__ = ["AccessTrace", "interleave", "load_access_trace", "permute_keys", "writes_of"]
