"""A whole certificate: stored as it comes, the same however it is computed, honest about chance."""

import dataclasses

import jax
import numpy as np
import people
import pytest

from jaxreid.data.batches import Images
from jaxreid.errors import InputError
from jaxreid.evaluation import (
    Asked,
    LoaderSettings,
    RetrievalTest,
    certify,
    open_run,
    provenance_of,
    smoothed,
)
from jaxreid.evaluation.certified import estimates
from jaxreid.ranking import certified_ranks, mean_error, summarize
from jaxreid.records import Certificate, CertifiedQueries
from jaxreid.types import Embedded

PROVENANCE = provenance_of(title="t", command="c", model={}, dataset={}, settings={})
ASKED = Asked(sigma=0.3, radii=(0.0, 0.1), samples=64, gallery_samples=32, confidence=0.5)


def opened(embed=people.embed, batch_size=4, **options):
    loader = LoaderSettings(people.SIZE, batch_size=batch_size)
    return RetrievalTest(embed, people.query(), people.gallery(), loader=loader, **options)


def test_a_certificate_is_what_its_parts_say(tmp_path):
    heard, levels = [], []
    test = opened(progress=lambda *work: heard.append(work))
    found = certify(test, open_run(tmp_path, PROVENANCE), ASKED, on_level=levels.append)
    assert found == Certificate.load(tmp_path / "certificate.json")
    assert list(found.levels) == levels
    assert ("smoothed query", 9 * 64, 9 * 64) in heard
    assert ("smoothed gallery", 14 * 32, 14 * 32) in heard
    # The same again, in memory: one embedding for each side.
    sides = []
    for source, samples in ((people.query(), 64), (people.gallery(), 32)):
        embed = smoothed(people.embed, sigma=0.3, samples=samples, key=jax.random.key(0))
        images = Images(source, people.SIZE, "bilinear", None)(np.arange(len(source)))
        features = np.asarray(embed(images.astype(np.float32) / 255))
        sides.append(Embedded(features, np.asarray(source.identities), np.asarray(source.cameras)))
    lengths = np.linalg.norm(sides[0].features, axis=1)
    # Seven queries have a match; each may fail with a seventh of what all of them may.
    error = mean_error(lengths, samples=64, failure=0.5 / 7)
    certain = certified_ranks(*sides, sigma=0.3, error=error, radii=ASKED.radii)
    for level, ranks in zip(found.levels, certain.ranks, strict=True):
        for protocol, score in level.certified.items():
            expected = summarize(ranks, protocol=protocol, max_rank=10)
            assert score.mean_average_precision == pytest.approx(
                expected.mean_average_precision, abs=1e-6
            )
            assert score.rank1 == pytest.approx(expected.rank(1))
    queries = CertifiedQueries.load(tmp_path / "certificate.npz")
    np.testing.assert_allclose(queries.error, error, atol=1e-6)
    np.testing.assert_allclose(queries.radius, certain.radius, atol=1e-5)
    assert found.queries == queries.valid.sum() == 7
    right = queries.valid & (queries.first_match_rank == 1)
    assert found.abstained == (right & (queries.radius <= 0)).sum() > 0


def test_more_is_certain_of_less_and_nothing_of_what_is_not_found(tmp_path):
    found = certify(opened(), open_run(tmp_path, PROVENANCE), ASKED)
    for protocol, clean in found.clean.items():
        maps = [one.certified[protocol].mean_average_precision for one in found.levels]
        assert clean.mean_average_precision >= maps[0] >= maps[1] > 0
    surer = certify(opened(), open_run(tmp_path, PROVENANCE), ASKED._replace(confidence=0.9999))
    assert surer.error > found.error
    assert surer.clean == found.clean


def test_what_is_stored_is_not_computed_again_and_what_is_damaged_is(tmp_path, monkeypatch):
    run, asked = open_run(tmp_path, PROVENANCE), ASKED
    whole = certify(opened(), run, asked)
    passes = []
    means = estimates._means
    monkeypatch.setattr(
        estimates, "_means", lambda *given: passes.append(given[1].images.shape) or means(*given)
    )
    assert certify(opened(), run, asked).levels == whole.levels
    assert passes == []
    files = sorted((tmp_path / "smoothed").glob("query-*.npz"))
    files[0].write_bytes(b"damaged")
    files[1].unlink()
    # Also with another batch size, and on fewer devices.
    again = certify(opened(batch_size=2), run, asked)
    assert len(passes) == 2
    assert again.clean == whole.clean
    for one, other in zip(again.levels, whole.levels, strict=True):
        assert one.certified["torchreid"].mean_average_precision == pytest.approx(
            other.certified["torchreid"].mean_average_precision
        )


@pytest.mark.slow
def test_attacks_through_the_noise_leave_more_than_the_certificate(tmp_path):
    run = open_run(tmp_path, PROVENANCE)
    found = certify(opened(), run, ASKED._replace(radii=(0.0, 1.5)), attack=True)
    clean, last = found.levels
    assert clean.attacked is None
    assert not (tmp_path / "worst").exists()
    for protocol, score in last.attacked.items():
        assert score.mean_average_precision < found.clean[protocol].mean_average_precision
        certain = last.certified[protocol]
        assert score.mean_average_precision >= certain.mean_average_precision
    # What was attacked once is known.
    assert certify(opened(), run, ASKED._replace(radii=(0.0, 1.5)), attack=True).levels == (
        found.levels
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sigma": -1.0}, "sigma must be above 0"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"gallery_samples": 0}, "gallery_samples must be at least 1"),
        ({"confidence": 1.0}, "confidence must lie in"),
        ({"radii": ()}, "radii must ascend, at least one"),
        ({"radii": (0.2, 0.1)}, "radii must ascend"),
        ({"radii": (0.1, float("nan"))}, r"radii\[1\] must be at least 0"),
    ],
)
def test_what_cannot_be_asked(tmp_path, wrong, said):
    with pytest.raises(InputError, match=said):
        certify(opened(), open_run(tmp_path, PROVENANCE), ASKED._replace(**wrong))
    assert not (tmp_path / "smoothed").exists()


def test_a_damaged_certificate_is_refused_by_its_field(tmp_path):
    found = certify(opened(), open_run(tmp_path, PROVENANCE), ASKED)
    for changed, said in (
        ({"abstained": found.queries + 1}, "abstained"),
        ({"levels": found.levels[::-1]}, "order of their radii"),
        ({"clean": {}}, "protocols of clean"),
        ({"schema": 99}, "schema"),
    ):
        dataclasses.replace(found, **changed).save(tmp_path)
        with pytest.raises(InputError, match=said):
            Certificate.load(tmp_path)
