"""Whatever is passed wrongly to a public function is refused by InputError, by its name."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid import attacks, augmentation, distances, guides, losses
from jaxreid import random as keys
from jaxreid.errors import InputError

KEY = jax.random.key(0)
FEATURES = np.eye(4, 3, dtype=np.float32)
LABELS = np.array([1, 1, 2, 2])
THIRDS = np.full((4, 3), 1 / 3, np.float32)
IMAGES = np.full((4, 8, 4, 3), 0.5, np.float32)
PAIRS = losses.HardestPairs(np.ones(4, np.float32), np.ones(4, np.float32), np.ones(4, bool))

# Never right, whatever is expected.
NOTHING = {
    "a string": "1",
    "nothing": object(),
    "a list of lists": [[1.0, 2.0], [3.0]],
    "strings": np.array(["a", "b"]),
    "objects": np.array([None, 1], object),
    "complex": np.ones((4, 3), np.complex64),
    "too many axes": np.ones((1, 1, 1, 1, 1, 2), np.int8),
    "a dictionary": {"a": 1},
    "dates": np.array(["2020-01-01"], "datetime64[D]"),
}
ARRAYS = {
    "None": None,
    "a list": [1, 1, 2, 2],
    "a list of rows": FEATURES.tolist(),
    "a number": 1.0,
    "a scalar": np.float32(1),
    "booleans": np.ones(4, bool),
    "random keys": jax.random.split(KEY, 4),
    "masked": np.ma.masked_array(FEATURES, FEATURES > 0),
}
FLOATING = {
    **ARRAYS,
    "integers": np.ones((4, 3), int),
    "one axis": np.ones(3, np.float32),
    "three axes": np.ones((4, 3, 1), np.float32),
    "another D": np.ones((4, 1), np.float32),
    "long double": np.ones((4, 3), np.longdouble),
}
# Single rows and further axes are allowed where rows correspond.
ROWS = {name: FLOATING[name] for name in FLOATING if name not in ("one axis", "three axes")}
FINITE = {
    **FLOATING,
    "NaN": FEATURES * np.nan,
    "infinity": np.full((4, 3), np.inf, np.float32),
    "no rows": FEATURES[:0],
}
INTEGERS = {
    **ARRAYS,
    "floats": LABELS * 1.0,
    "two axes": LABELS[:, None],
    "one too few": LABELS[:3],
    "a single one": LABELS[:1],
    "none": LABELS[:0],
    "beyond 32 bits": LABELS + 2**40,
}
NUMBERS = {"None": None, "a boolean": True, "a list": [0.5], "NaN": np.nan, "negative": -0.5}
SHARES = {**NUMBERS, "infinite": np.inf, "more than one": 1.5, "one for each": np.full(4, 0.5)}
COUNTS = {
    **NUMBERS,
    "a fraction": 1.5,
    "a float": 2.0,
    "an integer below": -1,
    "absurd": 10**30,
    "an array": np.array([1, 2]),
}
KEYS = {
    "a seed": 0,
    "NumPy's seed": np.int64(3),
    "floats": np.ones(2, np.float32),
    "a list": [0, 1],
    "three words": np.ones(3, np.uint32),
    "signed words": np.ones(2, np.int32),
    "keys of two axes": jax.random.split(KEY, (4, 2)),
}
ONE_KEY = {**KEYS, "None": None, "a batch": jax.random.split(KEY, 4)}
KEYS_OF_4 = {**KEYS, "None": None, "of three rows": jax.random.split(KEY, 3)}
PICTURES = {
    **ARRAYS,
    "integers": np.ones((4, 8, 4, 3), np.int32),
    "0 to 255": IMAGES * 255,
    "NaN": IMAGES * np.nan,
    "a feature": FEATURES,
}
PICTURE = {**ARRAYS, "a batch": IMAGES, "without channels": IMAGES[0, :, :, 0]}
FLAGS = {"a word": "no", "a number": 1, "None": None, "an array": np.array([True])}
WORDS = {
    "another": "manhattan",
    "short": "cos",
    "None": None,
    "a list": ["euclidean"],
    "a number": 2,
}
AREAS = {
    "None": None,
    "a number": 0.5,
    "one": (0.1,),
    "words": ("a", "b"),
    "NaN": (np.nan, 0.5),
    "turned round": (0.5, 0.1),
    "more than one": (0.1, 2.0),
    "nothing": (0.0, 0.5),
}


def without(table, *names):
    return {name: value for name, value in table.items() if name not in names}


BUDGETS = {"a list": ["a"], "NaN": np.nan, "negative": -0.5, "in grey levels": 5.0, "true": True}
# Of each function, arguments that are right, and what is wrong for each of them.
FUNCTIONS = {
    attacks.shifted: (
        {"images": IMAGES, "change": IMAGES[0], "eps": 0.1},
        {"images": PICTURES, "change": {"a feature": FEATURES, "None": None}, "eps": BUDGETS},
    ),
    attacks.total_variation: (
        {"images": IMAGES},
        {"images": without(PICTURES, "0 to 255", "NaN")},
    ),
    attacks.saturated: (
        {"change": IMAGES[0], "eps": 0.1, "share": 0.8},
        {
            "change": {"integers": np.ones((8, 4, 3), int), "None": None},
            "eps": BUDGETS,
            "share": SHARES,
        },
    ),
    distances.squared_euclidean: ({"x": FEATURES, "y": FEATURES}, {"x": ROWS, "y": ROWS}),
    distances.euclidean: ({"x": FEATURES, "y": FEATURES}, {"x": ROWS, "y": ROWS}),
    distances.l2_normalize: ({"x": FEATURES}, {"x": without(ROWS, "another D")}),
    distances.pairwise_squared_euclidean: (
        {"x": FEATURES, "y": FEATURES},
        {"x": FLOATING, "y": FLOATING},
    ),
    distances.pairwise_euclidean: (
        {"x": FEATURES, "y": FEATURES},
        {"x": FLOATING, "y": FLOATING},
    ),
    distances.pairwise_cosine: ({"x": FEATURES, "y": FEATURES}, {"x": FLOATING, "y": FLOATING}),
    losses.cross_entropy: (
        {"logits": FEATURES, "labels": LABELS, "label_smoothing": 0.1},
        {
            "logits": without(FINITE, "another D"),
            "labels": {**INTEGERS, "a class too many": LABELS + 1, "below zero": LABELS - 2},
            "label_smoothing": SHARES,
        },
    ),
    losses.hardest_pairs: (
        {"features": FEATURES, "labels": LABELS},
        {"features": without(FINITE, "another D"), "labels": INTEGERS},
    ),
    losses.batch_hard_triplet: (
        {
            "features": FEATURES,
            "labels": LABELS,
            "margin": 0.3,
            "candidates": FEATURES,
            "candidate_labels": LABELS,
        },
        {
            "features": FINITE,
            "labels": INTEGERS,
            "margin": {**without(NUMBERS, "None"), "for three": np.ones(3), "infinite": np.inf},
            "candidates": FINITE,
            "candidate_labels": INTEGERS,
        },
    ),
    losses.mean_triplet_loss: (
        {"pairs": PAIRS, "margin": 0.3, "count": 2},
        {
            "pairs": {
                "None": None,
                "two": PAIRS[:2],
                "lists": losses.HardestPairs([1.0], [1.0], [True]),
                "integers": PAIRS._replace(positive=np.ones(4, int)),
                "a mask of numbers": PAIRS._replace(mask=np.ones(4)),
                "another length": PAIRS._replace(negative=np.ones(1, np.float32)),
                "two axes": losses.HardestPairs(*(part[:, None] for part in PAIRS)),
            },
            "margin": {**without(NUMBERS, "None"), "a column": np.ones((4, 1), np.float32)},
            "count": {**without(NUMBERS, "None"), "one for each": np.ones(4), "infinite": np.inf},
        },
    ),
    losses.feature_shift: (
        {"clean": FEATURES, "attacked": FEATURES, "candidates": FEATURES},
        {
            "clean": without(FINITE, "another D"),
            "attacked": FINITE,
            "candidates": without(FINITE, "None"),
        },
    ),
    losses.similarity_divergence: (
        {
            "clean": FEATURES,
            "attacked": FEATURES,
            "temperature": 0.1,
            "candidates": FEATURES,
            "own_positions": np.arange(4),
        },
        {
            "clean": without(FINITE, "another D"),
            "attacked": FINITE,
            "temperature": {**NUMBERS, "zero": 0.0, "infinite": np.inf},
            "candidates": without(FINITE, "None"),
            "own_positions": {
                **without(INTEGERS, "None"),
                "one too many": LABELS + 2,
                "below zero": LABELS - 2,
            },
        },
    ),
    losses.smoothed_labels: (
        {"labels": LABELS, "classes": 3, "own": 0.9},
        {
            "labels": {
                **without(INTEGERS, "one too few", "a single one", "none"),
                "a class too many": LABELS + 1,
                "below zero": LABELS - 2,
            },
            "classes": {**COUNTS, "one": 1},
            "own": SHARES,
        },
    ),
    losses.soft_cross_entropy: (
        {"logits": FEATURES, "targets": THIRDS},
        {
            "logits": FINITE,
            "targets": {
                **FINITE,
                "more than all": 2 * THIRDS,
                "below zero": THIRDS + np.array([[-0.5, 0.5, 0]], np.float32),
            },
        },
    ),
    guides.same_identity: (
        {
            "identities": LABELS,
            "guide_identities": LABELS,
            "count": 1,
            "key": KEY,
            "own_indices": np.arange(4),
            "include_self": False,
            "pad": "mask",
        },
        {
            "identities": without(INTEGERS, "beyond 32 bits"),
            "guide_identities": without(INTEGERS, "None", "one too few", "a single one"),
            "count": {**without(COUNTS, "None"), "zero": 0},
            "key": without(KEYS_OF_4, "None") | {"of one row": jax.random.split(KEY, 1)},
            "own_indices": {**without(INTEGERS, "None"), "outside": np.arange(4) + 1},
            "include_self": FLAGS,
            "pad": WORDS,
        },
    ),
    guides.centroids: (
        {"features": FEATURES, "identities": LABELS},
        {
            "features": without(FINITE, "another D"),
            "identities": INTEGERS,
        },
    ),
    guides.furthest_other: (
        {
            "features": FEATURES,
            "identities": LABELS,
            "guide_features": FEATURES,
            "guide_identities": LABELS,
            "count": 1,
            "distance": "euclidean",
        },
        {
            "features": FINITE,
            "identities": INTEGERS,
            "guide_features": FINITE,
            "guide_identities": INTEGERS,
            "count": {**COUNTS, "zero": 0, "more than there are": 5},
            "distance": WORDS,
        },
    ),
    guides.nearest_other: (
        {
            "features": FEATURES,
            "identities": LABELS,
            "guide_features": FEATURES,
            "guide_identities": LABELS,
            "count": 1,
            "distance": "euclidean",
        },
        {
            "features": FINITE,
            "identities": INTEGERS,
            "guide_features": FINITE,
            "guide_identities": INTEGERS,
            "count": {**COUNTS, "zero": 0},
            "distance": WORDS,
        },
    ),
    guides.random_other: (
        {"identities": LABELS, "guide_identities": LABELS, "key": KEY},
        {
            "identities": without(INTEGERS, "one too few", "a single one"),
            "guide_identities": without(INTEGERS, "one too few", "a single one"),
            "key": KEYS_OF_4,
        },
    ),
    keys.example_keys: (
        {"key": KEY, "indices": np.arange(4)},
        {
            "key": ONE_KEY,
            "indices": {
                **without(INTEGERS, "one too few", "a single one", "none"),
                "negative": np.array([-1]),
            },
        },
    ),
    keys.keys_of_rows: ({"key": KEY, "batch": 4}, {"key": KEYS_OF_4, "batch": COUNTS}),
    keys.numbered: (
        {"keys": jax.random.split(KEY, 4), "number": 1},
        {
            "keys": {**without(KEYS_OF_4, "of three rows"), "a single key": KEY},
            "number": {**COUNTS, "several": np.arange(2), "an array of a fraction": np.array(0.5)},
        },
    ),
    augmentation.to_float: ({"images": IMAGES}, {"images": PICTURES}),
    augmentation.pad_crop: (
        {"image": IMAGES[0], "key": KEY, "pad": 2},
        {"image": PICTURE, "key": ONE_KEY, "pad": COUNTS},
    ),
    augmentation.random_flip: (
        {"image": IMAGES[0], "key": KEY, "probability": 0.5},
        {"image": PICTURE, "key": ONE_KEY, "probability": SHARES},
    ),
    augmentation.random_erase: (
        {"image": IMAGES[0], "key": KEY, "probability": 0.5, "area": (0.1, 0.2), "aspect": 0.3},
        {
            "image": {**PICTURE, "integers": np.ones((8, 4, 3), np.uint8)},
            "key": ONE_KEY,
            "probability": SHARES,
            "area": AREAS,
            "aspect": {**SHARES, "zero": 0.0},
        },
    ),
    augmentation.augment: (
        {"images": IMAGES, "key": KEY, "pad": 2, "flip": 0.5, "erase": 0.5, "noise": 0.1},
        {
            "images": {**PICTURES, "one image": IMAGES[0]},
            "key": KEYS_OF_4,
            "pad": COUNTS,
            "flip": SHARES,
            "erase": SHARES,
            "noise": {**NUMBERS, "infinite": np.inf, "one for each": np.full(4, 0.5)},
        },
    ),
}
PLACES = [
    pytest.param(
        function, name, id=f"{function.__module__.split('.')[1]}.{function.__name__}-{name}"
    )
    for function, (_, wrong) in FUNCTIONS.items()
    for name in wrong
]


def test_every_public_function_is_tried_with_every_argument():
    for module in (distances, guides, losses, keys, augmentation):
        public = {getattr(module, name) for name in module.__all__}
        functions = {thing for thing in public if inspect.isfunction(thing)}
        assert functions <= set(FUNCTIONS), module
    for function, (right, wrong) in FUNCTIONS.items():
        given = set(inspect.signature(function).parameters)
        assert set(right) == set(wrong) or function is losses.hardest_pairs
        assert given == set(right) or function is losses.hardest_pairs


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_right_arguments_are_right(function):
    jax.block_until_ready(function(**FUNCTIONS[function][0]))


def refusal_of(function, arguments):
    """The message of the InputError; None if there is none. Other errors are not caught."""
    try:
        function(**arguments)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("function", "argument"), PLACES)
def test_bad_arguments_are_refused_by_name(function, argument):
    right, wrong = FUNCTIONS[function]
    for what, value in (wrong[argument] | NOTHING).items():
        message = refusal_of(function, right | {argument: value})
        assert message is not None, f"{what} was accepted"
        assert "\n" not in message, what
        assert len(message) < 300, what
        # Where two have to fit, either may be named.
        assert re.search(rf"\b({'|'.join(right)})\b", message), (what, message)


def test_one_example_of_each_kind(kind):
    examples = {
        "a Python list for features": lambda: distances.l2_normalize([[1.0, 2.0]]),
        "D=1 against D=3": lambda: distances.euclidean(FEATURES, FEATURES[:, :1]),
        "integer features": lambda: distances.pairwise_cosine(LABELS[None], LABELS[None]),
        "labels as floats": lambda: losses.hardest_pairs(FEATURES, LABELS * 1.0),
        "a seed for a key": lambda: guides.random_other(LABELS, LABELS, 0),
        "label_smoothing=nan": lambda: losses.cross_entropy(
            FEATURES, LABELS, label_smoothing=np.nan
        ),
    }
    for given, call in examples.items():
        with pytest.raises(InputError) as refusal:
            call()
        kind(f"library: {given}", f"InputError: {refusal.value}")


def test_a_column_of_single_rows_does_not_become_a_matrix():
    with pytest.raises(InputError, match="as many axes"):
        distances.euclidean(FEATURES, FEATURES[:, None])
    assert distances.euclidean(FEATURES[:, None], FEATURES[None]).shape == (4, 4)
    assert distances.euclidean(FEATURES, FEATURES[0]).shape == (4,)
    with pytest.raises(InputError, match="same leading axes"):
        distances.euclidean(FEATURES, FEATURES[:3])


def test_what_is_traced_is_not_looked_at():
    nan = jnp.full((4, 3), jnp.nan)
    assert np.isnan(jax.jit(losses.batch_hard_triplet)(nan, LABELS))
    assert jax.jit(lambda m: losses.batch_hard_triplet(FEATURES, LABELS, margin=m))(-1.0) >= 0
    half = jax.jit(lambda p: augmentation.augment(IMAGES, KEY, pad=0, flip=p, erase=p))(0.5)
    assert half.shape == IMAGES.shape
