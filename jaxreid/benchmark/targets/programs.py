"""What is compiled: features, an attack, the worst case, a block of a ranking, training."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from jaxreid.attacks import unchecked
from jaxreid.benchmark.attack import PULLS, own_attack
from jaxreid.benchmark.networks import network_of
from jaxreid.benchmark.targets.chips import Slice
from jaxreid.benchmark.training import Variant, first_state
from jaxreid.constants import EPS, STEPS
from jaxreid.evaluation.worst.attacker import Lists
from jaxreid.evaluation.worst.members import members_of
from jaxreid.evaluation.worst.programs import Rows, Shared, program
from jaxreid.models import embedding
from jaxreid.models.folding import Target
from jaxreid.ranking.lists import aligned_size
from jaxreid.ranking.scores import CHUNK, Block, Targets, count_block
from jaxreid.records import Condition
from jaxreid.sharding import row_mesh, split_rows
from jaxreid.training import TrainBatch, TrainState, cross_entropy_loss, train_step

__all__ = ["PROGRAMS", "Network", "Program", "compiled_for", "lowered_for"]

# Market-1501: queries, gallery, matches of a query at most, and images to train on.
_QUERIES, _GALLERY, _MATCHES, _IMAGES = 3368, 19_732, 72, 12_936
_BLOCK = 1024
# The axis that `sharding` splits rows over, and of the trainer's map.
_AXIS = "rows"
_QUICK = Condition("worst-1-quick", eps=255 * EPS)


class Network(NamedTuple):
    """What is attacked or trained, and on how much at a time.

    Attributes:
        architecture: a key of `jaxreid.models.ARCHITECTURES`.
        size: (height, width) in pixels.
        batch_size: images per chip.
        dtype: of the backbone, "float32" or "bfloat16".
        attack: "sma", "fna" or "nna".
        target: platform whose forms of layers it takes.
    """

    architecture: str
    size: tuple[int, int]
    batch_size: int
    dtype: str
    attack: str
    target: Target


class Program(NamedTuple):
    """What is to be compiled.

    Attributes:
        function: (shared, rows) -> rows, or of a training loop (state, batch) -> both on a device.
        arguments: their shapes, for all devices.
        images: of one device; of a ranking, queries.
        mapped: whether it is the step of a training loop, whose arguments have an axis for devices.
        steps: of which what one costs is asked.
    """

    function: Callable[[Any, Any], Any]
    arguments: tuple[Any, Any]
    images: int
    mapped: bool = False
    steps: int = 1


def _array(*shape: int, dtype: Any = np.float32) -> Any:
    """A shape, where programs take an array."""
    return jax.ShapeDtypeStruct(shape, dtype)


def _frozen(network: Network) -> Any:
    """The embedding's shapes, as it is attacked: nothing of it is computed."""
    given = partial(network_of, network.architecture, network.size, dtype=network.dtype)
    embed = nnx.eval_shape(lambda: embedding(given()))
    return jax.eval_shape(lambda embed: embed.frozen(target=network.target), embed)


def _key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))


def _width(network: Network) -> int:
    """Numbers of a feature."""
    found = jax.eval_shape(lambda embed, x: embed(x), _frozen(network), _images(network, 1))
    return int(found.shape[-1])


def _images(network: Network, *count: int, dtype: Any = np.float32) -> Any:
    return _array(*count, *network.size, 3, dtype=dtype)


def _features(network: Network, devices: int) -> Program:
    images = _images(network, network.batch_size * devices)
    return Program(lambda embed, x: embed(x), (_frozen(network), images), network.batch_size)


def _attack(network: Network, devices: int) -> Program:
    """With clean features and guides given, as `evaluate` attacks: a step is all there is."""
    count, width, pulls = network.batch_size * devices, _width(network), PULLS[network.attack]

    @unchecked
    def run(shared: tuple[Any, Any], rows: tuple[Any, ...]) -> Any:
        (embed, key), (images, clean, pull) = shared, rows
        return own_attack(embed, images, pull, key, STEPS, clean)

    pull = _array(count, pulls, width) if pulls else None
    rows = (_images(network, count), _array(count, width), pull)
    arguments = ((_frozen(network), _key()), rows)
    return Program(run, arguments, network.batch_size, steps=STEPS)


