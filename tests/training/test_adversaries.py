"""GOAT is the named attacks, with guides from the whole batch and the weights of now."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seeing
import trainings
from flax import nnx
from toy import WEIGHTS, features

from jaxreid import attacks
from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.guides import furthest_other
from jaxreid.models import create, embedding
from jaxreid.random import example_keys
from jaxreid.training import TrainBatch, TrainState, goat
from jaxreid.training import optimizer as make_optimizer

EPS, STEP = 5 / 255, 1 / 255
LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1], np.int32)
COMMON = {"eps": EPS, "step_size": STEP, "steps": 3}
KEYS = example_keys(jax.random.key(3), np.arange(8))


def batch_of(pushes, *, rows=8, seed=0):
    rng = np.random.default_rng(seed)

    def images(*shape):
        return jnp.asarray(rng.uniform(size=(*shape, 16, 8, 3)), jnp.float32)

    mask = np.ones((rows, pushes), bool)
    mask[0, 1:] = False
    return TrainBatch(
        images=images(rows),
        labels=jnp.asarray(LABELS[:rows]),
        indices=jnp.arange(rows, dtype=jnp.int32) * 3 % 20,
        push_images=images(rows, pushes),
        push_indices=jnp.asarray(rng.integers(0, 20, (rows, pushes)), jnp.int32),
        push_mask=jnp.asarray(mask),
    )


@pytest.fixture(scope="module")
def state():
    model = create(trainings.SHAPE, classes=3, rngs=nnx.Rngs(0))
    # Statistics of a network that has seen images, and a head that is not symmetric.
    model.head.neck.mean[...] = jnp.linspace(-0.2, 0.2, 8)
    optimizer = make_optimizer("sgd", lambda count: jnp.float32(0.1))
    bank = jax.random.normal(jax.random.key(9), (20, 8))
    return TrainState.create(model, optimizer, bank=bank)


@pytest.fixture(scope="module")
def embed(state):
    return jax.jit(state.embed())


def compiled(**options):
    """(state, batch, keys) -> Attacked, compiled once."""
    adversary = goat(**{**COMMON, **options})
    return jax.jit(lambda state, batch, keys: adversary(state, batch, keys, None, Collective()))


def run(state, batch, *, keys=KEYS, **options):
    return compiled(**options)(state, batch, keys)


def same(a, b):
    """Signs of gradients near zero may differ between two programs."""
    assert np.mean(np.abs(np.asarray(a) - np.asarray(b)) < 1e-6) > 0.995


def pushed(batch, embed):
    return embed(batch.push_images.reshape(-1, 16, 8, 3)).reshape(*batch.push_mask.shape, -1)


def test_no_guides_is_the_self_metric_attack(state, embed):
    batch = batch_of(0)
    found = run(state, batch)
    same(found.images, attacks.sma(embed, batch.images, KEYS, **COMMON))
    np.testing.assert_array_equal(found.images, found.adversarial)
    assert float(found.metrics["objective_end"]) > float(found.metrics["objective_start"])
    assert float(found.metrics["unguided"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("target", [None, "gpu"])
def test_pushes_alone_are_ifgsm_from_a_random_start(state, embed, target):
    """On accelerators, pushing images pass the network one after the other."""
    state, batch = state.replace(target=target), batch_of(3)
    expected = attacks.ifgsm(
        embed,
        batch.images,
        pushed(batch, embed),
        push_mask=batch.push_mask,
        key=KEYS,
        **COMMON,
    )
    same(run(state, batch, push=3).images, expected)


def test_pushes_and_pulls_are_fna(state, embed):
    """With three pulling guides; the golden numbers have one."""
    batch = batch_of(2)
    own = embed(batch.images)
    chosen = furthest_other(own, batch.labels + 1, own, batch.labels + 1, count=3)
    assert (LABELS[chosen.indices] != LABELS[:, None]).all()
    expected = attacks.fna(
        embed,
        batch.images,
        pushed(batch, embed),
        own[chosen.indices],
        push_mask=batch.push_mask,
        pull_mask=chosen.mask,
        key=KEYS,
        **COMMON,
    )
    same(run(state, batch, push=2, pull=3).images, expected)


def test_pulls_from_the_nearest_are_nna(state, embed):
    """Six pulls where the person of label 1, say, has five others: what is missing is masked."""
    batch = batch_of(2)
    own = np.asarray(embed(batch.images), np.float64)
    features, apart = pushed(batch, embed), ((own[:, None] - own) ** 2).sum(2)
    apart[LABELS[:, None] == LABELS] = np.inf
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :6]
    mask = np.take_along_axis(apart, nearest, 1) < np.inf
    assert mask.sum(1).tolist() == [5, 5, 5, 5, 6, 6, 5, 5]

    def objective(images):
        f = embed(images)[:, None]
        away = jnp.sum((f - features) ** 2, 2) * batch.push_mask
        towards = jnp.sum((f - own[nearest].astype(np.float32)) ** 2, 2) * mask
        return away.sum(1) / batch.push_mask.sum(1) - towards.sum(1) / mask.sum(1)

    threat = attacks.linf(EPS)
    rule = attacks.steepest_step(threat.steepest, STEP)
    expected = attacks.projected_ascent(
        objective, batch.images, threat=threat, rule=rule, steps=3, key=KEYS
    )
    found = run(state, batch, push=2, pull=6, pull_from="nearest")
    same(found.images, expected.images)
    np.testing.assert_allclose(
        found.metrics["objective_end"], expected.objective[-1].mean(), rtol=1e-3
    )


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_the_attack_uses_the_statistics_it_is_told_and_changes_none(state, statistics):
    batch = batch_of(0)
    before = jax.tree.map(np.array, state.stats)
    found = run(state, batch, batch_norm=statistics)
    embed = jax.jit(embedding(state.graph, state.params, state.stats, batch_norm=statistics))
    same(found.images, attacks.sma(embed, batch.images, KEYS, **COMMON))
    jax.tree.map(np.testing.assert_array_equal, before, state.stats)


@pytest.mark.slow
def test_pushing_images_share_the_statistics_of_all_of_them(state):
    batch = batch_of(2)
    embed = jax.jit(embedding(state.graph, state.params, state.stats, batch_norm="batch"))
    expected = attacks.ifgsm(
        embed, batch.images, pushed(batch, embed), push_mask=batch.push_mask, key=KEYS, **COMMON
    )
    same(run(state, batch, push=2, batch_norm="batch").images, expected)


def test_a_person_without_others_has_nothing_to_push_from_or_pull_to(state):
    alone = batch_of(1)._replace(labels=jnp.zeros(8, jnp.int32), push_mask=jnp.zeros((8, 1), bool))
    found = run(state, alone, push=1, pull=1)
    np.testing.assert_array_equal(found.images, alone.images)
    assert float(found.metrics["unguided"]) == 1


def test_missing_pushes_may_be_the_image_itself(state, embed):
    batch = batch_of(2)
    guides = np.array(pushed(batch, embed))
    guides[0, 1] = embed(batch.images)[0]
    expected = attacks.ifgsm(embed, batch.images, guides, key=KEYS, **COMMON)
    same(run(state, batch, push=2, pad_with_self=True).images, expected)


def test_guides_from_the_bank_and_a_fresh_bank(state, embed):
    batch = batch_of(2)._replace(push_images=jnp.zeros((8, 0, 16, 8, 3)))
    found = run(state, batch, push=2, guide_bank=True)
    expected = attacks.ifgsm(
        embed,
        batch.images,
        state.bank[batch.push_indices],
        push_mask=batch.push_mask,
        key=KEYS,
        **COMMON,
    )
    same(found.images, expected)
    bank = np.array(state.bank)
    bank[np.asarray(batch.indices)] = embed(batch.images)
    np.testing.assert_allclose(found.bank, bank, rtol=1e-5, atol=1e-6)


def test_a_bank_that_is_missing_is_named(state):
    with pytest.raises(InputError, match=r"guide_bank needs a bank: TrainState.create\(bank="):
        run(state.replace(bank=None), batch_of(2), push=2, guide_bank=True)


def test_guides_are_constants(state):
    """No gradient goes through guides, images or bank to the weights."""
    adversary = goat(push=2, pull=1, eps=EPS, step_size=STEP, steps=1)
    batch = batch_of(2)

    def sums(params):
        found = adversary(state.replace(params=params), batch, KEYS, None, Collective())
        return jnp.sum(found.images**2)

    gradient = jax.jit(jax.grad(sums))(state.params)
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(gradient))


def test_a_budget_for_each_channel(state):
    budget = np.array([1.0, 2.0, 4.0]) / 255
    batch = batch_of(0)
    found = run(state, batch, eps=budget, step_size=budget)
    change = np.abs(np.asarray(found.images) - np.asarray(batch.images)).max((0, 1, 2))
    np.testing.assert_allclose(change, budget, rtol=1e-4)


def test_strength_follows_the_step(state):
    batch = batch_of(0)

    def ramp(step):
        return jnp.minimum(step / 4, 1.0)

    attack = compiled(strength=ramp)
    for step, share in ((0, 0.0), (1, 0.25), (8, 1.0)):
        found = attack(state.replace(step=jnp.int32(step)), batch, KEYS)
        change = np.abs(np.asarray(found.images) - np.asarray(batch.images)).max()
        np.testing.assert_allclose(change, share * EPS, rtol=1e-4, atol=1e-7)


def test_a_share_of_clean_images_by_their_own_keys(state):
    batch = batch_of(0)

    def kept(attack, keys):
        found = attack(state, batch, keys)
        clean = (np.asarray(found.images) == np.asarray(batch.images)).all((1, 2, 3))
        assert not (np.asarray(found.adversarial) == np.asarray(batch.images)).all((1, 2, 3)).any()
        return clean

    assert kept(compiled(clean_fraction=1.0), KEYS).all()
    attack = compiled(clean_fraction=0.5)
    half = kept(attack, KEYS)
    assert 0 < half.sum() < 8
    order = np.array([3, 1, 0, 2, 7, 6, 5, 4])
    np.testing.assert_array_equal(kept(attack, KEYS[order]), half[order])


@pytest.mark.slow
def test_pulls_come_from_all_devices(state):
    """Four devices with two images each, of one person each, do what one device does."""
    order = np.argsort(LABELS, kind="stable")[:8]
    batch = jax.tree.map(lambda leaf: leaf[order], batch_of(2))
    options = {**COMMON, "push": 2, "pull": 2}
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), batch)
    adversary = goat(**options)
    mapped = jax.pmap(
        lambda batch, keys: adversary(state, batch, keys, None, Collective("devices")),
        axis_name="devices",
    )(split, KEYS[order].reshape(4, 2))
    one = run(state, batch, keys=KEYS[order], push=2, pull=2)
    same(mapped.images.reshape(8, 16, 8, 3), one.images)
    for device in range(4):
        np.testing.assert_allclose(mapped.bank[device], one.bank, rtol=1e-5, atol=1e-6)
    # One device alone, which holds one person only, would find nobody to pull towards.
    alone = run(state, jax.tree.map(lambda leaf: leaf[0], split), keys=KEYS[order][:2], pull=1)
    assert float(alone.metrics["unguided"]) == 1


class _Golden:
    """The golden embedding in the place of a network."""

    bank, step = None, 0

    def __init__(self, weights, target):
        self.weights, self.target = weights, target

    def embed(self, batch_norm):
        return lambda images: features(self.weights, images)


@pytest.mark.parametrize("target", ["cpu", "tpu"])
def test_golden_numbers(golden, target):
    z = np.load(golden / "attacks.npz")
    options = {"eps": float(z["epsilon"]), "step_size": float(z["step_size"])}
    options["steps"] = int(z["goat_steps"])
    with jax.enable_x64(True):
        golden_state = _Golden({name: jnp.asarray(z[name]) for name in WEIGHTS}, target)
        images, multi = jnp.asarray(z["images"]), jnp.asarray(z["multi"])

        @functools.partial(jax.jit, static_argnames="pull")
        def attack(rows, labels, pull):
            batch = TrainBatch(
                images=images[rows],
                labels=labels,
                indices=rows,
                push_images=images[multi[rows]],
                push_indices=multi[rows],
                push_mask=jnp.ones((len(rows), 3), bool),
            )
            start = (images + z["delta0"])[rows]
            return goat(push=3, pull=pull, **options)(
                golden_state, batch, None, start, Collective()
            ).images

        pushed_away = attack(jnp.arange(10), jnp.arange(10), 0)
        np.testing.assert_allclose(pushed_away, z["adv_goat_push"], rtol=0, atol=1e-9)
        for row, other in enumerate(z["pull"]):
            # In a batch of two people the other one is the furthest.
            pulled = attack(jnp.array([row, other]), jnp.array([0, 1]), 1)
            np.testing.assert_allclose(pulled[0], z["adv_goat_fna"][row], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"push": -1}, "push and pull must be 0 or more and steps 1 or more, got -1, 0, 7"),
        ({"steps": 0}, "got 0, 0, 0"),
        ({"pull": 1, "pull_from": "near"}, "pull_from must be one of .'furthest', 'nearest'"),
        ({"clean_fraction": 1.5}, r"clean_fraction must lie in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        goat(**options)


def test_a_batch_with_another_number_of_pushes_is_refused(state):
    with pytest.raises(InputError, match="holds 2 pushing guides per image, not 4"):
        run(state, batch_of(2), push=4)


@pytest.mark.slow
@pytest.mark.parametrize("target", [None, "gpu"])
def test_the_network_is_told_the_cameras_of_images_and_of_guides(target):
    model = seeing.network(head="classification", classes=3)
    rate = make_optimizer("sgd", lambda count: jnp.float32(0.1))
    state = TrainState.create(model, rate).replace(target=target)
    rng = np.random.default_rng(5)
    cameras, theirs = rng.integers(0, 4, 8), rng.integers(0, 4, (8, 2))
    batch = batch_of(2)._replace(cameras=cameras, push_cameras=theirs)
    attacked = jax.jit(goat(push=2, **COMMON))(state, batch, KEYS, None, Collective())
    told = embedding(model)
    guides = told.seen_by(theirs.ravel())(batch.push_images.reshape(-1, 16, 8, 3))
    given = attacks.AttackInput(
        push=guides.reshape(8, 2, -1),
        push_mask=batch.push_mask,
        key=KEYS,
        eps=jnp.float32(EPS),
        step_size=jnp.float32(STEP),
        steps=3,
    )
    attack = attacks.ATTACKS["ifgsm_multi"]._replace(start="random")
    expected = jax.jit(lambda embed: attack.run(embed, batch.images, given))(told.seen_by(cameras))
    np.testing.assert_allclose(attacked.images, expected, atol=1e-5)
    with pytest.raises(InputError, match=r"which of 4 cameras"):
        goat(**COMMON)(state, batch_of(0), KEYS, None, Collective())
