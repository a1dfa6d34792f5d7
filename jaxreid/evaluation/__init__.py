"""Clean and attacked retrieval: features of a split, and what an attack leaves of the ranking."""

from jaxreid.evaluation.adaptive import adaptive_attack
from jaxreid.evaluation.certified import Asked, Smoothed, certify, smoothed
from jaxreid.evaluation.corrupted import under_corruptions
from jaxreid.evaluation.defended import DEFENSES, expected, through
from jaxreid.evaluation.embeds import mirrored, unit_length
from jaxreid.evaluation.features import LoaderSettings, extract
from jaxreid.evaluation.grid import canonical, conditions
from jaxreid.evaluation.learned import learned_conditions
from jaxreid.evaluation.naming import attack_names
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.runs import describe_dataset, held_by_run, open_run, provenance_of
from jaxreid.evaluation.scoring import with_match
from jaxreid.evaluation.stored_images import Manifest, StoredImages, read_manifest
from jaxreid.evaluation.surrogates import joined, surrogate_test
from jaxreid.evaluation.sweep import robustness
from jaxreid.evaluation.universal import (
    Perturbation,
    Recipe,
    learn_perturbation,
    load_perturbation,
    save_perturbation,
)
from jaxreid.evaluation.verification import Verifier
from jaxreid.evaluation.worst import Worst, worst_case
from jaxreid.evaluation.writing_images import write_images

__all__ = [
    "DEFENSES",
    "Asked",
    "LoaderSettings",
    "Manifest",
    "Perturbation",
    "Recipe",
    "RetrievalTest",
    "Smoothed",
    "StoredImages",
    "Verifier",
    "Worst",
    "adaptive_attack",
    "attack_names",
    "canonical",
    "certify",
    "conditions",
    "describe_dataset",
    "expected",
    "extract",
    "held_by_run",
    "joined",
    "learn_perturbation",
    "learned_conditions",
    "load_perturbation",
    "mirrored",
    "open_run",
    "provenance_of",
    "read_manifest",
    "robustness",
    "save_perturbation",
    "smoothed",
    "surrogate_test",
    "through",
    "under_corruptions",
    "unit_length",
    "with_match",
    "worst_case",
    "write_images",
]