def _worst(network: Network, devices: int) -> Program:
    """An ascent of the quick worst case against Market-1501's gallery."""
    count, gallery, width = network.batch_size * devices, aligned_size(_GALLERY), _width(network)
    member = next(one for one in members_of(_QUICK) if one.start == "best")
    shared = Shared(
        embed=_frozen(network),
        gallery=_array(gallery, width),
        identities=_array(gallery, dtype=np.int32),
        key=_key(),
        eps=_array(),
        sign=_array(),
        person=_array(dtype=np.int32),
    )
    rows = Rows(
        images=_images(network, count, dtype=np.uint8),
        cameras=_array(count, dtype=np.int32),
        position=_array(count, dtype=np.int32),
        start=_images(network, count),
        clean=_array(count, width),
        lists=Lists(
            _array(count, _MATCHES, dtype=np.int32),
            _array(count, _MATCHES, dtype=bool),
            _array(count, gallery, dtype=bool),
        ),
    )
    return Program(program(member, "linf", "euclidean"), (shared, rows), network.batch_size)


def _ranking(network: Network, devices: int) -> Program:
    """A block of gallery items per chip, for the queries and in the numbers of Market-1501."""
    width, chunks = _width(network), -(-_QUERIES // CHUNK)
    queries, slots = chunks * CHUNK, (1, chunks, _MATCHES, CHUNK)
    targets = Targets(
        scores=_array(*slots),
        items=_array(*slots, dtype=np.int32),
        slots=_array(1, chunks, dtype=np.int32),
    )
    items = _BLOCK * devices
    block = Block(
        features=_array(items, width),
        scale=_array(items),
        offset=_array(items),
        identities=_array(items, dtype=np.int32),
        items=_array(items, dtype=np.int32),
    )
    shared = (_array(1, queries, width), _array(1, queries, dtype=np.int32), targets)
    counts = _array(devices, *slots, dtype=np.int32)
    return Program(count_block, (shared, (counts, block)), queries)


def _training(way: Variant, network: Network, devices: int) -> Program:
    """The step of the training loop, with BatchNorm's statistics of all chips."""
    adversary = way.adversary()

    def update(state: TrainState, batch: TrainBatch) -> Any:
        return train_step(
            state,
            batch,
            jax.random.key(0),
            loss_fn=cross_entropy_loss(),
            adversary=adversary,
            axis_name=_AXIS,
        )

    given = (network.architecture, network.size, network.dtype)
    state = jax.eval_shape(lambda: first_state(*given, images=_IMAGES, axis_name=_AXIS))
    state = state.replace(target=network.target, bank=state.bank if way.bank else None)
    copies = jax.tree.map(lambda x: _array(devices, *x.shape, dtype=x.dtype), state)
    arguments = (copies, _batch(way, network, devices))
    return Program(update, arguments, network.batch_size, mapped=True)


def _batch(way: Variant, network: Network, devices: int) -> TrainBatch:
    rows = (devices, network.batch_size)
    pushes = (*rows, way.push if way.steps else 0)
    shown = (*rows, 0) if way.bank else pushes
    return TrainBatch(
        images=_images(network, *rows),
        labels=_array(*rows, dtype=np.int32),
        indices=_array(*rows, dtype=np.int32),
        push_images=_images(network, *shown),
        push_indices=_array(*pushes, dtype=np.int32),
        push_mask=_array(*pushes, dtype=bool),
    )


PROGRAMS: dict[str, Callable[[Network, int], Program]] = {
    "features": _features,
    "attack": _attack,
    "worst": _worst,
    "ranking": _ranking,
    "plain": partial(_training, Variant(steps=0)),
    "goat": partial(_training, Variant(4, 1)),
    "recommended": partial(_training, Variant(4, 1, steps=2, bank=True)),
}
"""name -> (network, number of devices) -> Program."""


def compiled_for(chips: Slice, program: Program) -> jax.stages.Compiled:
    """Compiles a program for chips that need not be there.

    Args:
        chips: of `slice_of`.
        program: for as many devices.

    Returns:
        The program of all chips.
    """
    if program.mapped:
        # As the trainer maps its step.
        step = jax.pmap(program.function, _AXIS, donate_argnums=0, devices=chips.devices)
        return step.lower(*program.arguments).compile()
    run = split_rows(program.function, row_mesh(chips.devices))
    return run.lower(*program.arguments).compile()


def lowered_for(platform: str, program: Program) -> jax.stages.Lowered:
    """Lowers a program of one device for a platform that nothing here compiles for."""
    mesh = row_mesh(jax.devices()[:1])

    def of_device(_: None, both: tuple[Any, Any]) -> Any:
        found = program.function(*jax.tree.map(lambda x: x[0], both))
        return jax.tree.map(lambda x: x[None], found)

    if program.mapped:
        run = split_rows(of_device, mesh).trace(None, program.arguments)
    else:
        run = split_rows(program.function, mesh).trace(*program.arguments)
    return run.lower(lowering_platforms=(platform,))
