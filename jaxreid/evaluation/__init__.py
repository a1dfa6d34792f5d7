"""Clean and attacked retrieval: features of a split, and what an attack leaves of the ranking."""

from jaxreid.evaluation.attacking import Reading
from jaxreid.evaluation.conditions import canonical, conditions
from jaxreid.evaluation.extract import extract
from jaxreid.evaluation.matches import queries_without_match
from jaxreid.evaluation.names import attack_names
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.robustness import robustness
from jaxreid.evaluation.runs import describe_dataset, open_run, provenance_of
from jaxreid.evaluation.stored_images import Manifest, StoredImages, read_manifest
from jaxreid.evaluation.views import mirrored, unit_length
from jaxreid.evaluation.writing_images import write_images

__all__ = [
    "Manifest",
    "Reading",
    "RetrievalTest",
    "StoredImages",
    "attack_names",
    "canonical",
    "conditions",
    "describe_dataset",
    "extract",
    "mirrored",
    "open_run",
    "provenance_of",
    "queries_without_match",
    "read_manifest",
    "robustness",
    "unit_length",
    "write_images",
]
