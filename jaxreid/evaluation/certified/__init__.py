"""What is certain of a ranking by smoothed features, whatever is done to a query in L2."""

from jaxreid.evaluation.certified.certifying import Asked, certify
from jaxreid.evaluation.certified.smoothing import Smoothed, smoothed

__all__ = ["Asked", "Smoothed", "certify", "smoothed"]
