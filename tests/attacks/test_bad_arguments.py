"""Whatever a public function of the attacks is given: InputError, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxreid import attacks
from jaxreid.attacks import ATTACKS, AttackInput, Guides
from jaxreid.errors import InputError

B, D = 2, 4
IMAGES = np.full((B, 4, 2, 3), 0.5, np.float32)
WEIGHTS = np.random.default_rng(0).normal(size=(24, D)).astype(np.float32)
PUSH = np.ones((B, D), np.float32)
KEY = jax.random.key(0)
NAN = np.full((B, 3, D), np.nan, np.float32)


def embed(images):
    return images.reshape(len(images), -1) @ WEIGHTS


def norm(images):
    features = embed(images)
    return features / jnp.linalg.norm(features, axis=1, keepdims=True)


BAD = {
    "images": {
        "None": None,
        "text": "images",
        "a list": [[0.5]],
        "a number": 0.5,
        "uint8": np.zeros((B, 4, 2, 3), np.uint8),
        "booleans": np.zeros((B, 4, 2, 3), bool),
        "float16": np.zeros((B, 4, 2, 3), np.float16),
        "complex": np.zeros((B, 4, 2, 3), np.complex64),
        "objects": np.array(["a", None], object),
        "empty": np.zeros((0, 4, 2, 3), np.float32),
        "no axis": np.float32(0.5),
        "three axes": np.zeros((4, 2, 3), np.float32),
        "0 to 255": IMAGES * 255,
        "NaN": np.full_like(IMAGES, np.nan),
    },
    "embed": {
        "None": None,
        "an array": PUSH,
        "a tuple": lambda x: (embed(x), 0),
        "None out": lambda x: None,
        "integers": lambda x: embed(x).astype(int),
        "complex": lambda x: embed(x).astype(jnp.complex64),
        "NaN": lambda x: embed(x) * jnp.nan,
        "one axis": lambda x: embed(x).sum(1),
        "another batch": lambda x: embed(x)[:1],
        "NumPy": lambda x: 3 * np.asarray(x).reshape(B, -1)[:, :D],
        "a float of it": lambda x: embed(x) * float(x.sum()),
    },
    "push": {
        "text": "guides",
        "a number": 1.0,
        "ragged": [[1.0, 2.0], [1.0]],
        "integers": PUSH.astype(int),
        "complex": PUSH.astype(np.complex64),
        "another batch": np.ones((B + 1, D), np.float32),
        "another dimension": np.ones((B, D + 1), np.float32),
        "four axes": np.ones((B, 1, 1, D), np.float32),
        "NaN": NAN,
        "infinity": np.full((B, D), np.inf, np.float32),
        "too large for float32": np.full((B, D), 1e300),
    },
    "push_mask": {
        "text": "mask",
        "shape": np.ones((B, 7), bool),
        "rank": np.ones((B, 1, 1), bool),
        "floats": np.ones((B, 1), np.float32),
        "a boolean": True,
    },
    "eps": {
        "text": "0.1",
        "None": None,
        "complex": 0.1j,
        "a boolean": True,
        "a dictionary": {},
        "negative": -0.1,
        "NaN": np.nan,
        "infinity": np.inf,
        "shape": np.full(5, 0.1),
        "ragged": [[0.1], [0.1, 0.2]],
        "huge": 10**400,
    },
    "step_size": {
        "text": "x",
        "None": None,
        "complex": 1j,
        "a boolean": False,
        "negative": -1.0,
        "NaN": np.nan,
        "infinity": np.inf,
        "shape": np.full((7, 1, 1, 1), 0.1),
    },
    "steps": {
        "text": "3",
        "None": None,
        "a fraction": 2.5,
        "a whole float": 2.0,
        "a boolean": True,
        "negative": -1,
        "NaN": np.nan,
        "30 digits": 10**30,
        "an array": np.array([3]),
    },
    "key": {"a seed": 0, "text": "key", "three keys": jax.random.split(KEY, 3)},
    "start": {
        "text": "start",
        "shape": IMAGES[:, :1],
        "NaN": np.full_like(IMAGES, np.nan),
        "complex": IMAGES.astype(np.complex64),
    },
    "threat": {
        "None": None,
        "text": "linf",
        "a threat": attacks.linf(0.1),
        "another function": lambda eps: eps,
    },
    "decay": {"text": "x", "None": None, "negative": -1.0, "NaN": np.nan, "complex": 1j},
    "clean_features": {
        "text": "f",
        "NaN": NAN[:, 0],
        "three axes": NAN * 0,
        "another batch": np.ones((B + 1, D), np.float32),
        "integers": PUSH.astype(int),
    },
}
BAD["pull"], BAD["pull_mask"] = BAD["push"], BAD["push_mask"]

GOOD = {"images": IMAGES, "embed": embed}
# All attacks run one function: `fna` is tried with everything, the others with what only they have.
CALLS = {
    "noise": (attacks.noise, {"images": IMAGES, "key": KEY}, ("images", "key", "eps", "threat")),
    "fgsm": (attacks.fgsm, GOOD | {"push": PUSH}, ("push", "push_mask", "eps")),
    "mifgsm": (attacks.mifgsm, GOOD | {"push": PUSH, "steps": 1}, ("step_size", "decay", "start")),
    "sma": (attacks.sma, GOOD | {"key": KEY, "steps": 1}, ("embed", "key", "clean_features")),
    "odfa": (attacks.odfa, GOOD | {"steps": 1}, ("embed", "key", "clean_features")),
    "nna": (attacks.nna, GOOD | {"push": PUSH, "pull": PUSH, "steps": 1}, ("pull", "pull_mask")),
    "fna": (
        attacks.fna,
        GOOD | {"push": PUSH, "pull": PUSH, "steps": 1},
        (
            *("images", "embed", "push", "pull", "push_mask", "pull_mask"),
            *("eps", "step_size", "steps", "key", "start", "threat"),
        ),
    ),
}
CASES = [
    (name, argument, what)
    for name, (_, _, arguments) in CALLS.items()
    for argument in arguments
    for what in BAD[argument]
]


@pytest.mark.parametrize(("name", "argument", "what"), CASES)
def test_attacks_refuse(name, argument, what, kind):
    attack, good, _ = CALLS[name]
    bad = BAD[argument][what]
    with pytest.raises(InputError) as caught:
        attack(**(good | {argument: bad}))
    message = str(caught.value)
    assert "\n" not in message
    # Guides of another shape are named as such: several arguments make them.
    assert argument.split("_")[0] in message or "guides" in message or argument == "key", message
    kind(f"an attack with {argument}: {what}", f"InputError: {message}")


THREAT = attacks.linf(0.1)
RULE = attacks.steepest_step(THREAT.steepest, 0.01)
ASCENT = {
    "objective": lambda x: x.sum((1, 2, 3)),
    "images": IMAGES,
    "threat": THREAT,
    "rule": RULE,
    "steps": 1,
}
BAD_ASCENT = {
    "objective": {
        "None": None,
        "a number": lambda x: 1.0,
        "a tuple": lambda x: (x.sum((1, 2, 3)),),
        "integers": lambda x: x.sum((1, 2, 3)).astype(int),
        "a sum": lambda x: x.sum(),
    },
    "threat": {"None": None, "a function": attacks.linf, "a number": 0.1},
    "rule": {
        "None": None,
        "a function": jnp.sign,
        "a scalar out": optax.stateless(lambda g, _: 0.0),
        "a row out": optax.stateless(lambda g, _: g[0]),
    },
}


@pytest.mark.parametrize(
    ("argument", "what"),
    [(a, w) for a, bad in (BAD_ASCENT | {"steps": BAD["steps"]}).items() for w in bad],
)
def test_projected_ascent_refuses(argument, what):
    bad = (BAD_ASCENT | {"steps": BAD["steps"]})[argument][what]
    with pytest.raises(InputError):
        attacks.projected_ascent(**(ASCENT | {argument: bad}))


WRONG_GUIDES = {
    "None": None,
    "a tuple": (NAN, np.ones((B, 3))),
    "lists": Guides([[1.0]], [[1.0]]),
    "text": Guides("features", "weights"),
    "NaN features": Guides(NAN, np.ones((B, 3), np.float32)),
    "NaN weights": Guides(NAN * 0, np.full((B, 3), np.nan, np.float32)),
    "integer features": Guides(np.ones((B, 3, D), int), np.ones((B, 3), np.float32)),
    "shapes": Guides(np.ones((B, 3, D), np.float32), np.ones((B, 2), np.float32)),
}
PARTS = {
    **{
        f"signed_guides, {what}": lambda bad=bad: attacks.signed_guides(embed, bad)
        for what, bad in WRONG_GUIDES.items()
    },
    "signed_guides, embed": lambda: attacks.signed_guides(
        None, Guides(np.ones((B, 3, D), np.float32), np.ones((B, 3), np.float32))
    ),
    **{
        f"{norm.__name__}, {what}": lambda bad=bad, norm=norm: norm(bad)
        for norm in (attacks.linf, attacks.l2)
        for what, bad in BAD["eps"].items()
        if what != "shape"
    },
    "linf, above 1": lambda: attacks.linf(5),
    "linf, candidates": lambda: attacks.linf(0.1).project(IMAGES[:1], IMAGES),
    "l2, candidates": lambda: attacks.l2(0.1).project(IMAGES[:, :1], IMAGES),
    "steepest_step, direction": lambda: attacks.steepest_step(None, 0.1),
    "momentum_step, direction": lambda: attacks.momentum_step("sign", 0.1, 1.0),
    "AttackSpec.run, input": lambda: ATTACKS["fna"].run(embed, IMAGES, None),
    "AttackSpec.ascend, input": lambda: ATTACKS["fna"].ascend(embed, IMAGES, {}),
    "AttackSpec.guides, input": lambda: ATTACKS["fna"].guides(None),
    "AttackSpec.run, no guides": lambda: ATTACKS["ifgsm"].run(embed, IMAGES, AttackInput()),
    "AttackSpec.ascend, no guides": lambda: ATTACKS["ifgsm"].ascend(embed, IMAGES, AttackInput()),
    "AttackSpec.ascend, no key": lambda: ATTACKS["sma"].ascend(embed, IMAGES, AttackInput()),
    "AttackSpec.ascend, noise without key": lambda: ATTACKS["noise"].ascend(
        embed, IMAGES, AttackInput()
    ),
    "AttackSpec.ascend, unit length": lambda: ATTACKS["odfa"].ascend(norm, IMAGES, AttackInput()),
    "odfa, unit length": lambda: attacks.odfa(norm, IMAGES),
}


@pytest.mark.parametrize("call", PARTS.values(), ids=PARTS)
def test_the_parts_refuse(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
