"""The domains that a policy may be made for."""

from __future__ import annotations

from typing import Literal, get_args

Domain = Literal["llm", "cluster", "prefetch"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)

DOMAIN_FOLDERS: dict[Domain, str] = {"llm": "llm_serving", "cluster": "cluster", "prefetch": "prefetch"}
"""Name of each domain's folder, here as in ``envs``."""
