"""Who is seen where and when: the dataset as a list, before anything is drawn."""

import functools
from typing import NamedTuple

from jaxreid.data.synthetic.config import SyntheticConfig
from jaxreid.data.synthetic.stream import Stream
from jaxreid.errors import InputError

__all__ = ["SyntheticImage", "people", "plan"]

# The number after seed and version keeps the streams of different things apart.
_PLAN, _PEOPLE = 0, 6
_FRAME_STEP = 25


class SyntheticImage(NamedTuple):
    """One image to be drawn.

    Attributes:
        split: "train", "query" or "gallery".
        file_name: in Market-1501's grammar, `0002_c1s1_000451_03.jpg`; unique.
        identity: 1 or more; 0 is a distractor, -1 junk.
        camera: 0-based.
        sequence: 1 or more.
        frame: 1 or more; frames of one (identity, camera) follow each other.
    """

    split: str
    file_name: str
    identity: int
    camera: int
    sequence: int
    frame: int


@functools.lru_cache(maxsize=16)
def people(config: SyntheticConfig) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Deals out the identities, as in Market-1501: training ones are not contiguous.

    Args:
        config: sizes; see SyntheticConfig.

    Returns:
        Training and test identities, each sorted; together they are 1, 2, 3, ...
    """
    stream = Stream(config.seed, config.version, _PEOPLE)
    numbers = [n + 1 for n in stream.shuffled(config.train_identities + config.test_identities)]
    cut = config.train_identities
    return tuple(sorted(numbers[:cut])), tuple(sorted(numbers[cut:]))


def plan(config: SyntheticConfig) -> list[SyntheticImage]:
    """Lists the whole dataset.

    Args:
        config: sizes; see SyntheticConfig.

    Returns:
        One SyntheticImage per image: train, then query, then gallery, each sorted by identity,
        camera and frame. The same list on every machine.

    Raises:
        InputError: the sizes contradict each other.
    """
    _check(config)
    stream = Stream(config.seed, config.version, _PLAN)
    train, test = people(config)
    images = []
    tracks = _tracks(stream, train, config.cameras, config.train_tracks)
    for track, count in zip(tracks, _share(stream, config.train_images, len(tracks)), strict=True):
        images += [_image("train", track, frame) for frame in _frames(stream, count)]
    tracks = _tracks(stream, test, config.cameras, config.query_images)
    counts = _share(stream, config.gallery_matches, len(tracks))
    for track, count in zip(tracks, counts, strict=True):
        frames = _frames(stream, count + 1)
        asked = stream.index(count + 1)
        images += [
            _image("query" if i == asked else "gallery", track, frame)
            for i, frame in enumerate(frames)
        ]
    images += _nobody(stream, -1, config.junk, config.cameras)
    images += _nobody(stream, 0, config.distractors, config.cameras)
    order = {"train": 0, "query": 1, "gallery": 2}
    return sorted(images, key=lambda i: (order[i.split], *i[2:]))


def _check(config: SyntheticConfig) -> None:
    def demand(holds: bool, text: str) -> None:
        if not holds:
            raise InputError(f"synthetic config {config.name!r}: {text}")

    people = config.train_identities + config.test_identities
    demand(people <= 9999, f"identities have four digits, and there are {people}")
    demand(2 <= config.cameras <= 9, f"cameras must be 2 to 9, got {config.cameras}")
    for tracks, identities, images, names in (
        ("train_tracks", "train_identities", config.train_images, "train_images"),
        ("query_images", "test_identities", config.gallery_matches, "gallery_matches"),
    ):
        pairs, persons = getattr(config, tracks), getattr(config, identities)
        demand(
            2 * persons <= pairs <= config.cameras * persons,
            f"{tracks} must be 2 to {config.cameras} times {identities} = {persons}, got {pairs}",
        )
        demand(images >= pairs, f"{names} must be at least {tracks} = {pairs}, got {images}")


def _tracks(
    stream: Stream, identities: tuple[int, ...], cameras: int, count: int
) -> list[tuple[int, int, int]]:
    """(identity, camera, sequence) triples: two cameras for everybody, the rest by chance."""
    chosen, spare = [], []
    for identity in identities:
        order = [(identity, camera) for camera in stream.shuffled(cameras)]
        chosen += order[:2]
        spare += order[2:]
    lucky = stream.shuffled(len(spare))[: count - len(chosen)]
    chosen += [spare[i] for i in lucky]
    return [(*pair, 1 + stream.index(6)) for pair in sorted(chosen)]


def _share(stream: Stream, total: int, parts: int) -> list[int]:
    """Splits a total at random into the given number of parts of one or more."""
    counts = [1] * parts
    for _ in range(total - parts):
        counts[stream.index(parts)] += 1
    return counts


def _frames(stream: Stream, count: int) -> list[int]:
    first = 1 + stream.index(60000)
    return [first + _FRAME_STEP * i for i in range(count)]


def _nobody(stream: Stream, identity: int, count: int, cameras: int) -> list[SyntheticImage]:
    """Boxes of no one in particular; the frame step keeps their names apart."""
    frame, images = 1, []
    for _ in range(count):
        frame += 1 + stream.index(_FRAME_STEP)
        track = (identity, stream.index(cameras), 1 + stream.index(6))
        images.append(_image("gallery", track, frame))
    return images


def _image(split: str, track: tuple[int, int, int], frame: int) -> SyntheticImage:
    identity, camera, sequence = track
    who = f"{identity:04d}" if identity >= 0 else "-1"
    name = f"{who}_c{camera + 1}s{sequence}_{frame:06d}_01.jpg"
    return SyntheticImage(split, name, identity, camera, sequence, frame)
