"""Small access traces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handrail.traces import AccessTrace


def accesses(n: int = 600, seed: int = 1, *, tenants: bool = False, gap_s: float = 0.01) -> AccessTrace:
    """Poisson arrivals: half of them go through the ids in order, half draw from 60 popular ids.

    With ``tenants`` the two halves are two tenants.
    """
    rng = np.random.default_rng(seed)
    scans = rng.random(n) < 0.5
    key = np.where(scans, 1000 + np.cumsum(scans), np.minimum(rng.geometric(0.05, n), 60))
    return AccessTrace(
        arrival_s=np.cumsum(rng.exponential(gap_s, n)),
        key=key,
        size_bytes=np.full(n, 4096),
        tenant=np.where(scans, 0, 1) if tenants else None,
        tenant_names=("scan", "popular") if tenants else (),
        name="accesses",
    )


def write_csv(path: Path, trace: AccessTrace) -> Path:
    """The trace as CSV, with its tenants where it has some."""
    lines = ["arrival_s,key,size_bytes" + (",tenant" if trace.tenant is not None else "")]
    for k in range(len(trace)):
        tenant = f",{trace.tenant_names[trace.tenant[k]]}" if trace.tenant is not None else ""
        lines.append(f"{trace.arrival_s[k]:.6f},{trace.key[k]},{trace.size_bytes[k]}{tenant}")
    path.write_text("\n".join(lines) + "\n")
    return path
