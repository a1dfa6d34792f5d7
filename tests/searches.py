"""Random searches, and what the words of a search mean, in loops over plain numbers."""

import math

import numpy as np

from jaxreid.types import Embedded


def random_set(rng, size, dimension=5, identities=5, cameras=3, low=-1):
    return Embedded(
        rng.normal(size=(size, dimension)).astype(np.float32),
        rng.integers(low, identities, size),
        rng.integers(0, cameras, size),
    )


def on_a_grid(rng, size, **settings):
    """Features of small integers: many distances are equal, and all squares are exact."""
    drawn = random_set(rng, size, **settings)
    features = rng.integers(-1, 2, drawn.features.shape).astype(np.float32)
    return drawn._replace(features=features)


def distance_between(x, y, distance):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if distance == "euclidean":
        return math.sqrt(((x - y) ** 2).sum())
    if not x.any() or not y.any():
        return 1.0
    return 1 - (x * y).sum() / math.sqrt((x * x).sum()) / math.sqrt((y * y).sum())


def positions(query, gallery, row):
    """Matches and others of a query by the rules of the protocol."""
    identity, camera = query.identities[row], query.cameras[row]
    matches, others = [], []
    for place, (name, eye) in enumerate(zip(gallery.identities, gallery.cameras, strict=True)):
        if name == -1:
            continue
        if name != identity:
            others.append(place)
        elif identity > 0 and eye != camera:
            matches.append(place)
    return matches, others


def distances_of(query, gallery, distance):
    """Per row the distances to the matches and to the others."""
    features = query.features
    return [
        [
            [distance_between(features[row], gallery.features[n], distance) for n in part]
            for part in positions(query, gallery, row)
        ]
        for row in range(len(features))
    ]


def pessimistic_ranks(matches, others):
    """Ranks of matches whom every other at the same distance precedes."""
    order = sorted([(d, 1) for d in matches] + [(d, 0) for d in others])
    return [place for place, (_, match) in enumerate(order, 1) if match]
