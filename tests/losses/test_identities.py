"""Losses: golden numbers, gradients, degenerate batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid import losses
from jaxreid.errors import InputError
from jaxreid.losses import identities


@pytest.fixture(scope="module")
def z(golden):
    return np.load(golden / "losses.npz")


def test_golden_hardest_pairs(z):
    with jax.enable_x64(True):
        pairs = losses.hardest_pairs(z["features"], z["labels"])
        np.testing.assert_allclose(pairs.positive, z["hardest_positive"], rtol=1e-9)
        np.testing.assert_allclose(pairs.negative, z["hardest_negative"], rtol=1e-9)
        assert pairs.mask.all()


@pytest.mark.parametrize(
    ("margin", "loss", "gradient"),
    [(None, "soft", "grad_soft"), (10, "margin10", "grad_margin10")],
)
def test_golden_triplet_losses_and_gradients(z, margin, loss, gradient):
    def triplet(features):
        return losses.batch_hard_triplet(features, z["labels"], margin=margin)

    with jax.enable_x64(True):
        value, slope = jax.value_and_grad(triplet)(z["features"])
        np.testing.assert_allclose(value, z[loss], rtol=1e-9)
        np.testing.assert_allclose(slope, z[gradient], rtol=0, atol=1e-9)
    value, slope = jax.value_and_grad(triplet)(z["features"].astype(np.float32))
    np.testing.assert_allclose(value, z[loss], rtol=1e-5)
    np.testing.assert_allclose(slope, z[gradient], rtol=0, atol=1e-5)


def test_gradient_is_finite_at_zero_distance():
    features = np.ones((4, 3), np.float32)
    for margin in (None, 1.0):
        value, slope = jax.value_and_grad(losses.batch_hard_triplet)(
            features, np.array([1, 1, 2, 2]), margin=margin
        )
        np.testing.assert_allclose(value, np.log(2) if margin is None else 1, rtol=1e-6)
        np.testing.assert_array_equal(slope, 0)


def test_anchors_without_a_partner_do_not_count():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5, 3)).astype(np.float32)
    pairs = losses.hardest_pairs(features, np.array([1, 1, 2, 3, 3]))
    np.testing.assert_array_equal(pairs.mask, [True, True, False, True, True])
    loss = losses.batch_hard_triplet(features, np.array([1, 1, 2, 3, 3]))
    expected = np.mean(np.logaddexp(0, (pairs.positive - pairs.negative)[pairs.mask]))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    for labels in (np.arange(5), np.zeros(5, int)):
        value, slope = jax.value_and_grad(losses.batch_hard_triplet)(features, labels)
        assert value == 0
        np.testing.assert_array_equal(slope, 0)


def test_candidates_from_all_devices_give_the_loss_of_the_whole_batch(z):
    features, labels = z["features"].astype(np.float32), z["labels"]

    def shard_loss(features, labels):
        everyone = jax.lax.all_gather(features, "device", tiled=True)
        names = jax.lax.all_gather(labels, "device", tiled=True)
        loss = losses.batch_hard_triplet(
            features, labels, candidates=everyone, candidate_labels=names
        )
        return jax.lax.pmean(loss, "device")

    spread = jax.pmap(shard_loss, axis_name="device")(
        features.reshape(4, 3, -1), labels.reshape(4, 3)
    )
    np.testing.assert_allclose(spread, losses.batch_hard_triplet(features, labels), rtol=1e-6)


def test_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    labels = np.array([0, 2])
    np.testing.assert_allclose(
        losses.cross_entropy(logits, labels), -np.log([0.5, 0.8]).mean(), rtol=1e-6
    )
    smooth = losses.cross_entropy(logits, labels, label_smoothing=0.3)
    spread = -np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).mean()
    expected = 0.7 * -np.log([0.5, 0.8]).mean() + 0.3 * spread
    np.testing.assert_allclose(smooth, expected, rtol=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_pytorch(smoothing):
    import torch

    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 9)).astype(np.float32), rng.integers(0, 9, 6)
    theirs = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), label_smoothing=smoothing
    )
    ours = losses.cross_entropy(logits, labels, label_smoothing=smoothing)
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-6)


LOGITS, LABELS = np.zeros((3, 4), np.float32), np.array([0, 1, 3])
BAD = {
    "empty batch": (lambda: losses.cross_entropy(LOGITS[:0], LABELS[:0]), "logits are empty"),
    "empty batch of features": (
        lambda: losses.batch_hard_triplet(LOGITS[:0], LABELS[:0]),
        "features are empty",
    ),
    "label": (lambda: losses.cross_entropy(LOGITS, LABELS + 1), r"labels must lie in 0\.\.3"),
    "rows": (lambda: losses.cross_entropy(LOGITS, LABELS[:2]), "labels .* with B=3"),
    "float labels": (lambda: losses.cross_entropy(LOGITS, LABELS * 1.0), "must be integers"),
    "NaN": (lambda: losses.cross_entropy(LOGITS * np.nan, LABELS), "logits must be finite"),
    "smoothing": (
        lambda: losses.cross_entropy(LOGITS, LABELS, label_smoothing=2),
        "label_smoothing",
    ),
    "margin": (
        lambda: losses.batch_hard_triplet(LOGITS, LABELS, margin=-1),
        "margin must be at least 0",
    ),
    "candidates": (
        lambda: losses.batch_hard_triplet(LOGITS, LABELS, candidates=LOGITS),
        "go together",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def people(offset=0.0, scale=1.0, dtype=np.float32):
    """Eight people with four images each, closer to each other than to the others."""
    rng = np.random.default_rng(8)
    labels = np.repeat(np.arange(8), 4)
    features = rng.normal(size=(8, 6))[labels] + 0.7 * rng.normal(size=(32, 6))
    return ((features + offset) * scale).astype(dtype), labels


def exact_pairs(features, labels):
    """Hardest positive and negative distances in 80 bits, from differences."""
    wide = features.astype(np.longdouble)
    distance = np.sqrt(((wide[:, None] - wide[None]) ** 2).sum(-1))
    same = labels[:, None] == labels
    return np.where(same, distance, -1).max(1), np.where(same, np.inf, distance).min(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("offset", "scale"),
    [(0, 1), (1000, 1), (3000, 1), (1e5, 1), (0, 1e25), (1000, 1e-20), (0, 1e-23), (0, 1e37)],
)
def test_hardest_pairs_far_from_the_origin_large_and_small(offset, scale):
    features, labels = people(offset, scale)
    positive, negative = exact_pairs(features, labels)
    for function in (losses.hardest_pairs, jax.jit(losses.hardest_pairs)):
        pairs = function(features, labels)
        np.testing.assert_allclose(pairs.positive, positive, rtol=1e-6)
        np.testing.assert_allclose(pairs.negative, negative, rtol=1e-6)
    margin = float(positive.max())
    loss, slope = jax.value_and_grad(losses.batch_hard_triplet)(features, labels, margin=margin)
    np.testing.assert_allclose(loss, np.maximum(0, margin + positive - negative).mean(), rtol=1e-5)
    assert np.isfinite(slope).all()
    # Each anchor pulls and pushes with force 1, whatever the scale.
    assert 0.05 < np.abs(slope).max() < 1


def test_one_image_far_away_leaves_the_others_their_hardest_pairs():
    features, labels = people()
    features[0] = 1e6
    positive, negative = exact_pairs(features, labels)
    pairs = losses.hardest_pairs(features, labels)
    np.testing.assert_allclose(pairs.positive, positive, rtol=1e-6)
    np.testing.assert_allclose(pairs.negative, negative, rtol=1e-6)


@pytest.mark.slow
def test_float64_is_computed_in_float64():
    features, labels = people(1e9, dtype=np.float64)
    positive, negative = exact_pairs(features, labels)
    pairs = losses.hardest_pairs(features, labels)
    assert pairs.positive.dtype == np.float64
    np.testing.assert_allclose(pairs.positive, positive, rtol=1e-13)
    np.testing.assert_allclose(pairs.negative, negative, rtol=1e-13)
    loss = np.logaddexp(0, positive - negative).mean()
    for found in (losses.batch_hard_triplet(features, labels), losses.mean_triplet_loss(pairs)):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, loss, rtol=1e-13)
    logits = np.array([[1e300, 0.0], [1e-9, 0.0]])
    found = losses.cross_entropy(logits, np.array([0, 1]))
    np.testing.assert_allclose(found, np.log1p(np.exp(1e-9)) / 2, rtol=1e-15)


def test_traced_float64_beyond_float32_is_not_called_nan():
    """Concrete, it is computed in float64; where it cannot be, the reason is the true one."""
    from jaxreid.checks import check_features

    with pytest.raises(InputError, match=r"float32 cannot hold .* set jax_enable_x64"):
        check_features("features", np.full((2, 2), 1e300))


def test_a_soft_margin_of_a_large_gap():
    ones = np.ones(2, bool)
    near, far = np.array([1.0, 2.0], np.float32), np.array([1e6, 3e38], np.float32)
    hopeless = losses.mean_triplet_loss(losses.HardestPairs(far, near, ones))
    np.testing.assert_allclose(hopeless, 1.5e38, rtol=1e-6)
    assert losses.mean_triplet_loss(losses.HardestPairs(near, far, ones)) == 0
    slope = jax.grad(lambda p: losses.mean_triplet_loss(losses.HardestPairs(p, near, ones)))(far)
    np.testing.assert_array_equal(slope, 0.5)


def test_a_mean_of_distances_whose_sum_leaves_the_dtype():
    large = np.full(7, 3e38, np.float32)
    pairs = losses.HardestPairs(large, 0 * large, np.ones(7, bool))
    np.testing.assert_allclose(losses.mean_triplet_loss(pairs), 3e38, rtol=1e-6)
    np.testing.assert_allclose(losses.mean_triplet_loss(pairs, count=14.0), 1.5e38, rtol=1e-6)


@pytest.mark.parametrize("margin", [None, 0.5])
def test_what_is_masked_is_not_looked_at(margin):
    mask = np.array([True, False])

    def loss(positive):
        return losses.mean_triplet_loss(
            losses.HardestPairs(positive, np.zeros(2, np.float32), mask), margin=margin
        )

    value, slope = jax.value_and_grad(loss)(np.array([1, np.nan], np.float32))
    np.testing.assert_allclose(value, np.logaddexp(0, 1) if margin is None else 1.5, rtol=1e-6)
    assert np.isfinite(slope).all()
    assert slope[1] == 0


def test_cross_entropy_of_the_largest_logits():
    logits = np.array([[3e38, -3e38], [0, 1]], np.float32)
    value, slope = jax.value_and_grad(losses.cross_entropy)(logits, np.array([0, 1]))
    np.testing.assert_allclose(value, np.log1p(np.exp(-1)) / 2, rtol=1e-6)
    assert np.isfinite(slope).all()
    for smoothing in (0.0, 1.0):
        found = losses.cross_entropy(
            np.array([[1, 1]], np.float32), np.array([0]), label_smoothing=smoothing
        )
        np.testing.assert_allclose(found, np.log(2), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.optimized
def test_the_choice_never_holds_all_differences():
    rows, columns, width = 128, 256, 512
    x, y = np.ones((rows, width), np.float32), np.ones((columns, width), np.float32)
    memory = identities._squared_differences.lower(x, y).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4 * rows * columns * width / 20


def test_a_nan_where_it_cannot_be_refused_spoils_its_own_anchors_only():
    features, labels = people()
    spoilt = features.copy()
    spoilt[0, 0] = np.nan
    pairs = jax.jit(losses.hardest_pairs)(spoilt, labels)
    assert np.isnan(pairs.positive[:4]).all()
    np.testing.assert_array_equal(
        pairs.positive[4:], losses.hardest_pairs(features, labels).positive[4:]
    )
