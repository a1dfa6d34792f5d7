"""Checks of values while a compiled program runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import random_embed, random_images

from jaxreid import attacks
from jaxreid.attacks import AttackInput
from jaxreid.errors import InputError

EMBED, IMAGES, KEY = random_embed(), random_images(4), jax.random.key(0)
PUSH = EMBED(random_images(4, seed=1))
ONE = {"steps": 1}


def self_metric(images):
    return attacks.sma(EMBED, images, KEY, steps=1)


TRANSFORMED = {
    "jit": jax.jit(self_metric),
    "vmap": lambda x: jax.vmap(self_metric)(x[None]),
    "vmap of jit": lambda x: jax.vmap(jax.jit(self_metric))(x[None]),
    "grad": jax.jit(jax.grad(lambda x: self_metric(x).sum())),
    "scan": jax.jit(lambda x: jax.lax.scan(lambda c, _: (c, self_metric(x)), 0, length=2)[1]),
    "pmap": lambda x: jax.pmap(self_metric)(x[:, None]),
}
WRONG = {
    "images of 0 to 255": (lambda x: 255 * x, r"images must lie in \[0, 1\]"),
    # Of several refusals any may be heard first.
    "NaN images": (lambda x: x.at[0, 0, 0, 0].set(jnp.nan), "images must lie|must be finite|NaN"),
}


@pytest.mark.parametrize("change", WRONG)
@pytest.mark.parametrize("how", TRANSFORMED)
def test_images_are_refused_under_every_transformation(how, change, kind):
    attack, (spoil, message) = TRANSFORMED[how], WRONG[change]
    assert np.isfinite(np.asarray(attack(IMAGES))).all()
    with pytest.raises((jax.errors.JaxRuntimeError, InputError), match=message):
        jax.block_until_ready(attack(spoil(IMAGES)))
    kind(f"{change}, under {how}", "JaxRuntimeError: ... InputError: images must lie in [0, 1] ...")
    # Later calls are as good as ever.
    assert np.isfinite(np.asarray(attack(IMAGES))).all()


def masked(features, mask):
    return attacks.ifgsm(EMBED, IMAGES, features, push_mask=mask, **ONE)


ARGUMENTS = {
    "guides": (
        jax.jit(lambda g: attacks.ifgsm(EMBED, IMAGES, g, **ONE)),
        (PUSH,),
        (PUSH * jnp.nan,),
        "push must be finite",
    ),
    "masked guides": (
        jax.jit(masked),
        (PUSH.at[1].set(jnp.nan)[:, None], jnp.array([[True], [False], [True], [True]])),
        (PUSH.at[1].set(jnp.nan)[:, None], jnp.ones((4, 1), bool)),
        "finite where their mask is set",
    ),
    "eps": (
        jax.jit(lambda eps: attacks.noise(IMAGES, KEY, eps=eps)),
        (5 / 255,),
        (5.0,),
        r"eps must lie in \[0, 1\]; in pixel range",
    ),
    "step_size": (
        jax.jit(lambda size: attacks.ifgsm(EMBED, IMAGES, PUSH, step_size=size, **ONE)),
        (0.1,),
        (jnp.nan,),
        "step_size must be finite",
    ),
    "decay": (
        jax.jit(lambda decay: attacks.mifgsm(EMBED, IMAGES, PUSH, decay=decay, **ONE)),
        (0.5,),
        (-1.0,),
        "decay must be finite and at least 0",
    ),
    "start": (
        jax.jit(lambda start: attacks.sma(EMBED, IMAGES, start=start, **ONE)),
        (IMAGES,),
        (IMAGES * jnp.inf,),
        "start must be finite",
    ),
    "an embedding that gives NaN": (
        jax.jit(lambda scale: attacks.ifgsm(lambda x: EMBED(x) * scale, IMAGES, PUSH, **ONE)),
        (1.0,),
        (jnp.nan,),
        "embed gives NaN",
    ),
    "odfa on unit length": (
        jax.jit(
            lambda power: attacks.odfa(
                lambda x: EMBED(x) / jnp.linalg.norm(EMBED(x), axis=1, keepdims=True) ** power,
                IMAGES,
                **ONE,
            )
        ),
        (0.5,),
        (1.0,),
        "needs key",
    ),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_other_arguments_are_refused_too(name):
    attack, good, bad, message = ARGUMENTS[name]
    jax.block_until_ready(attack(*good))
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(attack(*bad))


def test_without_checks_a_program_has_no_call_back():
    plain = jax.jit(attacks.unchecked(self_metric))
    assert "callback" in jax.jit(self_metric).lower(IMAGES).as_text()
    assert "callback" not in plain.lower(IMAGES).as_text()
    np.testing.assert_allclose(plain(IMAGES), jax.jit(self_metric)(IMAGES), rtol=0, atol=1e-6)
    assert np.asarray(plain(255 * IMAGES)).max() <= 1
    # What is known at once is checked all the same, and the next function is checked again.
    with pytest.raises(InputError, match="images must lie"):
        attacks.unchecked(self_metric)(255 * IMAGES)
    with pytest.raises(InputError, match=r"\[B,H,W,C\]"):
        plain(IMAGES[0])
    with pytest.raises(jax.errors.JaxRuntimeError, match="images must lie"):
        jax.block_until_ready(jax.jit(self_metric)(255 * IMAGES))


def test_rows_of_the_table_are_checked_and_can_be_exported_without():
    def attack(x, key):
        return attacks.ATTACKS["sma"].ascend(EMBED, x, AttackInput(key=key, steps=1)).images

    with pytest.raises(jax.errors.JaxRuntimeError, match="images must lie"):
        jax.block_until_ready(jax.jit(attack)(255 * IMAGES, KEY))
    assert jax.export.export(jax.jit(attacks.unchecked(lambda x: attack(x, KEY))))(IMAGES)


def test_what_an_embedding_checks_is_not_paid_for_at_every_step():
    from jaxreid.checks import check_images

    def checking(images):
        return EMBED(check_images("images", images))

    text = jax.jit(lambda x: attacks.ifgsm(checking, x, PUSH)).lower(IMAGES).as_text()
    plain = jax.jit(lambda x: attacks.ifgsm(EMBED, x, PUSH)).lower(IMAGES).as_text()
    assert text.count("callback") == plain.count("callback")
