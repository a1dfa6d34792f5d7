"""The worst case of a retrieval test, by a fixed ensemble of attacks."""

from jaxreid.evaluation.worst.rounds import Round, Stage, rounds_of
from jaxreid.evaluation.worst.running import Worst, worst_case
from jaxreid.evaluation.worst.state import forget
from jaxreid.evaluation.worst.work import amount_of_work

__all__ = ["Round", "Stage", "Worst", "amount_of_work", "forget", "rounds_of", "worst_case"]
