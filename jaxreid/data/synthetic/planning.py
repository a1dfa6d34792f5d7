"""Which people are seen where and when: the dataset as a list, before anything is drawn."""

import dataclasses
import functools
from typing import NamedTuple

from jaxreid.data.synthetic.stream import PEOPLE, PLAN, Stream
from jaxreid.errors import InputError

__all__ = ["CONFIGS", "SyntheticConfig", "SyntheticImage", "people", "plan"]

_FRAME_STEP = 25
# Of which each gives a track one more image, or not.
_DRAWS = 8


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """One size of the synthetic dataset.

    Attributes:
        name: key in CONFIGS.
        seed: changes every image.
        version: changes when the drawing does: images are a function of (config, file name).
        height: pixels of every image.
        width: pixels of every image.
        cameras: number of cameras.
        train_identities: people of the training split.
        test_identities: people of the query and gallery splits, none of them in training.
        train_images: images of the training split.
        train_tracks: (identity, camera) pairs of the training split; each gets an image or more.
        query_images: one per (identity, camera) pair of the test people; each pair also has one
            gallery image or more, and each person has two cameras or more.
        gallery_matches: gallery images of the query identities.
        distractors: gallery images of identity 0: bits of background and of strangers.
        junk: gallery images of identity -1: badly cut boxes of the test people.
        more_people: training people beside these, with about as many cameras and images each; all
            else stays as it is, to the last bit, and who is among the first so many stays, too.
        colour_spread: standard deviation of clothes' colours around the muted mean, of 255.
        detail: contrast of fabric, prints and other fine detail, of 255.
        camera_shift: standard deviation of a camera's gain per colour channel.
        light_shift: standard deviation of the gain from image to image.
        blur: mean blur radius in pixels of a 128 pixel high image.
        noise: standard deviation of the sensor noise, of 255.
        occlusion: share of images where something stands before the person.
        misalignment: standard deviation of the box's shift, as a share of its size.
    """

    name: str
    cameras: int
    train_identities: int
    test_identities: int
    train_images: int
    train_tracks: int
    query_images: int
    gallery_matches: int
    distractors: int
    junk: int
    more_people: int = 0
    height: int = 128
    width: int = 64
    seed: int = 2020
    version: int = 1
    colour_spread: float = 22.0
    detail: float = 11.0
    camera_shift: float = 0.05
    light_shift: float = 0.06
    blur: float = 0.6
    noise: float = 3.0
    occlusion: float = 0.25
    misalignment: float = 0.05


def _default(name: str, more_people: int) -> SyntheticConfig:
    return SyntheticConfig(
        name=name,
        cameras=6,
        train_identities=200,
        test_identities=100,
        train_images=2400,
        train_tracks=1000,
        query_images=450,
        gallery_matches=900,
        distractors=100,
        junk=50,
        more_people=more_people,
    )


CONFIGS = {
    config.name: config
    for config in (
        SyntheticConfig(
            name="tiny",
            height=64,
            width=32,
            cameras=3,
            train_identities=12,
            test_identities=8,
            train_images=96,
            train_tracks=34,
            query_images=22,
            gallery_matches=44,
            distractors=8,
            junk=6,
        ),
        _default("default", 0),
        # The same test people, and more to learn from: what that is worth to a defense.
        *(_default(f"people_{count}", count - 200) for count in (400, 800, 1600, 2400)),
        # Market-1501's counts; its 19,732 gallery boxes are 13,115 + 2,798 distractors + junk.
        SyntheticConfig(
            name="market_like",
            cameras=6,
            train_identities=751,
            test_identities=750,
            train_images=12936,
            train_tracks=3380,
            query_images=3368,
            gallery_matches=13115,
            distractors=2798,
            junk=3819,
        ),
    )
}


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
    """Training and test identities, each sorted; together they are 1, 2, 3, ...

    As in Market-1501, training ones are not contiguous.
    """
    stream = Stream(config.seed, config.version, PEOPLE)
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
    stream = Stream(config.seed, config.version, PLAN)
    train, test = people(config)
    images = []
    tracks = _tracks(stream, train, config.cameras, config.train_tracks)
    for track, count in zip(tracks, _share(stream, config.train_images, len(tracks)), strict=True):
        images += [_image("train", track, frame) for frame in _frames(stream, count)]
    for number in range(config.more_people):
        images += _one_more(config, 1 + config.train_identities + config.test_identities + number)
    tracks = _tracks(stream, test, config.cameras, config.query_images)
    counts = _share(stream, config.gallery_matches, len(tracks))
    for track, count in zip(tracks, counts, strict=True):
        frames = _frames(stream, count + 1)
        asked = stream.index(count + 1)
        images += [
            _image("query" if i == asked else "gallery", track, frame)
            for i, frame in enumerate(frames)
        ]
    images += _without_identity(stream, -1, config.junk, config.cameras)
    images += _without_identity(stream, 0, config.distractors, config.cameras)
    order = {"train": 0, "query": 1, "gallery": 2}
    return sorted(images, key=lambda i: (order[i.split], *i[2:]))


def _check(config: SyntheticConfig) -> None:
    def demand(holds: bool, text: str) -> None:
        if not holds:
            raise InputError(f"synthetic config {config.name!r}: {text}")

    count = config.train_identities + config.test_identities + config.more_people
    demand(count <= 9999, f"identities have four digits, and there are {count}")
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
        demand(
            not config.more_people or images - pairs <= _DRAWS * pairs,
            f"with more_people, {names} must be at most {1 + _DRAWS} times {tracks} = {pairs}",
        )
        demand(images >= pairs, f"{names} must be at least {tracks} = {pairs}, got {images}")


def _one_more(config: SyntheticConfig, identity: int) -> list[SyntheticImage]:
    """Images of a training person beside the others, whom nobody else has a say in."""
    stream = Stream(config.seed, config.version, PLAN, identity)
    order = stream.shuffled(config.cameras)
    spare = config.train_tracks - 2 * config.train_identities
    lucky = spare / ((config.cameras - 2) * config.train_identities) if config.cameras > 2 else 0
    cameras = order[:2] + [camera for camera in order[2:] if stream.chance(lucky)]
    further = (config.train_images - config.train_tracks) / config.train_tracks
    images = []
    for camera in sorted(cameras):
        track = (identity, camera, 1 + stream.index(6))
        count = 1 + sum(stream.chance(further / _DRAWS) for _ in range(_DRAWS))
        images += [_image("train", track, frame) for frame in _frames(stream, count)]
    return images


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


def _without_identity(
    stream: Stream, identity: int, count: int, cameras: int
) -> list[SyntheticImage]:
    """Distractors or junk; the frame step keeps their names apart."""
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
