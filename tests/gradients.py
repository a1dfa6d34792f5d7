"""Whatever the gradient is, an ascent ends at an allowed image, and counts what it met."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.attacks import l2, linf

EPS, RADIUS = 4 / 255, 0.3
THREATS = {"linf": linf(EPS), "l2": l2(RADIUS)}
SHAPE = (3, 2, 2, 3)
_FINITE = (3.4e38, -3.4e38, 1e30, -1.0, 1.0, 0.25, 0.0, 1e-30, -2e-38, 1e-44)
_VALUES = np.array((np.nan, np.inf, -np.inf, *_FINITE), np.float32)


def leads_to_an_allowed_image(climb, norm, *, steps):
    """Holds an ascent to it.

    Args:
        climb: (gradient, images, start), each of SHAPE -> Ascent.
        norm: a key of THREATS, in which it climbs.
        steps: that it takes.
    """

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 2**31 - 1))
    def holds(seed):
        rng = np.random.default_rng(seed)
        field = rng.choice(_VALUES, SHAPE)
        images = np.clip(rng.uniform(-0.2, 1.2, SHAPE), 0, 1).astype(np.float32)
        start = rng.choice(np.array([-3e38, -1, 0, 0.5, 1, 3e38], np.float32), SHAPE)
        found = climb(field, images, start)
        result = np.asarray(found.images, np.float64)
        assert ((result >= 0) & (result <= 1)).all()
        change = result - images
        if norm == "linf":
            # One unit in the last place of a float32 below 1.
            assert np.abs(change).max() <= np.float32(EPS) + 2.0**-24
        else:
            assert np.linalg.norm(change.reshape(3, -1), axis=1).max() <= RADIUS + 1e-6
        finite = np.isfinite(field).all((1, 2, 3))
        np.testing.assert_array_equal(found.nonfinite_steps, np.where(finite, 0, steps))
        # XLA flushes subnormal numbers on CPUs: 1e-44 is zero.
        used = np.where(np.abs(field) < np.finfo(np.float32).tiny, 0, field)
        zero = finite & (used == 0).all((1, 2, 3))
        np.testing.assert_array_equal(found.zero_steps, np.where(zero, steps, 0))

    holds()
