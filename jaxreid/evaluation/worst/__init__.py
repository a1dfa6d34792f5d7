"""The worst case of a retrieval test, by a fixed ensemble of attacks."""

from jaxreid.evaluation.worst.members import MemberSpec, Stage, amount_of_work, members_of
from jaxreid.evaluation.worst.running import Worst, worst_case
from jaxreid.evaluation.worst.state import forget

__all__ = ["MemberSpec", "Stage", "Worst", "amount_of_work", "forget", "members_of", "worst_case"]
