"""What is learned: better than noise, the same on any number of devices, and after a kill."""

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest

from jaxreid.attacks import total_variation
from jaxreid.collectives import Collective
from jaxreid.data.batches import Images
from jaxreid.distances import l2_normalize
from jaxreid.errors import InputError
from jaxreid.evaluation import LoaderSettings, extract
from jaxreid.evaluation.universal import Recipe, learn_perturbation
from jaxreid.evaluation.universal.learning import _crowd, _Rows
from jaxreid.evaluation.universal.objectives import OBJECTIVES
from jaxreid.evaluation.universal.perturbation import CHANGE, generated, parameters
from jaxreid.evaluation.universal.unfinished import Unfinished
from jaxreid.ranking import ListDistances, histogram_ap

EPS = 10
FACES = 12


def loader(devices=1):
    return LoaderSettings(people.SIZE, devices=jax.local_devices()[:devices])


def train():
    return people.split(5, np.repeat(np.arange(1, FACES + 1), 4), np.tile([0, 1, 2, 3], FACES))


def learn(objective="ap", devices=1, unfinished=None, progress=None, **fields):
    fields = {"eps": EPS, "epochs": 4, "identities": 6, "images": 4, **fields}
    return learn_perturbation(
        people.embed,
        train(),
        Recipe(objective, **fields),
        loader=loader(devices),
        unfinished=unfinished,
        progress=progress,
    )


def objective_of(objective, change):
    """Mean over all people at once, of what a change makes of them; of "ap" the precision lost."""
    split = train()
    size = len(split)
    features = extract(people.embed, split, **loader()._asdict()).features
    rows = _Rows(np.zeros((size, 1)), split.cameras, split.identities, np.arange(size), features)
    crowd = _crowd(np.arange(1, FACES + 1), rows, Collective())
    images = change(clean())
    return float(jnp.mean(OBJECTIVES[objective](people.embed, images, crowd)))


def clean():
    split = train()
    pixels = Images(split, people.SIZE, "bilinear", None)(np.arange(len(split)))
    return jnp.asarray(pixels / np.float32(255))


def noise():
    drawn = np.random.default_rng(1).choice([-EPS / 255, EPS / 255], (*people.SIZE, 3))
    return drawn.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["ap", "sma", "fna"])
def test_a_change_beats_noise_of_its_budget(objective):
    found = learn(objective)[CHANGE]
    assert found.shape == (*people.SIZE, 3)
    assert np.abs(found).max() <= np.float32(EPS / 255)
    assert np.mean(np.abs(found) == np.float32(EPS / 255)) >= 0.79
    at_rest, by_noise, learned = (
        objective_of(objective, lambda x, d=change: jnp.clip(x + d, 0, 1))
        for change in (0 * noise(), noise(), found)
    )
    assert learned - at_rest > 3 * abs(by_noise - at_rest)


@pytest.mark.slow
def test_smoothness_is_bought():
    rough, smooth = (learn(smoothness=weight)[CHANGE] for weight in (0, 200))
    variations = [float(total_variation(change[None])[0]) for change in (rough, smooth)]
    assert variations[1] < 0.9 * variations[0]


@pytest.mark.slow
def test_a_generator_beats_noise_of_its_budget():
    values = []
    found = learn("generator", epochs=20, progress=lambda *done: values.append(done))
    assert set(found) == set(parameters(0))

    def changed(x):
        return jnp.clip(x + EPS / 255 * generated(found, x), 0, 1)

    at_rest, by_noise, learned = (
        objective_of("generator", change)
        for change in (lambda x: x, lambda x: jnp.clip(x + noise(), 0, 1), changed)
    )
    assert learned - at_rest > 3 * abs(by_noise - at_rest)
    assert [done[1:3] for done in values] == [(n, 40) for n in range(1, 41)]


@pytest.mark.parametrize("objective", ["ap", pytest.param("generator", marks=pytest.mark.slow)])
def test_devices_change_nothing_but_rounding(objective):
    one, four = learn(objective), learn(objective, devices=4)
    for name, tensor in one.items():
        # A sign of what is all but 0 may turn with the last bit.
        near = np.isclose(tensor, four[name], atol=1e-4 if name == CHANGE else 2e-3)
        assert near.mean() > 0.97


