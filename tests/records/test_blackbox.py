"""The file of black-box attacks: written whole, read back, refused where it is damaged."""

import dataclasses
import json

import pytest

from jaxreid.errors import InputError
from jaxreid.records import BLACK_BOX_FILE, BlackBox, ByQueries

ATTACK = ByQueries(
    attack="square",
    eps=5.0,
    seed=0,
    prior="",
    checkpoints=(1, 10),
    first=((1, 2, 1), (1, 6, 3)),
    asked=(10, 1, 10),
    succeeded_at=(0, 1, 7),
    average_precision=((0.9, 0.5, 1.0), (0.8, 0.1, 0.3)),
)
WHOLE = BlackBox(("a.jpg", "b.jpg", "c.jpg"), (ATTACK, dataclasses.replace(ATTACK, seed=1)))


def test_it_comes_back_as_it_was(tmp_path):
    WHOLE.save(tmp_path)
    assert BlackBox.load(tmp_path) == WHOLE
    service = dataclasses.replace(ATTACK, average_precision=None)
    dataclasses.replace(WHOLE, attacks=(service,)).save(tmp_path)
    assert BlackBox.load(tmp_path).attacks == (service,)
    assert [path.name for path in tmp_path.iterdir()] == [BLACK_BOX_FILE]


def test_its_figures_are_means_over_the_searches():
    assert ATTACK.rank1() == (2 / 3, 1 / 3)
    assert ATTACK.mean_average_precision() == pytest.approx((0.8, 0.4))
    assert dataclasses.replace(ATTACK, average_precision=None).mean_average_precision() is None
    assert ATTACK.key == ("square", 5.0, 10, 0, "")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("first", [[1, 2, 1]], "first is not 2 x 3 numbers"),
        ("average_precision", [[0.9, 0.5, 1.0], [0.8, 0.1]], "average_precision is not 2 x 3"),
        ("average_precision", [[0.9, 0.5, 1.5]] * 2, "average_precision"),
        ("asked", [1, 2], "asked is not 3 numbers"),
        ("succeeded_at", [1, 2, -1], "succeeded_at is not 3 numbers of at least 0"),
        ("checkpoints", [10, 1], "checkpoints do not ascend"),
        ("checkpoints", [], "no checkpoints"),
        ("seed", "zero", "seed"),
    ],
)
def test_damage_is_named(tmp_path, kind, field, value, said):
    WHOLE.save(tmp_path)
    path = tmp_path / BLACK_BOX_FILE
    fields = json.loads(path.read_text())
    fields["attacks"][1][field] = value
    path.write_text(json.dumps(fields))
    with pytest.raises(InputError, match=rf"blackbox.json is damaged: attacks\[1\].*{said}") as one:
        BlackBox.load(tmp_path)
    kind(f"a blackbox.json whose {field} is {value}", f"InputError: {one.value}"[:90])


def test_another_version_and_no_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        BlackBox.load(tmp_path)
    dataclasses.replace(WHOLE, schema=9).save(tmp_path)
    with pytest.raises(InputError, match="schema 9"):
        BlackBox.load(tmp_path)
