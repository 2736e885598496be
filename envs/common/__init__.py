"""What all domains share: the clock, observation layouts, tails, episode windows and registration."""

from .layout import Field, Layout
from .registration import register_once
from .windows import SPLITS, EpisodeWindows

__all__ = ["SPLITS", "EpisodeWindows", "Field", "Layout", "register_once"]
