"""Clean and attacked retrieval: features of a split, and what an attack leaves of the ranking."""

from jaxreid.evaluation.extract import extract

__all__ = ["extract"]
