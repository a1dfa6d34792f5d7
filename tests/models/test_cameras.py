"""Embeddings that are told which cameras took their images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seeing
from flax import nnx

from jaxreid import attacks, models
from jaxreid.errors import InputError
from jaxreid.models import MEAN_CAMERA, NO_CAMERA, create, embedding
from jaxreid.models.cameras import camera_rows

TINY = models.ResNetConfig(depths=(1, 1), widths=(8, 8), expansion=2, stem="patch", stem_width=8)
CAMERAS = np.array([2, 0, 3, 0], np.int32)


@pytest.fixture(scope="module")
def model():
    return seeing.network()


# Of two programs: what is summed in which order is up to the compiler and its threads.
same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
# One compiled program for each shape.
features = jax.jit(lambda embed, x: embed(x))


def images(count=4, *, seed=0):
    return jax.random.uniform(jax.random.key(seed), (count, 16, 8, 3))


def sign_steps(embed, x):
    """Two steps of an attack: a gradient inside a scan."""

    def step(x, _):
        return x + 0.01 * jnp.sign(jax.grad(lambda x: jnp.sum(embed(x) ** 3))(x)), None

    return jax.lax.scan(step, x, length=2)[0]


def by_hand(model, x, rows):
    """The definition, with an embedding [12] for each image, in loops."""
    mean, std = (np.array(part) for part in (model.config.mean, model.config.std))
    x = (np.asarray(x, np.float64) - mean) / std
    backbone, found = model.backbone, []
    for image, row in zip(x, rows, strict=True):
        tokens = [
            np.tanh(0.3 * image[i : i + 4, j : j + 4].ravel() @ backbone.patches[...] + row)
            for i in range(0, 16, 4)
            for j in range(0, 8, 4)
        ]
        found.append(np.mean(tokens, axis=0) @ backbone.out[...])
    return np.stack(found)


def test_each_image_is_seen_by_its_own_camera(model):
    table = np.asarray(model.backbone.table[...])
    embed, x = embedding(model), images()
    assert (embed.cameras, embed.wanted_cameras) == (4, 4)
    told = embed.seen_by(CAMERAS)
    assert (told.cameras, told.wanted_cameras) == (4, 0)
    np.testing.assert_allclose(features(told, x), by_hand(model, x, table[CAMERAS]), atol=1e-5)
    for choice, row in (
        (1, table[1]),
        (np.int64(1), table[1]),
        ("mean", table.mean(0)),
        (MEAN_CAMERA, table.mean(0)),
        ("none", 0 * table[0]),
        (NO_CAMERA, 0 * table[0]),
    ):
        np.testing.assert_allclose(
            features(embed.seen_by(choice), x), by_hand(model, x, [row] * 4), atol=1e-5
        )
    # Told anew, it forgets.
    same(features(told.seen_by(1), x), features(embed.seen_by(1), x))


def test_mirror_images_have_the_camera_of_the_image(model):
    x, plain = images(), embedding(model).seen_by(CAMERAS)
    expected = (features(plain, x) + features(plain, x[:, :, ::-1])) / 2
    flipped = embedding(model, flip=True)
    np.testing.assert_allclose(features(flipped.seen_by(CAMERAS), x), expected, atol=1e-6)
    one = embedding(model).seen_by(2)
    expected = (features(one, x) + features(one, x[:, :, ::-1])) / 2
    np.testing.assert_allclose(features(flipped.seen_by(2), x), expected, atol=1e-6)


def test_the_first_camera_may_be_the_second_row(model):
    shifted = seeing.network(first_camera=1)
    embed, x = embedding(shifted), images()
    assert embed.cameras == 3
    expected = features(embedding(model).seen_by(CAMERAS + 1 - (CAMERAS == 3)), x)
    same(features(embed.seen_by(CAMERAS - (CAMERAS == 3)), x), expected)
    # Row 0 is no camera's: the mean is over the others.
    table = np.asarray(model.backbone.table[...])
    for choice, row in (("mean", table[1:].mean(0)), ("none", 0 * table[0])):
        np.testing.assert_allclose(
            features(embed.seen_by(choice), x), by_hand(model, x, [row] * 4), atol=1e-5
        )


@pytest.mark.parametrize("first", [0, 1])
def test_an_image_gets_the_mean_of_its_cameras_views(first):
    # Three cameras of two views each, in rows camera * 2 + view from the first one.
    shifted = seeing.network(6 + first, first_camera=first, views=2)
    embed, x = embedding(shifted), images()
    assert embed.cameras == 3
    table = np.asarray(shifted.backbone.table[...])
    of_camera = table[first:].reshape(3, 2, -1).mean(1)
    cameras = np.array([2, 0, 1, 0], np.int32)
    numbers = np.array([NO_CAMERA, 2, MEAN_CAMERA, 0], np.int32)
    mixed = [0 * table[0], of_camera[2], of_camera.mean(0), of_camera[0]]
    for choice, rows in (
        (cameras, of_camera[cameras]),
        (1, [of_camera[1]] * 4),
        ("mean", [of_camera.mean(0)] * 4),
        ("none", [0 * table[0]] * 4),
        (numbers, mixed),
    ):
        expected = by_hand(shifted, x, rows)
        np.testing.assert_allclose(features(embed.seen_by(choice), x), expected, atol=1e-5)
    with pytest.raises(InputError, match="from 0 to 2"):
        embed.seen_by(3)


def test_frozen_and_split_networks_are_told_as_well(model):
    x, expected = images(), features(embedding(model).seen_by(CAMERAS), images())
    for told in (
        embedding(model).frozen().seen_by(CAMERAS),
        embedding(model).seen_by(CAMERAS).frozen(),
        embedding(*nnx.split(model)).seen_by(CAMERAS),
    ):
        np.testing.assert_allclose(features(told, x), expected, atol=1e-6)
    assert embedding(model).frozen().wanted_cameras == 4


def test_cameras_of_another_batch_do_not_compile_again(model):
    apply, x = jax.jit(lambda embed, x: embed(x)), images()
    embed = embedding(model)
    for cameras in (CAMERAS, CAMERAS[::-1], jnp.asarray(CAMERAS)):
        np.testing.assert_allclose(
            apply(embed.seen_by(cameras), x), features(embed.seen_by(cameras), x), atol=1e-6
        )
    assert apply._cache_size() == 1
    # One for all images is another shape, whichever it is.
    for choice in (0, 3, "mean", "none"):
        apply(embed.seen_by(choice), x)
    assert apply._cache_size() == 2


@pytest.mark.slow
def test_told_embeddings_go_through_every_transformation(model):
    embed, x = embedding(model), images()
    expected = jax.jit(sign_steps)(embed.seen_by(CAMERAS), x)
    assert not np.allclose(expected, jax.jit(sign_steps)(embed.seen_by(1), x))

    def alone(embed, image, camera):
        return sign_steps(embed.seen_by(camera[None]), image[None])[0]

    mapped = jax.jit(jax.vmap(alone, (None, 0, 0)))(embed, x, CAMERAS)
    np.testing.assert_allclose(mapped, expected, atol=1e-6)
    rows = jax.pmap(alone, in_axes=(None, 0, 0))(embed, x, CAMERAS)
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    told = embed.seen_by(CAMERAS)
    carried, _ = jax.lax.scan(lambda embed, _: (embed, None), told, length=2)
    same(features(carried, x), features(told, x))
    gradient = jax.grad(lambda embed: jnp.sum(embed(x)), allow_int=True)(told)
    of_table = gradient.states[0].backbone.table[...]
    # Nobody was seen by camera 1.
    assert [bool(row.any()) for row in np.asarray(of_table)] == [True, False, True, True]


def test_an_attack_on_one_image_is_that_of_its_row(model):
    """Alone with its camera, or in the batch with theirs: the same adversarial image."""
    x, keys = images(), jax.random.split(jax.random.key(1), 4)
    push, pull = (np.asarray(jax.random.normal(jax.random.key(k), (4, 12))) for k in (2, 3))
    guides, embed = {"push": push, "pull": pull}, embedding(model)

    @jax.jit
    def run(embed, x, keys, guides):
        return attacks.fna(embed, x, **guides, key=keys, steps=3)

    together = run(embed.seen_by(CAMERAS), x, keys, guides)
    for row in range(4):
        own = slice(row, row + 1)
        mine = jax.tree.map(lambda part, own=own: part[own], guides)
        alone = run(embed.seen_by(CAMERAS[own]), x[own], keys[own], mine)
        np.testing.assert_allclose(alone, together[own], atol=1e-6)
    assert np.abs(run(embed.seen_by(1), x, keys, guides) - together).max() > 1 / 255


def test_networks_without_cameras_need_not_be_told():
    net = create(TINY, head="none", rngs=nnx.Rngs(0))
    embed = embedding(net)
    assert (net.cameras, embed.cameras, embed.wanted_cameras) == (0, 0, 0)
    assert embed.seen_by(CAMERAS) is embed.seen_by("mean") is embed


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        ([0, 1, 4, 0], r"integers \[B\] from 0 to 3"),
        (-3, r"integers \[B\] from 0 to 3"),
        ("true", "got 'true'"),
        ([0.0, 1.0], r"got float64 \(2,\)"),
        (np.zeros((2, 2), int), r"got int64 \(2, 2\)"),
        (True, "got bool"),
    ],
)
def test_cameras_that_are_none_are_refused(model, cameras, message):
    with pytest.raises(InputError, match=message):
        embedding(model).seen_by(cameras)


def test_what_was_not_told_is_refused(model):
    with pytest.raises(InputError, match=r"which of 4 cameras.*seen_by"):
        embedding(model)(images())
    with pytest.raises(InputError, match="cameras of 2 images, and got 4"):
        embedding(model).seen_by(CAMERAS[:2])(images())


def test_rows_of_the_table():
    table = jnp.arange(6.0).reshape(3, 2)
    found = camera_rows(table, jnp.array([2, MEAN_CAMERA, NO_CAMERA, 0, 3]))
    expected = [[4, 5], [2, 3], [0, 0], [0, 1], [np.nan, np.nan]]
    np.testing.assert_array_equal(found, expected)
    assert camera_rows(table, None).tolist() == [[0, 0]]
    with pytest.raises(InputError, match="int"):
        camera_rows(table, jnp.zeros(2))
    assert models.NO_CAMERA == -2
