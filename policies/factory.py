"""From what stands after ``--policy`` to a policy."""

from __future__ import annotations

from pathlib import Path

from ..envs.common import Layout
from ..traces.errors import HandrailError
from . import sabotage
from .artifact import CARD_FILE, LearnedPolicy, load_policy
from .heuristics.llm_serving import HEURISTICS, RoutingHeuristic, make_heuristic

BUNDLED_FOLDER = Path(__file__).parent / "pretrained" / "llm_serving"


def make_policy(
    spec: str | Path, layout: Layout, seed: int = 0
) -> LearnedPolicy | RoutingHeuristic | sabotage.NotANumber:
    """Build the policy that ``spec`` names: ``bundled``, a heuristic, ``sabotage:KIND`` or a policy folder.

    A name goes before a folder of the same name; write ``./NAME`` for the folder.

    Raises:
        HandrailError: It is none of these, or the folder cannot be loaded.
    """
    text = str(spec)
    if text == "bundled":
        if not (BUNDLED_FOLDER / CARD_FILE).is_file():
            raise HandrailError("no policy is bundled with this installation; train one and give its folder")
        return load_policy(BUNDLED_FOLDER, layout)
    if text.startswith(sabotage.PREFIX):
        return sabotage.make_sabotage(text, layout, seed)
    if isinstance(spec, str) and text in HEURISTICS:
        return make_heuristic(text, layout, seed)
    if text and Path(spec).exists():
        return load_policy(spec, layout)
    raise HandrailError(
        f"--policy {text or repr(text)}: no such policy folder, and no policy of that name; choose a folder that holds "
        f"{CARD_FILE}, "
        f"bundled, {', '.join(HEURISTICS)}, or {sabotage.PREFIX}{'|'.join(sabotage.SABOTAGES)}"
    )
