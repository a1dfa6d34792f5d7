"""The shapes and dtypes that public functions are annotated with: true, and checkable."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped
from test_bad_arguments import FUNCTIONS
from toy import random_embed, random_images

from jaxreid import attacks, guides
from jaxreid.attacks import (
    AdaptiveAscent,
    AttackInput,
    AttackSpec,
    Judged,
    adaptive_ascent,
    linf,
    projected_ascent,
    steepest_step,
)

B, G, KEY = 2, 3, jax.random.key(0)
EMBED, IMAGES = random_embed(), np.asarray(random_images(B))
PUSH = np.ones((B, G, 16), np.float32)
ATTACKS = {
    attacks.noise: {"images": IMAGES, "key": KEY},
    attacks.fgsm: {"images": IMAGES, "push": PUSH[:, 0]},
    attacks.ifgsm: {"images": IMAGES, "push": PUSH, "push_mask": np.ones((B, G), bool)},
    attacks.mifgsm: {"images": IMAGES, "push": PUSH, "start": IMAGES},
    attacks.sma: {"images": IMAGES, "key": jax.random.split(KEY, B)},
    attacks.odfa: {"images": IMAGES, "clean_features": PUSH[:, 0]},
    attacks.fna: {"images": IMAGES, "push": PUSH, "pull": PUSH[:, 0], "key": KEY},
    attacks.nna: {"images": IMAGES, "push": PUSH[:, 0], "pull": PUSH},
}


def annotated(function):
    """The same function, which refuses arguments and results that are not as it says."""
    return jaxtyped(typechecker=beartype)(function)


def attack(function, **arguments):
    """One step of it."""
    known = inspect.signature(function).parameters
    extra = {"embed": EMBED, "steps": 1}
    return annotated(function)(**arguments, **{k: v for k, v in extra.items() if k in known})


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_take_and_return_what_they_say(function):
    right = FUNCTIONS[function][0]
    jax.block_until_ready(annotated(function)(**right))
    for name, value in right.items():
        if isinstance(value, np.ndarray | jax.Array) and np.ndim(value):
            with pytest.raises(TypeCheckError):
                annotated(function)(**right | {name: np.ones((2, 2, 2, 2, 2), complex)})


@pytest.mark.parametrize("function", ATTACKS)
def test_attacks_take_and_return_what_they_say(function):
    right = ATTACKS[function]
    assert attack(function, **right).shape == IMAGES.shape
    wrong = {
        "images": IMAGES[0],
        "push": np.ones((B + 1, 16), np.float32),
        "pull": PUSH.astype(int),
        "push_mask": np.ones(B + 1, bool),
        "key": 0,
        "start": IMAGES[:1],
        "clean_features": PUSH[0],
    }
    for name in right:
        with pytest.raises(TypeCheckError):
            attack(function, **right | {name: wrong[name]})


@pytest.mark.slow
def test_annotations_hold_for_traced_arrays():
    def fna(images):
        return attack(attacks.fna, images=images, push=PUSH, pull=PUSH)

    eager = fna(IMAGES)
    np.testing.assert_allclose(jax.jit(fna)(IMAGES), eager, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(fna)(IMAGES[None])[0], eager, atol=1e-6)
    select = annotated(guides.same_identity)
    assert jax.jit(select)(np.array([1, 1, 2])).mask.shape == (3, 3)


def test_specs_and_the_ascent_take_and_return_what_they_say():
    given = AttackInput(push=PUSH, steps=1)
    for method in (AttackSpec.run, AttackSpec.ascend):
        annotated(method)(attacks.ATTACKS["ifgsm"], EMBED, IMAGES, given)
        with pytest.raises(TypeCheckError):
            annotated(method)(attacks.ATTACKS["ifgsm"], EMBED, IMAGES[0], given)
    threat = linf(0.1)
    annotated(projected_ascent)(
        lambda x: jnp.mean(x, (1, 2, 3)),
        IMAGES,
        threat=threat,
        rule=steepest_step(threat.steepest, 0.1),
        steps=1,
    )
    found = annotated(adaptive_ascent)(
        lambda x: Judged(jnp.mean(x, (1, 2, 3)), (jnp.mean(x, (1, 2)),)),
        IMAGES,
        threat=threat,
        steps=1,
        key=jax.random.key(0),
    )
    assert isinstance(found, AdaptiveAscent)
