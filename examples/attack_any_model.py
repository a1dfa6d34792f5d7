"""Attack a small network with random weights on generated images, and rank the result.

Any function from images to features can stand in for `embed`: Flax, Equinox, plain JAX. The numbers
show the mechanics, not the state of the art.
"""

import argparse
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from jaxreid import attacks, guides, ranking
from jaxreid.types import Embedded

EPS, STEPS = 5 / 255, 15


class SmallNet(nnx.Module):
    """Three strided convolutions and a global average: images [B,H,W,3] -> features [B,64]."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        widths = (3, 32, 64, 64)
        self.layers = nnx.List(
            nnx.Conv(a, b, (3, 3), strides=2, rngs=rngs) for a, b in pairwise(widths)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Features [B,64] of images [B,H,W,3]."""
        for layer in self.layers:
            x = nnx.tanh(layer(x))
        return x.mean((1, 2))


def generated_people(identities: int, cameras: int, seed: int) -> tuple[np.ndarray, ...]:
    """Blurred colour patterns, one per identity; every camera shifts the colours and adds noise."""
    rng = np.random.default_rng(seed)
    pattern = np.repeat(np.repeat(rng.uniform(0.2, 0.8, (identities, 8, 4, 3)), 8, 1), 8, 2)
    shift = rng.normal(0, 0.01, (cameras, 1, 1, 3))
    images = pattern[:, None] + shift[None] + rng.normal(0, 0.05, (identities, cameras, 64, 32, 3))
    names, views = np.meshgrid(np.arange(1, identities + 1), np.arange(cameras), indexing="ij")
    flat = np.clip(images.reshape(-1, 64, 32, 3), 0, 1).astype(np.float32)
    return flat, names.ravel(), views.ravel()


def main() -> None:
    """Attacks the images of the first camera and ranks all others for them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    images, identities, cameras = generated_people(options.identities, 4, options.seed)
    embed = SmallNet(nnx.Rngs(options.seed))
    features = jax.jit(embed)(images)

    queries = cameras == 0
    x, names = jnp.asarray(images[queries]), identities[queries]
    gallery = Embedded(features[~queries], identities[~queries], cameras[~queries])

    # Who guides whom: the other images of the identity push, the furthest other identity pulls.
    own = guides.same_identity(names, gallery.identities)
    means = guides.centroids(gallery.features, gallery.identities)
    furthest = guides.furthest_other(features[queries], names, *means)
    given = attacks.AttackInput(
        push=gallery.features[own.indices],
        push_mask=own.mask,
        pull=means.features[furthest.indices],
        pull_mask=furthest.mask,
        key=attacks.example_keys(jax.random.key(options.seed), np.flatnonzero(queries)),
        eps=EPS,
        steps=STEPS,
    )

    table = Table(title=f"{len(x)} queries, {len(gallery.identities)} gallery images, eps = 5/255")
    for column in ("attack", "largest change, 1/255", "mAP, %", "rank-1, %"):
        table.add_column(column, justify="left" if column == "attack" else "right")
    for name in track(["clean", *attacks.ATTACKS], description="Attacking"):
        adversarial = x
        if name != "clean":
            attack = attacks.ATTACKS[name]
            one = given._replace(push=given.push[:, :1], push_mask=given.push_mask[:, :1])
            adversarial = attack.run(embed, x, one if attack.push == "one" else given)
        query = Embedded(embed(adversarial), names, cameras[queries])
        scores = ranking.evaluate(query, gallery)
        change = float(jnp.abs(adversarial - x).max()) * 255
        table.add_row(
            name,
            f"{change:.4f}",
            f"{100 * scores.mean_average_precision:.1f}",
            f"{100 * scores.rank(1):.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
