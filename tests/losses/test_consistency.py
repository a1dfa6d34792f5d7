"""How far an attack moved features: the definitions, their gradients, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.losses import feature_shift, similarity_divergence

RNG = np.random.default_rng(0)
CLEAN = RNG.normal(size=(5, 4))
ATTACKED = CLEAN + 0.3 * RNG.normal(size=(5, 4))


def divergence(clean, attacked, temperature, candidates, own):
    """By its definition, row by row."""
    spread = np.mean([np.sum((c - candidates.mean(0)) ** 2) for c in candidates])

    def shares(row, own):
        scores = [-np.sum((row - c) ** 2) / temperature / spread for c in candidates]
        powers = np.exp(np.array(scores))
        powers[own] = 0
        return powers / powers.sum()

    total = 0.0
    for i, place in enumerate(own):
        p, q = shares(clean[i], place), shares(attacked[i], place)
        total += sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
    return total / len(own)


def test_the_shift_is_a_share_of_the_spread():
    # Points at 0 and 2 lie 1 from their mean; one of the two moved by 3.
    assert float(feature_shift(np.array([[0.0], [2.0]]), np.array([[3.0], [2.0]]))) == 4.5
    # Another unit and another origin change nothing.
    expected = feature_shift(CLEAN, ATTACKED)
    np.testing.assert_allclose(feature_shift(7 * CLEAN + 3, 7 * ATTACKED + 3), expected, rtol=1e-12)
    wider = np.concatenate([2 * CLEAN, -2 * CLEAN])
    about = np.sum((wider - wider.mean(0)) ** 2) / 10
    np.testing.assert_allclose(
        feature_shift(CLEAN, ATTACKED, candidates=wider),
        np.sum((ATTACKED - CLEAN) ** 2) / 5 / about,
        rtol=1e-12,
    )
    assert float(feature_shift(np.ones((3, 2)), np.ones((3, 2)))) == 0


@pytest.mark.parametrize("temperature", [0.05, 0.1, 2.0])
def test_the_divergence_is_that_of_its_definition(temperature):
    found = similarity_divergence(CLEAN, ATTACKED, temperature=temperature)
    expected = divergence(CLEAN, ATTACKED, temperature, CLEAN, range(5))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    others = np.concatenate([RNG.normal(size=(3, 4)), CLEAN])
    found = similarity_divergence(
        CLEAN,
        ATTACKED,
        temperature=temperature,
        candidates=others,
        own_positions=np.arange(3, 8),
    )
    np.testing.assert_allclose(
        found, divergence(CLEAN, ATTACKED, temperature, others, range(3, 8)), rtol=1e-9
    )


@pytest.mark.slow
def test_what_nothing_moved_costs_nothing():
    assert float(similarity_divergence(CLEAN, CLEAN)) == 0
    assert float(similarity_divergence(CLEAN[:1], ATTACKED[:1])) == 0
    # Two images resemble each other alone, attacked or not.
    assert float(similarity_divergence(CLEAN[:2], ATTACKED[:2])) == 0


@pytest.mark.slow
@pytest.mark.parametrize("loss", [feature_shift, similarity_divergence])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_gradients_are_those_of_finite_differences(loss, rows):
    clean, attacked = CLEAN[:rows], ATTACKED[:rows]
    with jax.enable_x64(True):
        found = jax.grad(lambda c, a: loss(c, a), argnums=(0, 1))(
            jnp.asarray(clean), jnp.asarray(attacked)
        )
        for argument, gradient in enumerate(found):
            direction = RNG.normal(size=clean.shape)

            def moved(t, argument=argument, direction=direction):
                both = [clean, attacked]
                both[argument] = both[argument] + t * direction
                return float(loss(*both))

            slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
            np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: feature_shift(CLEAN, ATTACKED[:3]), "attacked"),
        (
            lambda: feature_shift(CLEAN[:0], ATTACKED[:0]),
            "clean is empty: .*expected at least",
        ),
        (lambda: feature_shift(CLEAN, np.full((5, 4), np.nan)), "attacked"),
        (lambda: feature_shift(CLEAN, ATTACKED, candidates=CLEAN[:, :2]), "candidates"),
        (lambda: similarity_divergence(CLEAN, ATTACKED, temperature=0), "temperature"),
        (
            lambda: similarity_divergence(CLEAN, ATTACKED, own_positions=np.arange(1, 6)),
            r"own_positions must lie in 0\.\.4",
        ),
        (lambda: similarity_divergence(CLEAN, ATTACKED, own_positions=[0, 1]), "own_positions"),
    ],
)
def test_what_is_no_pair_of_features_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
