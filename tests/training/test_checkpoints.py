"""Checkpoints come back as they went, or are put aside."""

import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import trainings
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models import create
from jaxreid.training.checkpoints import Checkpoints
from jaxreid.training.position import Position
from jaxreid.training.state import TrainState, arrays_of, with_arrays

NOTES = {"best": 0.5, "best_step": None, "config": {"size": [32, 16]}}


def arrays(seed):
    rng = np.random.default_rng(seed)
    return {
        "step": np.array(seed, np.int32),
        "params.head.kernel": rng.normal(size=(64, 33)).astype(np.float32),
        "params.wide": rng.normal(size=7),
        "stats.half": np.asarray(jnp.asarray(rng.normal(size=5), jnp.bfloat16)),
    }


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of steps 3, 6 and 9."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (3, 6, 9):
        checkpoints.save(step, arrays(step), {**NOTES, "step": step})
    checkpoints.close()
    return tmp_path / "checkpoints"


def newest(folder):
    checkpoints = Checkpoints(folder, keep=3)
    try:
        return checkpoints.newest()
    finally:
        checkpoints.close()


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def check(saved, step):
    assert saved.notes == {**NOTES, "step": step}
    expected = arrays(step)
    assert saved.arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert saved.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(saved.arrays[name], array)


def test_the_newest_comes_back_as_it_went(folder):
    step, saved, warnings = newest(folder)
    assert (step, warnings) == (9, [])
    check(saved, 9)


def test_none_at_all(tmp_path):
    assert newest(tmp_path / "checkpoints") is None


def test_only_so_many_are_kept(folder):
    checkpoints = Checkpoints(folder, keep=2)
    checkpoints.save(12, arrays(12), NOTES)
    checkpoints.save(12, arrays(0), NOTES)  # there is one already
    checkpoints.finish()
    assert checkpoints.steps() == [12, 9]
    checkpoints.close()
    np.testing.assert_array_equal(newest(folder)[1].arrays["step"], 12)
    with pytest.raises(InputError, match=r"checkpoint\.keep must be at least 1, got 0"):
        Checkpoints(folder, keep=0)