class KilledError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "replays"),
    [("ap", 1), ("fna", 3), pytest.param("generator", 2, marks=pytest.mark.slow)],
)
def test_killed_and_resumed_is_uninterrupted(tmp_path, objective, replays):
    kept = Unfinished(tmp_path / "kept.safetensors", {"objective": objective, "size": (16, 8)})

    def killed(what, done, total, note):
        if done == 5:  # within the third epoch
            raise KilledError

    with pytest.raises(KilledError):
        learn(objective, unfinished=kept, progress=killed, replays=replays)
    seen = []
    resumed = learn(
        objective, unfinished=kept, progress=lambda *done: seen.append(done[1]), replays=replays
    )
    assert seen == [5, 6, 7, 8]
    whole = learn(objective, replays=replays)
    for name, tensor in whole.items():
        np.testing.assert_array_equal(resumed[name], tensor)
    kept.remove()
    assert not any(tmp_path.iterdir())


def test_replays_are_updates_from_one_batch():
    """Of one batch, m updates with m replays are those of m epochs without the stretch."""
    fields = {"identities": FACES, "epochs": 1}
    once, thrice = (learn("sma", replays=n, **fields)[CHANGE] for n in (1, 3))
    assert np.abs(once - thrice).max() > 1e-3
    low, high = (
        objective_of("sma", lambda x, c=change: jnp.clip(x + c, 0, 1)) for change in (once, thrice)
    )
    assert high > low


@pytest.mark.slow
def test_the_precision_climbed_is_that_of_the_batch():
    """Against loops: other images of the person match, everybody else's are in their way."""
    features = np.asarray(l2_normalize(people.embed(clean())), np.float64)
    lost, identities = [], train().identities
    for row, feature in enumerate(features):
        distances = np.linalg.norm(features - feature, axis=1).astype(np.float32)[None]
        same = (identities == identities[row]) & (np.arange(len(features)) != row)
        parts = distances, same[None], distances, (identities != identities[row])[None]
        lost.append(histogram_ap(ListDistances(*map(jnp.asarray, parts)))[0])
    assert objective_of("ap", lambda x: x) == pytest.approx(float(np.mean(lost)), abs=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": "map"}, "objective must be one of"),
        ({"eps": 0}, "eps must be above 0"),
        ({"eps": float("nan")}, "eps must be above 0"),
        ({"eps": True}, "eps must be above 0"),
        ({"eps": 10 / 255}, "eps is in 1/255 of the pixel range: for 10/255 it is 10"),
        ({"epochs": 0}, "epochs"),
        ({"identities": 1}, "identities"),
        ({"images": 1}, "images"),
        ({"smoothness": -1}, "smoothness must be 0 or more"),
        ({"objective": "fna", "smoothness": 1}, "smoothness is of objective ap"),
        ({"replays": 0}, "replays"),
        ({"seed": -1}, "seed"),
        ({"identities": FACES + 1}, "identities per batch must be 1 to 12"),
        ({"devices": 4, "identities": 3, "images": 2}, "cannot be split over 4 devices"),
    ],
)
def test_what_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        learn(**fields)


def test_splits_and_networks_that_cannot_be_learned_from():
    recipe = Recipe(identities=2, images=2, epochs=1)
    split = people.query()
    split.labels = np.full(len(split), -1)
    with pytest.raises(InputError, match="no training labels"):
        learn_perturbation(people.embed, split, recipe, loader=loader())
    with pytest.raises(InputError, match="NaN or infinite"):
        learn_perturbation(lambda x: people.embed(x) / 0, train(), recipe, loader=loader())


def test_an_unfinished_state_of_something_else(tmp_path):
    path = tmp_path / "kept.safetensors"
    start = (np.zeros(3, np.float32), np.zeros((), np.int32))
    Unfinished(path, {"seed": 0}).keep(start, 2)
    assert Unfinished(path, {"seed": 0}).found(start)[1] == 2
    with pytest.raises(InputError, match="another perturbation: its seed is 0, now 1"):
        Unfinished(path, {"seed": 1}).found(start)
    with pytest.raises(InputError, match="no unfinished perturbation"):
        Unfinished(path, {"seed": 0}).found(np.zeros(4))
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"kept\.safetensors"):
        Unfinished(path, {"seed": 0}).found(start)
