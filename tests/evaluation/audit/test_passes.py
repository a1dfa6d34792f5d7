"""Passes forward and backward: each fault is flagged, and what is sound is not."""

import masked
import numpy as np
import people
import pytest
from masked import OF_PASSES

from jaxreid.errors import InputError
from jaxreid.evaluation import LoaderSettings, RetrievalTest
from jaxreid.evaluation.audit.passes import backward_flags, forward_flags
from jaxreid.evaluation.audit.sample import sample_of


def sample(embed, query=None, **options):
    loader = LoaderSettings(people.SIZE, **{"batch_size": 8, **options})
    test = RetrievalTest(embed, query or people.query(), people.gallery(), loader=loader)
    return sample_of(test, "euclidean", 5)


def raised(flags):
    return [flag.name for flag in flags if flag.raised]


def test_the_sample_is_of_people_who_can_be_found():
    found = sample(people.embed)
    # Seven of the nine queries are people, and everybody has a match.
    assert found.positions.tolist() == [0, 1, 2, 4, 5]
    assert found.images.shape == (5, *people.SIZE, 3)
    nobody = people.split(1, [-1, 0, 7], [0, 0, 0])
    with pytest.raises(InputError, match="no query of a person has a match"):
        sample(people.embed, nobody)


def test_programs_over_a_sample_do_not_depend_on_its_batches():
    def doubled(shared, rows):
        return rows["a"] * shared, rows["b"][:, 0]

    rows = {"a": np.arange(5.0), "b": np.arange(10).reshape(5, 2)}
    for batch_size in (1, 4, 64):
        a, b = sample(people.embed, batch_size=batch_size).over(doubled, np.float32(2), rows)
        np.testing.assert_array_equal(a, [0, 2, 4, 6, 8])
        np.testing.assert_array_equal(b, [0, 2, 4, 6, 8])


@pytest.mark.parametrize(
    ("embed", "expected"),
    [
        (masked.faulty("embed", OF_PASSES), []),
        (masked.faulty("straight_through", OF_PASSES), []),
        (masked.noisy, ["randomised"]),
        (masked.resized, ["randomised"]),
        (masked.drawn_while_tracing, ["randomised"]),
        (masked.faulty("by_its_batch", OF_PASSES), ["batch-mates"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_forward_passes(embed, expected):
    flags = forward_flags(sample(embed))
    found = raised(flags)
    # What differs from pass to pass differs with other batch-mates, too.
    assert found[:1] == expected
    assert found == expected or expected == ["randomised"]
    assert [flag.name for flag in flags] == ["randomised", "batch-mates"]
    for flag in flags:
        assert flag.raised == (flag.number > flag.threshold)
        if flag.name not in expected and expected != ["randomised"]:
            assert flag.number == 0


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("embed", []),
        ("straight_through", []),
        ("quantised", ["no gradient", "backward pass"]),
        # A step of four grey levels takes some feature from one end to the other.
        ("saturated", ["no gradient", "backward pass"]),
        ("detached", ["backward pass"]),
        ("shattered", ["backward pass"]),
        ("not_a_number", ["no gradient", "backward pass"]),
    ],
)
def test_backward_passes(fault, expected):
    flags = backward_flags(sample(masked.faulty(fault, OF_PASSES)))
    assert raised(flags) == expected
    for flag in flags:
        assert flag.number == 0 or flag.raised


@pytest.mark.slow
def test_an_audit_of_the_passes_is_reproducible():
    first, other = (
        backward_flags(sample(masked.faulty("detached", OF_PASSES), batch_size=b)) for b in (4, 64)
    )
    assert first == other
