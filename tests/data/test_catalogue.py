import pytest

from jaxreid.data import DATASETS
from jaxreid.data.catalogue import image_size
from jaxreid.data.prepare.builders import BUILDERS


def test_every_dataset_has_a_builder_of_its_name() -> None:
    assert set(BUILDERS) == set(DATASETS)


def test_configs_of_catalogue_and_builders_agree() -> None:
    for name, card in DATASETS.items():
        assert set(BUILDERS[name].builder_configs) == set(card.configs)
        if card.configs:
            assert BUILDERS[name].get_default_builder_config(BUILDERS[name]).name == card.configs[0]
        assert set(card.counts) <= (set(card.configs) or {""})


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("market1501", (256, 128)),
        ("cuhk03_np/labeled", (256, 128)),
        ("veri776", (256, 256)),
        ("reid_folder/shop", (256, 128)),
        ("unknown", (256, 128)),
        ("synthetic_reid", (64, 32)),
        ("synthetic_reid/default", (64, 32)),
        ("synthetic_reid/tiny", (64, 32)),
        ("synthetic_reid/market_like", (256, 128)),
    ],
)
def test_the_size_that_networks_see(name: str, size: tuple[int, int]) -> None:
    assert image_size(name) == size


def test_published_counts() -> None:
    gallery = {
        (name, config): (c.train_images, c.query_images, c.gallery_images, c.cameras)
        for name, card in DATASETS.items()
        for config, c in card.counts.items()
    }
    assert gallery == {
        ("market1501", ""): (12936, 3368, 19732, 6),
        ("dukemtmc_reid", ""): (16522, 2228, 17661, 8),
        ("msmt17", ""): (32621, 11659, 82161, 15),
        ("cuhk03_np", "detected"): (7365, 1400, 5332, 2),
        ("cuhk03_np", "labeled"): (7368, 1400, 5328, 2),
        ("occluded_duke", ""): (15618, 2210, 17661, 8),
        ("veri776", ""): (37778, 1678, 11579, 20),
    }


def test_the_withdrawal_of_dukemtmc_is_said_where_users_look() -> None:
    from jaxreid.data.prepare.builders import DukemtmcReid, OccludedDuke

    for text in (
        DATASETS["dukemtmc_reid"].notice,
        DATASETS["occluded_duke"].notice,
        DukemtmcReid.__doc__ or "",
        OccludedDuke.__doc__ or "",
        DukemtmcReid.MANUAL_DOWNLOAD_INSTRUCTIONS,
        OccludedDuke.MANUAL_DOWNLOAD_INSTRUCTIONS,
    ):
        assert "withdr" in text
        assert "consent" in text