def flip(folder):
    file = largest_file(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(folder):
    for file in (path for path in (folder / "state").rglob("*") if path.is_file()):
        os.truncate(file, file.stat().st_size // 2)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def delete_notes(folder):
    shutil.rmtree(folder / "notes")


DAMAGE = {
    "a flipped bit": flip,
    "cut files": truncate,
    "a lost file": lambda folder: largest_file(folder).unlink(),
    "no notes": delete_notes,
    "an empty folder": empty,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_one_is_put_aside(folder, damage):
    damage(folder / "9")
    step, saved, warnings = newest(folder)
    assert step == 6
    check(saved, 6)
    assert len(warnings) == 1
    assert f"checkpoint 9 in {folder} is damaged and was put aside" in warnings[0]
    aside = folder.with_name("checkpoints-damaged")
    assert [path.name for path in aside.iterdir()] == ["9"]
    # Its step can be saved again.
    checkpoints = Checkpoints(folder, keep=3)
    assert checkpoints.steps() == [6, 3]
    checkpoints.save(9, arrays(9), {**NOTES, "step": 9})
    checkpoints.close()
    check(newest(folder)[1], 9)


def test_two_damaged_ones(folder):
    flip(folder / "9")
    truncate(folder / "6")
    step, saved, warnings = newest(folder)
    assert (step, len(warnings)) == (3, 2)
    check(saved, 3)


def test_all_damaged_is_an_error_and_leaves_them(folder):
    for step in (3, 6, 9):
        flip(folder / str(step))
    with pytest.raises(InputError, match=r"none of the checkpoints \[9, 6, 3\] in .* can be read"):
        newest(folder)
    assert {"3", "6", "9"} <= {path.name for path in folder.iterdir()}


def test_a_save_that_was_cut_off_is_none(folder):
    """As a process leaves it that is killed while it writes."""
    shutil.copytree(folder / "9", folder / "12.orbax-checkpoint-tmp")
    step, _, warnings = newest(folder)
    assert (step, warnings) == (9, [])
    checkpoints = Checkpoints(folder, keep=3)
    checkpoints.save(12, arrays(12), {**NOTES, "step": 12})
    checkpoints.close()
    check(newest(folder)[1], 12)


@pytest.fixture(scope="module")
def state():
    model = create(trainings.SHAPE, classes=3, rngs=nnx.Rngs(0))
    return TrainState.create(model, optax.adam(0.1), averaged=True, bank=jnp.ones((5, 8)))


def test_a_state_is_its_arrays(state, tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    checkpoints.save(0, arrays_of(state), NOTES)
    checkpoints.close()
    saved = newest(tmp_path / "checkpoints")[1]
    zeros = jax.tree.map(jnp.zeros_like, state)
    jax.tree.map(np.testing.assert_array_equal, with_arrays(zeros, saved.arrays), state)
    names = set(saved.arrays)
    assert {"step", "bank"} <= names
    for group in ("params", "stats", "optimizer_state", "average"):
        assert any(name.startswith(f"{group}.") for name in names)


def test_arrays_of_another_network_or_optimiser_are_refused(state):
    for other in (
        TrainState.create(
            create(trainings.SHAPE, classes=4, rngs=nnx.Rngs(0)),
            optax.adam(0.1),
            averaged=True,
            bank=jnp.ones((5, 8)),
        ),
        state.replace(average=None),
        state.replace(bank=None),
    ):
        with pytest.raises(InputError, match="of another network or optimiser"):
            with_arrays(other, arrays_of(state))


def test_a_copy_outlives_the_state_and_its_donation(state, tmp_path):
    on_device = jax.tree.map(jnp.array, state)
    copies = arrays_of(on_device)
    before = {name: array.copy() for name, array in copies.items()}
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    checkpoints.save(1, copies, NOTES)
    step = jax.jit(lambda s: jax.tree.map(lambda leaf: leaf * 0 + 7, s), donate_argnums=0)
    for _ in range(3):
        on_device = step(on_device)
    checkpoints.close()
    found = newest(tmp_path / "checkpoints")[1].arrays
    for name, array in before.items():
        np.testing.assert_array_equal(copies[name], array)
        np.testing.assert_array_equal(found[name], array)


WRONG_NOTES = {
    "a list": [],
    "no configuration": {"config": 3},
    "batches": {"batches": {"next_batch": "5"}},
    "best": {"best": "high"},
    "window": {"window": {"sums": [], "count": 1}},
}


@pytest.mark.parametrize("wrong", WRONG_NOTES.values(), ids=WRONG_NOTES)
def test_notes_of_another_form_are_a_damaged_checkpoint(wrong):
    sound = {
        "config": {},
        "batches": {"next_batch": 5, "plan": {}},
        "best": 0.5,
        "best_step": 5,
        "window": {"sums": {"loss": 0.1}, "count": 1},
    }
    arrays = {"step": np.array(5, np.int32)}
    assert Position.of(arrays, sound) == Position(5, 0.5, 5)
    Position.of(arrays, {name: sound[name] for name in list(sound)[:-1]})
    with pytest.raises(ValueError, match="notes"):
        Position.of(arrays, {**sound, **wrong} if wrong else wrong)
    with pytest.raises(ValueError, match="steps"):
        Position.of({}, sound)


# What is left of a failed save, at any later time: TensorStore calls back to a loop that is closed,
# from no Python code, and tasks of Orbax have failed that nobody waited for.
ECHOES = """
import asyncio
import sys
import weakref
from pathlib import Path
from jaxreid.cli.stopping import stop_signals
from jaxreid.training.checkpoints import Checkpoints


def echo(function, text):
    def calls_back(_):
        raise RuntimeError(text)

    calls_back.__code__ = calls_back.__code__.replace(co_name=function)
    thing = type("Thing", (), {})()
    held = weakref.ref(thing, calls_back)
    del thing


def unheard(path):
    code = "async def save(): raise ValueError('File too large')"
    exec(compile(code, path, "exec"), names := {})

    async def main():
        asyncio.ensure_future(names["save"]())
        await asyncio.sleep(0)

    asyncio.run(main())


for _ in range(2):
    with stop_signals():
        Checkpoints(Path(sys.argv[1]), keep=1).close()
    echo("call_soon_threadsafe", "Event loop is closed")
    unheard("/packages/orbax/checkpoint/_src/type_handlers.py")
unheard("/packages/others.py")
echo("another", "Event loop is closed")
echo("call_soon_threadsafe", "out of memory")
"""


def test_echoes_of_a_failed_save_are_silent_after_the_command_too(tmp_path):
    heard = subprocess.run(
        [sys.executable, "-c", ECHOES, str(tmp_path / "checkpoints")],
        env=trainings.environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    errors = [line for line in heard.splitlines() if line.startswith(("RuntimeE", "ValueE"))]
    of_others = ["Event loop is closed", "out of memory"]
    assert errors == ["ValueError: File too large", *(f"RuntimeError: {e}" for e in of_others)]
    assert heard.count("in another") == heard.count("in call_soon_threadsafe") == 1
    assert "/packages/others.py" in heard
