"""Adversarial images on disk: equal to the attack, and refused when they are not what was made."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import people
import pytest
from holders import held_elsewhere
from PIL import Image

from jaxreid.cli.running import explained
from jaxreid.data.source import InMemorySplit
from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    StoredImages,
    conditions,
    provenance_of,
    read_manifest,
    robustness,
    write_images,
)
from jaxreid.evaluation.stored_images import png_names

LOADER = LoaderSettings(people.SIZE, batch_size=4)
PROVENANCE = provenance_of(title="t", command="c", model={"sha256": "m"}, dataset={}, settings={})
QUERY, GALLERY = people.query(), people.gallery()


def written(folder, *, attack="fna", side="query", eps=3.0):
    test = RetrievalTest(people.embed, QUERY, GALLERY, loader=LOADER)
    condition = conditions([attack], [eps], steps=3, side=side)[-1]
    return write_images(test, condition, folder, PROVENANCE)


def rescored(folder, side="query", **options):
    manifest = read_manifest(folder)
    stored = StoredImages(folder, manifest, QUERY if side == "query" else GALLERY)
    test = RetrievalTest(people.embed, QUERY, GALLERY, loader=LOADER)
    return robustness(test, [manifest.condition], stored=stored, **options)[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("side", "eps"), [("query", 3.0), ("gallery", 2.5)])
def test_rescoring_equals_the_attack(tmp_path, side, eps):
    folder = tmp_path / "deep" / "images"
    manifest = written(folder, side=side, eps=eps)
    assert read_manifest(folder) == manifest
    assert manifest.condition.eight_bit
    test = RetrievalTest(people.embed, QUERY, GALLERY, loader=LOADER)
    direct = robustness(test, [manifest.condition])[-1]
    found = rescored(folder, side)
    found, direct = (
        dataclasses.replace(one, seconds=0, compile_seconds=0) for one in (found, direct)
    )
    assert found == direct
    assert found.largest_change == int(eps)
    assert max(entry["largest_change"] for entry in manifest.files.values()) == int(eps)


def test_what_is_written(tmp_path):
    manifest = written(tmp_path / "out")
    names = [f"1_0{i}.png" for i in range(7)]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [*names, "manifest.json"]
    assert list(manifest.files) == names
    assert sorted(tmp_path.iterdir()) == [tmp_path / "out"]
    # 1_00 and 1_01 show one person and push each other; the last one has nobody but its pull.
    assert manifest.files["1_00.png"]["push"] == ["1_01.jpg"]
    assert manifest.files["1_06.png"]["push"] == []
    assert manifest.files["1_06.png"]["pull"] in (1, 2, 3)
    with Image.open(tmp_path / "out" / "1_00.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (8, 16))


def test_images_that_pull_are_named(tmp_path):
    manifest = written(tmp_path / "out", attack="nna")
    pulls = manifest.files["1_06.png"]["pull"]
    # All that show somebody else: neither the distractor nor junk.
    assert sorted(pulls) == [f"1_0{i}.jpg" for i in range(6)]
    assert read_manifest(tmp_path / "out") == manifest


def test_an_unguided_image_is_written_as_it_was(tmp_path):
    manifest = written(tmp_path / "out", attack="ifgsm")
    assert manifest.files["1_06.png"]["largest_change"] == 0
    with Image.open(tmp_path / "out" / "1_06.png") as picture:
        stored = np.asarray(picture)
    from jaxreid.data.decode import decode

    np.testing.assert_array_equal(stored, decode(QUERY[6]["image"], name="x"))


def test_a_filled_folder_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    for path in (tmp_path / "out", tmp_path / "out" / "mine"):
        with pytest.raises(InputError, match="not an empty folder"):
            written(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["mine", "out"]


def test_a_folder_that_cannot_be_written():
    with pytest.raises(InputError, match="cannot write to /proc/nothing"):
        written(Path("/proc/nothing/out"))


def test_a_full_disk_is_no_wrong_input_and_leaves_nothing(tmp_path, monkeypatch, kind):
    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=f"cannot write to {tmp_path / 'out'}: No space left") as told:
        written(tmp_path / "out")
    assert explained(told.value)[1] == 1
    kind("attack, a full disk", "exit 1: " + explained(told.value)[0].replace(str(tmp_path), "..."))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "out"
    written(folder)
    return folder


@pytest.fixture
def stored(tmp_path, original):
    """A copy of its own: what is done to it, is done to no other test's."""
    return Path(shutil.copytree(original, tmp_path / "out"))


def test_a_changed_file_is_named(stored):
    Image.new("RGB", (8, 16)).save(stored / "1_02.png")
    with pytest.raises(InputError, match=r"1_02\.png is not the file that was written"):
        rescored(stored)


def test_a_missing_file_is_named(stored):
    (stored / "1_02.png").unlink()
    with pytest.raises(InputError, match=r"1_02\.png is missing"):
        rescored(stored)


