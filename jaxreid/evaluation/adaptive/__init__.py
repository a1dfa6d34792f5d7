"""Attackers who know what stands behind a network, re-ranking or a detector, beside others."""

from jaxreid.evaluation.adaptive.running import adaptive_attack

__all__ = ["adaptive_attack"]
