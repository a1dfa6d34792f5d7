"""Can the figures of a model be trusted? Each reason to doubt them is looked for and measured."""

from jaxreid.evaluation.audit.auditing import Audited, audit_model, wanted_conditions

__all__ = ["Audited", "audit_model", "wanted_conditions"]
