"""Sizes and difficulty of the synthetic dataset: one declared number per thing that can vary."""

import dataclasses

__all__ = ["CONFIGS", "SyntheticConfig"]


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
        SyntheticConfig(
            name="default",
            cameras=6,
            train_identities=200,
            test_identities=100,
            train_images=2400,
            train_tracks=1000,
            query_images=450,
            gallery_matches=900,
            distractors=100,
            junk=50,
        ),
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