def edit(folder, change):
    fields = json.loads((folder / "manifest.json").read_text())
    change(fields)
    (folder / "manifest.json").write_text(json.dumps(fields))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.update(schema=99), "schema 99"),
        (lambda f: f.pop("files"), "damaged"),
        (lambda f: f.update(files=[]), "damaged"),
        (lambda f: f["files"].update({"1_02.png": {"source": [], "sha256": ""}}), "damaged"),
        (lambda f: f["condition"].update(eps="3"), "damaged"),
        (lambda f: f["condition"].update(attack="fnaa"), "did you mean 'fna'"),
        (lambda f: f["condition"].update(more=1), "damaged"),
        (lambda f: f["condition"].update(attack="clean"), "no attack that was written"),
        (lambda f: f["condition"].update(eight_bit=False), "no attack that was written"),
        (lambda f: f["condition"].update(eps=1), "changed by 3/255, beyond the eps = 1"),
        (lambda f: f["files"].pop("1_02.png"), "holds 6 images, and others than the 7"),
        (lambda f: f["files"].update({"../x": f["files"]["1_02.png"]}), "which the split lacks"),
    ],
)
def test_a_manifest_that_is_not_what_was_written(stored, change, message):
    edit(stored, change)
    with pytest.raises(InputError, match=message):
        rescored(stored)


DAMAGE = (None, True, -1, 1.5, 10**400, "x", "\udcff", [], [[1]], {}, {"a": {}}, [{}])


def places(value, path=()):
    """Every place in nested JSON, the outermost first."""
    yield path
    steps = value if isinstance(value, dict) else range(len(value) if type(value) is list else 0)
    for step in steps:
        yield from places(value[step], (*path, step))


def test_a_manifest_that_is_damaged_anywhere_is_read_or_refused(stored, kind):
    intact = json.loads((stored / "manifest.json").read_text())
    for name in list(intact["files"])[1:]:
        del intact["files"][name]
    refused = 0
    for path in list(places(intact))[1:]:
        for damage in DAMAGE:
            fields = json.loads(json.dumps(intact))
            target = fields
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = damage
            (stored / "manifest.json").write_text(json.dumps(fields))
            try:
                StoredImages(stored, read_manifest(stored), QUERY)
            except InputError:
                refused += 1
    # Of schema, condition and files there is hardly a value that another could stand for.
    assert refused > 100
    kind("manifest.json of another form, anywhere", "exit 2: manifest.json is damaged: ...")


def test_stored_images_stand_for_one_attack(stored):
    images = StoredImages(stored, read_manifest(stored), QUERY)
    wanted = conditions(["sma"], [3], steps=3)
    with pytest.raises(InputError, match="the stored images are of fna-linf3"):
        robustness(
            RetrievalTest(people.embed, QUERY, GALLERY, loader=LOADER), wanted, stored=images
        )


def test_no_manifest(tmp_path):
    with pytest.raises(InputError, match="expected a folder of `jaxreid attack`"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_manifest(tmp_path)


def test_names_of_pngs_are_distinct():
    assert png_names(["a.jpg", "b/a.jpg", "a.PNG", "a.jpeg"]) == [
        "a.png",
        "b/a.png",
        "a.PNG.png",
        "a.jpeg.png",
    ]


def test_subfolders_are_kept(tmp_path):
    query = InMemorySplit(
        [QUERY[i]["image"] for i in range(4)],
        [1, 1, 2, 2],
        [0, 1, 0, 1],
        file_names=["0/a.jpg", "0/b.jpg", "1/a.jpg", "1/b.jpg"],
    )
    test = RetrievalTest(people.embed, query, GALLERY, loader=LOADER)
    condition = conditions(["noise"], [2])[-1]
    write_images(test, condition, tmp_path / "out", PROVENANCE)
    assert (tmp_path / "out" / "1" / "b.png").is_file()


def test_two_attacks_on_one_folder(tmp_path, kind):
    out = tmp_path / "out"
    with held_elsewhere(out, beside=True):
        with pytest.raises(InputError, match=f"{out} is in use by process") as refused:
            written(out)
        assert not out.exists()
    written(out)
    assert sorted(tmp_path.iterdir()) == [out]
    kind("two attack --out on one folder", str(refused.value).replace(str(tmp_path), "DIR"))


def test_what_a_killed_attack_left_is_cleared(tmp_path, kind):
    out = tmp_path / "out"
    code = (
        "import os, pathlib; from jaxreid.files import staging\n"
        f"with staging(pathlib.Path({str(out)!r})) as folder:\n"
        "    (folder / 'images').mkdir(); os.kill(os.getpid(), 9)"
    )
    paths = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | paths)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    written(out)
    assert sorted(tmp_path.iterdir()) == [out]
    kind("temporary files of an attack that was killed", "gone after the next one")
