"""Detectors by a threshold, and attacks that stay below it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seeing
from hypothesis import given
from hypothesis import strategies as st
from toy import random_embed, random_images

from jaxreid.attacks import adaptive_ascent, linf
from jaxreid.errors import InputError
from jaxreid.evaluation import through
from jaxreid.evaluation.defended import (
    detection_threshold,
    detector_text,
    inconsistency,
    undetected,
)
from jaxreid.models import embedding

EMBED, IMAGES = random_embed(), random_images(24)
SCORE = jax.jit(inconsistency(EMBED, "median"))
THRESHOLD = detection_threshold(np.asarray(SCORE(IMAGES)), 0.25)


def away(images):
    """Squared distance from the clean features of the first eight."""
    return jnp.sum((EMBED(images) - EMBED(IMAGES[:8])) ** 2, axis=1)


def test_the_distance_between_both_features():
    moved = np.asarray(EMBED(IMAGES)) - np.asarray(through(EMBED, "median")(IMAGES))
    np.testing.assert_allclose(SCORE(IMAGES), np.linalg.norm(moved, axis=1), rtol=1e-4)


@pytest.mark.slow
def test_a_network_that_sees_by_the_camera_is_told_for_both():
    embed, cameras = embedding(seeing.network()), np.array([3, 0, 1], np.int32)
    images = IMAGES[:3]
    together = inconsistency(embed, "flip", cameras=cameras)(images)
    alone = [
        inconsistency(embed.seen_by(c), "flip")(images[n : n + 1])[0] for n, c in enumerate(cameras)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    others = inconsistency(embed, "flip", cameras=cameras[::-1].copy())(images)
    assert not np.allclose(together, others, rtol=1e-2)


@given(
    scores=st.lists(st.integers(0, 20), min_size=1, max_size=40),
    rate=st.floats(0, 1, exclude_max=True),
)
def test_no_more_than_the_share_lies_above_and_no_lower_threshold_would_do(scores, rate):
    values = np.asarray(scores, np.float64)
    threshold = detection_threshold(values, rate)
    assert np.mean(values > threshold) <= rate + 1e-9
    lower = values[values < threshold]
    if len(lower):
        assert np.mean(values > lower.max()) > rate - 1e-9


def test_rates_that_have_no_exact_binary_form():
    assert detection_threshold(np.arange(100.0), 0.29) == 70


@pytest.mark.slow
def test_who_knows_of_the_detector_stays_below_it():
    def attacked(objective):
        start = IMAGES[:8] + jax.random.uniform(jax.random.key(0), IMAGES[:8].shape) / 255
        return adaptive_ascent(objective, IMAGES[:8], threat=linf(16 / 255), steps=20, start=start)

    blind = attacked(away).images
    knowing = attacked(undetected(away, SCORE, threshold=THRESHOLD, weight=10.0))
    hidden = np.asarray(knowing.kept[0].images)
    clean = np.asarray(SCORE(IMAGES[:8])) > THRESHOLD
    detected, found = (np.asarray(SCORE(x)) > THRESHOLD for x in (blind, hidden))
    assert detected.mean() > found.mean()
    assert not np.any(found & ~clean)
    score = np.stack([~found, away(jnp.asarray(hidden))], axis=1)
    np.testing.assert_allclose(knowing.kept[0].score, score, rtol=1e-4)
    assert np.mean(away(jnp.asarray(hidden))) > 0.3 * np.mean(away(blind))


def test_its_value_is_the_objective_less_the_excess():
    judged = undetected(away, SCORE, threshold=THRESHOLD, weight=2.0)(IMAGES[:8] * 0.9)
    excess = np.maximum(np.asarray(SCORE(IMAGES[:8] * 0.9)) - THRESHOLD, 0)
    expected = np.asarray(away(IMAGES[:8] * 0.9)) - 2 * excess
    np.testing.assert_allclose(judged.value, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inconsistency(EMBED, "noise:8"), "draws at random"),
        (lambda: inconsistency(EMBED, "blur"), "unknown defense"),
        (lambda: inconsistency(3, "median"), "embed"),
        (lambda: detector_text("resizepad:0.9"), "draws at random"),
        (lambda: detector_text("bits:9"), "from 1 to 8"),
        (lambda: detection_threshold(np.zeros(0), 0.1), "scores"),
        (lambda: detection_threshold(np.zeros(3, int), 0.1), "scores"),
        (lambda: detection_threshold(np.array([1.0, np.nan]), 0.1), "finite"),
        (lambda: detection_threshold(np.zeros(3), 1.0), "rate must lie"),
        (lambda: undetected(3, SCORE, threshold=1.0, weight=1.0), "objective"),
        (lambda: undetected(away, 3, threshold=1.0, weight=1.0), "score"),
        (lambda: undetected(away, SCORE, threshold=np.nan, weight=1.0), "threshold"),
        (lambda: undetected(away, SCORE, threshold=1.0, weight=-1.0), "weight"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
