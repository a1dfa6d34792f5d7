"""Adversaries on triplets: what they climb by its definition, whom they move, several devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from flax import nnx

from jaxreid.attacks import linf
from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.models import create
from jaxreid.random import example_keys
from jaxreid.training import TrainState, optimizer, triplet_adversary

# The last person is alone.
LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 3], np.int32)
EPS, STEP, SHARPNESS, MARGIN = 8 / 255, 2 / 255, 3.0, 0.2
KEYS = example_keys(jax.random.key(3), np.arange(8))
# From this step on there is no budget: what sets out there are the clean images.
STILL = 100
CASES = {
    "gradual": {"objective": "hardness"},
    "softhard": {"objective": "hardness", "destination": "softhard", "mining": "semihard"},
    "collapse": {"objective": "collapse"},
    "misorder": {"objective": "misorder"},
    "decoupled": {"objective": "decoupled", "sharpness": SHARPNESS},
}


@pytest.fixture(scope="module")
def state():
    model = create(trainings.SHAPE, classes=4, rngs=nnx.Rngs(0))
    # Less than the margin: the destination is harder than that.
    return TrainState.create(model, optimizer("sgd", lambda count: 0.1), triplet_loss=0.05)


def batch_of(labels=LABELS):
    # Images of a person look alike, or nothing would be left to spoil.
    rng = np.random.default_rng(0)
    people, noise = rng.uniform(size=(4, 1, 1, 3)), rng.uniform(size=(8, 16, 8, 3))
    images = (0.6 * people[LABELS] + 0.4 * noise).astype(np.float32)
    return trainings.examples(labels, images=images)


def adversary_of(case, **options):
    given = {"eps": EPS, "step_size": STEP, "steps": 3, **CASES[case], **options}
    given["strength"] = lambda step: jnp.where(step < STILL, 1.0, 0.0)
    return triplet_adversary(given.pop("objective"), **given)


@pytest.fixture(scope="module")
def attack(state):
    compiled = {}

    def run(case, step=0, labels=LABELS):
        if case not in compiled:
            adversary = adversary_of(case)
            compiled[case] = jax.jit(lambda s, b, k: adversary(s, b, k, None, Collective()))
        return compiled[case](state.replace(step=jnp.int32(step)), batch_of(labels), KEYS)

    return run


@pytest.fixture(scope="module")
def embed(state):
    network = jax.jit(state.embed())
    clean = np.asarray(network(batch_of().images), float)
    about = np.sqrt(np.mean([np.sum((row - clean.mean(0)) ** 2) for row in clean]))
    return lambda images: np.asarray(network(images), float) / about


def weighted(distances):
    weights = [np.exp(SHARPNESS * (d - max(distances))) for d in distances]
    return sum(w * d for w, d in zip(weights, distances, strict=True)) / sum(weights)


def value(case, step, triplets, clean, attacked):
    """The mean over the images of what is climbed, by loops over the triplets."""
    found = []
    places = [
        (a, int(triplets.positive[a]), int(triplets.negative[a]))
        for a in range(8)
        if triplets.mask[a]
    ]

    def lengths(anchors, others):
        return (
            [np.linalg.norm(anchors[a] - others[p]) for a, p, _ in places],
            [np.linalg.norm(anchors[a] - others[n]) for a, _, n in places],
        )

    if case == "decoupled" and step % 2 == 0:
        to_p, to_n = lengths(clean, attacked)
        found = [-max(0, weighted(to_n) - weighted(to_p))] * len(places)
    elif case == "decoupled":
        to_p, to_n = lengths(attacked, clean)
        gap = weighted(to_p) - weighted(to_n)
        half = np.mean(sorted(to_n)[: len(to_n) // 2])
        shift = np.mean([np.linalg.norm(attacked[a] - clean[a]) for a, _, _ in places])
        pulled = np.exp(-max(0, -gap)) * max(0, half - shift)
        found = [-max(0, gap) - pulled] * len(places)
    elif case == "collapse":
        found = [-np.linalg.norm(attacked[p] - attacked[n]) for _, p, n in places]
    else:
        hard = [p - n for p, n in zip(*lengths(attacked, attacked), strict=True)]
        found = hard if case == "misorder" else [-(min(0, h + 0.05) ** 2) for h in hard]
    return sum(found) / 8


MEASURED = [("gradual", 0), ("collapse", 0), ("misorder", 0), ("decoupled", 0), ("decoupled", 1)]


@pytest.mark.parametrize(("case", "step"), MEASURED)
def test_what_is_climbed_is_its_definition_and_rises(attack, embed, case, step):
    clean = embed(batch_of().images)
    still = attack(case, STILL + step)
    np.testing.assert_array_equal(still.images, batch_of().images)
    before = value(case, step, still.triplets, clean, clean)
    np.testing.assert_allclose(still.metrics["objective_start"], before, rtol=1e-3, atol=1e-5)
    assert float(still.metrics["unguided"]) == 0.125

    moved = attack(case, step)
    for one, other in zip(moved.triplets, still.triplets, strict=True):
        np.testing.assert_array_equal(one, other)
    change = np.abs(moved.adversarial - batch_of().images)
    assert 0.5 * EPS < change.max() <= EPS + 1e-6
    assert moved.adversarial.min() >= 0
    assert moved.adversarial.max() <= 1
    after = value(case, step, moved.triplets, clean, embed(moved.adversarial))
    assert after > float(moved.metrics["objective_start"])
    # Far enough from zero for the definition to mean something.
    assert abs(before) > 1e-3


def test_triplets_are_of_one_person_and_another(attack):
    triplets = attack("collapse").triplets
    np.testing.assert_array_equal(triplets.mask, np.arange(8) < 7)
    for a in range(7):
        p, n = int(triplets.positive[a]), int(triplets.negative[a])
        assert LABELS[p] == LABELS[a] != LABELS[n]
        assert p != a


def test_a_destination_is_a_triplet_that_the_rule_allows(attack, embed):
    # Two images that do not look alike are of one person, all others of people of their own.
    labels = np.array([0, 1, 0, 2, 3, 4, 5, 6], np.int32)
    still = attack("softhard", STILL, labels)
    assert float(still.metrics["unguided"]) == 0.75
    clean = embed(batch_of().images)
    sums = [0.0]
    for anchor, positive in ((0, 2), (2, 0)):
        row = np.linalg.norm(clean - clean[anchor], axis=1)
        assert int(still.triplets.positive[anchor]) == positive
        found = row[positive] - row[int(still.triplets.negative[anchor])]
        nearer = [n for n in (1, 3, 4, 5, 6, 7) if row[n] < row[positive]]
        assert nearer
        missing = [-(min(0, found - row[positive] + row[n]) ** 2) for n in nearer]
        sums = [one + more for one in sums for more in missing]
    climbed = 8 * float(still.metrics["objective_start"])
    assert climbed < -0.01
    assert min(abs(climbed - each) for each in sums) < 1e-4 * abs(climbed)
    # Some are allowed that are another number.
    assert len({round(each, 3) for each in sums}) > 1


def start_of(images):
    threat = linf(EPS)
    return np.asarray(threat.project(threat.random_start(KEYS, images), images))


@pytest.mark.parametrize("case", ["collapse", "decoupled"])
def test_who_is_in_no_triplet_keeps_the_noise_of_the_start(attack, case):
    alone = attack(case, labels=np.arange(8, dtype=np.int32))
    assert float(alone.metrics["unguided"]) == 1
    np.testing.assert_allclose(alone.adversarial, start_of(batch_of().images), atol=1e-6)


def test_decoupled_moves_anchors_and_the_others_in_turns(attack):
    start = start_of(batch_of().images)
    moved = [
        np.abs(attack("decoupled", step).adversarial - start).max(axis=(1, 2, 3)) > 1e-6
        for step in (0, 1)
    ]
    triplets = attack("decoupled").triplets
    others = np.isin(np.arange(8), [triplets.positive[:7], triplets.negative[:7]])
    np.testing.assert_array_equal(moved[0], others)
    np.testing.assert_array_equal(moved[1], np.arange(8) < 7)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "step"), [("gradual", 0), ("collapse", 0), ("decoupled", 1)])
def test_four_devices_do_what_one_does(state, attack, case, step):
    adversary = adversary_of(case)

    def on_device(state, batch, keys):
        return adversary(state, batch, keys, None, Collective("devices"))

    split = jax.tree.map(lambda leaf: jnp.reshape(leaf, (4, 2, *leaf.shape[1:])), batch_of())
    mapped = jax.pmap(on_device, axis_name="devices", in_axes=(None, 0, 0))
    found = mapped(state.replace(step=jnp.int32(step)), split, KEYS.reshape(4, 2))
    one = attack(case, step)
    for four, whole in zip(found.triplets, one.triplets, strict=True):
        np.testing.assert_array_equal(four.ravel(), whole)
    images = found.images.reshape(one.images.shape)
    # Signs of gradients near zero may differ between two programs.
    assert np.mean(np.abs(images - one.images) < 1e-6) > 0.99
    for name in ("objective_start", "objective_end"):
        np.testing.assert_allclose(np.mean(found.metrics[name]), one.metrics[name], rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "triplets"}, "objective"),
        ({"mining": "hardest"}, "mining"),
        ({"destination": "hard"}, "destination"),
        ({"steps": 0}, "steps must be 1 or more"),
        ({"clean_fraction": 2.0}, r"clean_fraction lie in \[0, 1\], got 7 and 2"),
        ({"margin": 0.0}, "margin must be above 0 and sharpness 0 or more, got 0 and 10"),
        ({"sharpness": -1.0}, "got 0.2 and -1"),
    ],
)
def test_bad_options_are_refused(options, message):
    given = {"objective": "misorder", **options}
    with pytest.raises(InputError, match=message):
        triplet_adversary(given.pop("objective"), **given)


def test_a_gradual_destination_needs_the_loss_of_before(state):
    adversary = adversary_of("gradual")
    with pytest.raises(InputError, match=r"TrainState.create\(triplet_loss="):
        adversary(state.replace(triplet_loss=None), batch_of(), KEYS, None, Collective())
