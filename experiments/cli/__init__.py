"""The command line, ``handrail``: one file a command, put together in ``app``."""

from .app import main

__all__ = ["main"]
