"""The public traces that handrail knows by name: where they come from, under which licence, how large they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .errors import TraceError

_MB = 1024**2


@dataclass(frozen=True)
class CatalogEntry:
    """One public trace.

    Attributes:
        name: What users call it.
        url: The canonical place.
        file_name: What it is kept as.
        format: The reader that must recognise it.
        rows: Fewest and most rows (failed requests among them) that the file is known to have.
        max_bytes: A download beyond this is cut off.
        licence: Licence of the data.
        source: Whom to cite.
        sha256: Checksums known beforehand, any of which is right; where none is known, that of the first fetch is kept
            beside the file and compared from then on.
    """

    name: str
    url: str
    file_name: str
    format: str
    rows: tuple[int, int]
    max_bytes: int
    licence: str
    source: str
    sha256: tuple[str, ...] = ()


_BURSTGPT = "https://github.com/HPMLL/BurstGPT"
_AZURE = "https://github.com/Azure/AzurePublicDataset/raw/master/data"
_MOONCAKE = "https://github.com/kvcache-ai/Mooncake/raw/main/FAST25-release/traces"

# No checksum is known beforehand: BurstGPT_1.csv alone exists with two kinds of line ends. Row counts are the published
# ones (part 2: 3,858.4 thousand).
CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        CatalogEntry(
            name="burstgpt-1",
            url=f"{_BURSTGPT}/raw/main/data/BurstGPT_1.csv",
            file_name="BurstGPT_1.csv",
            format="burstgpt",
            rows=(1_429_737, 1_429_737),
            max_bytes=256 * _MB,
            licence="CC-BY-4.0",
            source="HPMLL/BurstGPT, arXiv:2401.17644",
        ),
        CatalogEntry(
            name="burstgpt-2",
            url=f"{_BURSTGPT}/releases/download/v1.1/BurstGPT_2.csv",
            file_name="BurstGPT_2.csv",
            format="burstgpt",
            rows=(3_858_350, 3_858_450),
            max_bytes=512 * _MB,
            licence="CC-BY-4.0",
            source="HPMLL/BurstGPT release v1.1, arXiv:2401.17644",
        ),
        CatalogEntry(
            name="burstgpt-3",
            url=f"{_BURSTGPT}/releases/download/v2.0/BurstGPT_3.csv",
            file_name="BurstGPT_3.csv",
            format="burstgpt",
            rows=(5_344_021, 5_344_021),
            max_bytes=1024 * _MB,
            licence="CC-BY-4.0",
            source="HPMLL/BurstGPT release v2.0, arXiv:2401.17644",
        ),
        CatalogEntry(
            name="azure-2023-conv",
            url=f"{_AZURE}/AzureLLMInferenceTrace_conv.csv",
            file_name="AzureLLMInferenceTrace_conv.csv",
            format="azure",
            rows=(19_366, 19_366),
            max_bytes=16 * _MB,
            licence="CC-BY-4.0",
            source="Azure/AzurePublicDataset, arXiv:2311.18677",
        ),
        CatalogEntry(
            name="azure-2023-code",
            url=f"{_AZURE}/AzureLLMInferenceTrace_code.csv",
            file_name="AzureLLMInferenceTrace_code.csv",
            format="azure",
            rows=(8_819, 8_819),
            max_bytes=16 * _MB,
            licence="CC-BY-4.0",
            source="Azure/AzurePublicDataset, arXiv:2311.18677",
        ),
        CatalogEntry(
            name="mooncake-conversation",
            url=f"{_MOONCAKE}/conversation_trace.jsonl",
            file_name="mooncake_conversation_trace.jsonl",
            format="mooncake",
            rows=(12_031, 12_031),
            max_bytes=64 * _MB,
            licence="Apache-2.0",
            source="kvcache-ai/Mooncake FAST25-release, arXiv:2407.00079",
        ),
    )
}


def entry_named(name: str) -> CatalogEntry:
    """The catalog's entry of that name.

    Raises:
        TraceError: No such name.
    """
    if name not in CATALOG:
        raise TraceError(f"{name}: no trace of that name is known; take one of {', '.join(CATALOG)}")
    return CATALOG[name]


def data_folder() -> Path:
    """Where fetched traces are kept: ``$HANDRAIL_TRACES``, else ``handrail/traces`` in the user's cache folder."""
    chosen = os.environ.get("HANDRAIL_TRACES")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "handrail" / "traces"
