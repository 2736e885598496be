"""From what stands after ``--policy`` to a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..envs.common import Layout
from ..traces.errors import HandrailError
from . import sabotage
from .artifact import CARD_FILE, load_policy
from .domains import DOMAIN_FOLDERS, Domain
from .heuristics import heuristics_of, make_heuristic


def bundled_folder(domain: Domain = "llm") -> Path:
    """Where the policy that comes with handrail stands for a domain, whether or not there is one."""
    return Path(__file__).parent / "pretrained" / DOMAIN_FOLDERS[domain]


def make_policy(spec: str | Path, layout: Layout, seed: int = 0, domain: Domain = "llm", **settings: Any) -> Any:
    """Build the policy that ``spec`` names: ``bundled``, a heuristic, ``sabotage:KIND`` or a policy folder.

    A name goes before a folder of the same name; write ``./NAME`` for the folder. ``settings`` are those of the
    domain's heuristics; a policy folder takes none.

    Raises:
        HandrailError: It is none of these, or the folder cannot be loaded.
    """
    text = str(spec)
    if text == "bundled":
        folder = bundled_folder(domain)
        if not (folder / CARD_FILE).is_file():
            raise HandrailError("no policy is bundled with this installation; train one and give its folder")
        return load_policy(folder, layout, domain)
    if text.startswith(sabotage.PREFIX):
        return sabotage.make_sabotage(text, layout, seed, domain, **settings)
    heuristics = heuristics_of(domain)
    if isinstance(spec, str) and text in heuristics:
        return make_heuristic(text, layout, seed, domain=domain, **settings)
    if text and Path(spec).exists():
        return load_policy(spec, layout, domain)
    raise HandrailError(
        f"--policy {text or repr(text)}: no such policy folder, and no policy of that name; choose a folder that holds "
        f"{CARD_FILE}, "
        f"bundled, {', '.join(heuristics)}, or {sabotage.PREFIX}{'|'.join(sabotage.KINDS)}"
    )
