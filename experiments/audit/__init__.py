"""Counterfactual audits of guarded runs: both choices played over the same future, at a sample of decisions."""

from .audit import AuditOptions, AuditReport, audit_run
from .rerun import Rerun, read_run

__all__ = ["AuditOptions", "AuditReport", "Rerun", "audit_run", "read_run"]
