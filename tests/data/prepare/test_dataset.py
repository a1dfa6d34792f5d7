"""From a folder to a prepared dataset, and every way in which that can go wrong."""

import errno
import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxreid.data.decode import decode
from jaxreid.data.loader import evaluation_batches
from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.prepare.report import LeftOut, PrepareReport, read_report
from jaxreid.data.prepared import prepared_folder
from jaxreid.data.source import open_split
from jaxreid.errors import InputError

_SPLITS = ("train", "validation_query", "validation_gallery", "query", "gallery")


def _prepare(folder: Path, out: Path, **options: object) -> PrepareReport:
    return prepare_dataset("market1501", manual_dir=folder, data_dir=out, subset=True, **options)


def _is_prepared(out: Path) -> bool:
    try:
        prepared_folder("market1501", data_dir=out)
    except InputError:
        return False
    return True


def _left(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "market1501").iterdir())


def _everything(out: Path) -> list[tuple[str, bytes]]:
    sources = [open_split("market1501", s, data_dir=out) for s in ("train_all", "query", "gallery")]
    return [(s.file_names[i], s[i]["image"]) for s in sources for i in range(len(s))]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_everything_goes_in_and_comes_out(market_folder: Path, out: Path) -> None:
    report = _prepare(market_folder, out)
    assert {split: counts.images for split, counts in report.splits.items()} == {
        "train": 30,
        "validation_query": 3,
        "validation_gallery": 3,
        "query": 12,
        "gallery": 36,
    }
    gallery = report.splits["gallery"]
    assert (gallery.identities, gallery.distractors, gallery.junk) == (4, 6, 6)
    assert report.ignored_files == 3
    assert report.unmatched_query_images == 0
    folders = {"query": "query", "gallery": "bounding_box_test", "train_all": "bounding_box_train"}
    for split, folder in folders.items():
        source = open_split("market1501", split, data_dir=out)
        paths = sorted((market_folder / folder).glob("*.jpg"))
        assert sorted(source.file_names) == [path.name for path in paths]
        for i in range(len(source)):
            example = source[i]
            name = example["file_name"]
            assert example["image"] == (market_folder / folder / name).read_bytes()
            assert name.startswith(
                f"{example['identity']:04d}_" if example["identity"] >= 0 else "-1_"
            )
            assert f"_c{example['camera'] + 1}s{example['sequence']}_" in name
            assert f"_{example['frame']:06d}_" in name


def test_preparing_twice_gives_the_same_bytes(market_folder: Path, out: Path) -> None:
    _prepare(market_folder, out / "a")
    _prepare(market_folder, out / "b")
    files = sorted(path.name for path in (out / "a" / "market1501" / "1.0.0").iterdir())
    assert len(files) == 9
    for name in files:
        a, b = (out / x / "market1501" / "1.0.0" / name for x in "ab")
        if name != "reid_index.npz":  # a zip file holds the time
            assert a.read_bytes() == b.read_bytes(), name
    for split in _SPLITS:
        a, b = (open_split("market1501", split, data_dir=out / x) for x in "ab")
        np.testing.assert_array_equal(a.labels, b.labels)
        assert a.file_names == b.file_names


def test_the_original_zip_does_as_well(market_folder: Path, out: Path, tmp_path: Path) -> None:
    archive = tmp_path / "Market-1501-v15.09.15.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(market_folder.rglob("*.jpg")):
            file.write(path, path.relative_to(tmp_path))
    from_zip = _prepare(archive, out / "zip")
    from_folder = _prepare(market_folder, out / "folder")
    assert from_zip.splits == from_folder.splits
    assert _left(out / "zip") == [".prepare.lock", "1.0.0"]


@pytest.mark.parametrize("keep", [0.2, 0.9])
def test_an_unreadable_zip_leaves_nothing(
    keep: float, market_folder: Path, out: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "Market.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in market_folder.rglob("*.jpg"):
            file.write(path, path.relative_to(tmp_path))
    archive.write_bytes(archive.read_bytes()[: int(keep * archive.stat().st_size)])
    with pytest.raises(InputError, match=r"Market\.zip cannot be read as an archive"):
        _prepare(archive, out)
    assert not _is_prepared(out)
    assert _left(out) == [".prepare.lock"]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda root: (root / "query").rename(root / "asked"),
            "expected Market-1501-v15.09.15.zip",
        ),
        (lambda root: [p.unlink() for p in (root / "query").glob("*.jpg")], "query has no .jpg"),
        (lambda root: (root / "query" / "me.jpg").touch(), "1 file name .*'me.jpg'"),
        (
            lambda root: (root / "query" / "0001_c1s1_000001_00.jpg").write_bytes(b"\xff\xd8\xff"),
            "0001_c1s1_000001_00.jpg",
        ),
        (
            lambda root: (root / "query" / "0001_c1s2_000037_00.jpg").rename(
                root / "query" / "0002_c1s2_000037_00.jpg"
            ),
            "both training and query: 2",
        ),
    ],
    ids=["missing", "empty", "name", "corrupt", "shared"],
)
def test_bad_input_leaves_nothing(
    break_it: Callable[[Path], object], message: str, market_folder: Path, out: Path
) -> None:
    break_it(market_folder)
    with pytest.raises(InputError, match=message):
        _prepare(market_folder, out)
    assert not _is_prepared(out)
    assert _left(out) == [".prepare.lock"]


def test_a_full_dataset_must_be_full(market_folder: Path, out: Path) -> None:
    with pytest.raises(InputError, match="train images: 36 instead of 12,936"):
        prepare_dataset("market1501", manual_dir=market_folder, data_dir=out)
    assert not _is_prepared(out)


def test_corrupt_images_can_be_left_out_and_are_counted(market_folder: Path, out: Path) -> None:
    for path in sorted((market_folder / "query").glob("*.jpg"))[:2]:
        path.write_bytes(path.read_bytes()[:300])
    report = _prepare(market_folder, out, skip_corrupt=True)
    assert len(report.skipped_corrupt) == 2
    assert "0001_c1s2_000037_00.jpg" in report.skipped_corrupt[0]
    assert report.splits["query"].images == 10


def test_a_folder_of_corrupt_images_only(market_folder: Path, out: Path) -> None:
    for path in (market_folder / "query").glob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="none of the 12 query images"):
        _prepare(market_folder, out, skip_corrupt=True)


def test_unanswerable_queries_are_reported_and_kept(market_folder: Path, out: Path) -> None:
    for path in (market_folder / "bounding_box_test").glob("0001_*.jpg"):
        path.unlink()
    report = _prepare(market_folder, out)
    assert (report.unmatched_query_images, report.unmatched_query_identities) == (3, 1)
    assert report.splits["query"].images == 12


def test_what_is_prepared_is_not_prepared_again(market_folder: Path, out: Path) -> None:
    first = _prepare(market_folder, out)
    steps: list[str] = []
    again = _prepare(market_folder, out, progress=lambda step, done, total: steps.append(step))
    assert again == first
    assert steps == []


def test_other_wishes_than_before_are_not_ignored(market_folder: Path, out: Path) -> None:
    _prepare(market_folder, out)
    with pytest.raises(InputError, match=r"subset was True and is False.*--force"):
        prepare_dataset("market1501", manual_dir=market_folder, data_dir=out)
    other = market_folder.parent / "other"
    market_folder.rename(other)
    with pytest.raises(InputError, match=r"it was made from .*Market-1501"):
        _prepare(other, out)


def test_force_prepares_anew(market_folder: Path, out: Path) -> None:
    _prepare(market_folder, out)
    for path in (market_folder / "query").glob("*_c3s*.jpg"):
        path.unlink()
    assert _prepare(market_folder, out, force=True).splits["query"].images == 8
    assert _left(out) == [".prepare.lock", "1.0.0"]


def test_a_failed_force_keeps_what_was_there(market_folder: Path, out: Path) -> None:
    _prepare(market_folder, out)
    for path in (market_folder / "query").glob("*.jpg"):
        path.unlink()
    with pytest.raises(InputError, match="query has no"):
        _prepare(market_folder, out, force=True)
    assert len(open_split("market1501", "query", data_dir=out)) == 12
    assert _left(out) == [".prepare.lock", "1.0.0"]


def test_progress_tells_every_step_to_its_end(market_folder: Path, out: Path) -> None:
    last: dict[str, tuple[int, int]] = {}

    def note(step: str, done: int, total: int) -> None:
        assert done == last.get(step, (0, 0))[0] + 1
        last[step] = (done, total)

    _prepare(market_folder, out, progress=note)
    assert all(done == total for done, total in last.values())
    assert last["checking images"] == (84, 84)
    assert last["writing gallery"] == last["verifying gallery"] == (36, 36)


_RUN = """
    import os, resource, signal, sys
    from jaxreid.data.prepare import builders
    from jaxreid.data.prepare import prepare_dataset
    folder, out, how, where = sys.argv[1:]

    def progress(step, done, total):
        if how == "kill" and step.startswith(where) and done > total // 2:
            os.kill(os.getpid(), signal.SIGKILL)

    if how == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(where), int(where)))
    prepare_dataset(
        "market1501", manual_dir=folder, data_dir=out, subset=True, force=how == "kill",
        progress=progress,
    )
"""


def _run(folder: Path, out: Path, how: str, where: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_RUN), str(folder), str(out), how, where],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )


@pytest.mark.parametrize(
    "where",
    [
        "checking",
        "verifying gallery",
        *(
            pytest.param(step, marks=pytest.mark.slow)
            for step in ("unpacking", "writing train", "writing gallery")
        ),
    ],
)
def test_killed_at_any_step_nothing_passes_for_prepared(
    where: str, market_folder: Path, out: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "Market.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(market_folder.rglob("*.jpg")):
            file.write(path, path.relative_to(tmp_path))
    assert _run(archive, out, "kill", where).returncode == -signal.SIGKILL
    assert any(name.startswith("incomplete.") for name in _left(out))
    assert not _is_prepared(out)
    _prepare(archive, out)
    assert _is_prepared(out)
    assert _left(out) == [".prepare.lock", "1.0.0"]


def test_killed_while_replacing_the_old_stays(
    market_folder: Path, out: Path, kind: Callable[[str, str], None]
) -> None:
    _prepare(market_folder, out)
    before = _everything(out)
    assert _run(market_folder, out, "kill", "writing gallery").returncode == -signal.SIGKILL
    assert any(name.startswith("incomplete.") for name in _left(out))
    assert _everything(out) == before
    _prepare(market_folder, out)
    assert _everything(out) == before
    assert _left(out) == [".prepare.lock", "1.0.0"]
    _prepare(market_folder, out, force=True)
    assert _left(out) == [".prepare.lock", "1.0.0"]
    kind("data prepare --force, killed", "the old data set stays whole and readable")


_EVERY_STEP = """
    import os, sys
    from pathlib import Path
    from jaxreid import files
    from jaxreid.data.prepare import builders
    from jaxreid.data.prepare import prepare_dataset
    from jaxreid.data.source import open_split

    folder, out, exchanges, kills = sys.argv[1:]
    STEPS = {"exchange"}
    if kills == "at every step":
        STEPS |= {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
    victim = sorted((Path(folder) / "query").glob("*.jpg"))[0]

    def forked(do, *arguments):
        if (child := os.fork()) == 0:
            status = 3
            try:
                status = do(*arguments)
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def replace(kill_at):
        done = 0
        def step(event, arguments):
            nonlocal done
            if event in STEPS:
                done += 1
                if done == kill_at:
                    os._exit(9)  # as kill -9 does: nothing is tidied up
        if exchanges == "no":
            files._exchange = lambda one, other: False
        else:
            swap = files._exchange
            def then_die(one, other):
                step("exchange", ())
                assert swap(one, other), "this file system exchanges no folders"
                step("exchange", ())
                return True
            files._exchange = then_die
        sys.addaudithook(step)
        prepare_dataset("market1501", manual_dir=folder, data_dir=out, subset=True, force=True)
        return 0

    def count():
        splits = [open_split("market1501", s, data_dir=out) for s in ("train", "query", "gallery")]
        for split in splits:
            for i in range(len(split)):
                split[i]
        return len(splits[1])

    old, new = 12, 11
    assert forked(count) == old
    victim.unlink()
    seen = []
    for kill_at in range(1, 1000):
        ended = forked(replace, kill_at)
        seen.append(forked(count))
        assert ended in (0, 9) and seen[-1] in (old, new), (kill_at, ended, seen)
        if ended == 0:
            break
    assert seen == sorted(seen, reverse=True) and seen[0] == old and seen[-1] == new, seen
    print(len(seen))
"""


@pytest.mark.parametrize(
    ("exchanges", "kills"),
    [
        ("yes", "around the exchange"),
        *(pytest.param(e, "at every step", marks=pytest.mark.slow) for e in ("yes", "no")),
    ],
)
def test_killed_at_any_step_of_replacing_there_is_a_whole_one(
    exchanges: str, kills: str, market_folder: Path, out: Path
) -> None:
    """Each change of a folder is the last one once; then the old or the new one is read whole."""
    _prepare(market_folder, out)
    code = textwrap.dedent(_EVERY_STEP)
    run = subprocess.run(
        [sys.executable, "-c", code, str(market_folder), str(out), exchanges, kills],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == 3 if kills == "around the exchange" else int(run.stdout) > 20
    assert _left(out) == [".prepare.lock", "1.0.0"]


def test_what_made_room_is_read_and_put_back(market_folder: Path, out: Path) -> None:
    """Where folders cannot be exchanged: killed between the two renames."""
    _prepare(market_folder, out)
    before = _everything(out)
    folder = out / "market1501"
    (folder / "1.0.0").rename(folder / "replaced.1.0.0")
    assert _everything(out) == before
    assert _prepare(market_folder, out).directory == str(folder / "1.0.0")
    assert _left(out) == [".prepare.lock", "1.0.0"]
    assert _everything(out) == before


def test_force_mends_what_is_damaged(
    market_folder: Path, out: Path, kind: Callable[[str, str], None]
) -> None:
    _prepare(market_folder, out)
    notes = out / "market1501" / "1.0.0" / "dataset_info.json"
    for damage in (b"", b"\0" * 100, b"[]", b'{"name": 3}', b"[" * 100_000):
        notes.write_bytes(damage)
        with pytest.raises(InputError, match=r"dataset_info.json is damaged.*with --force"):
            _prepare(market_folder, out)
        assert len(_everything(out)) == 84
    notes.unlink()
    notes.mkdir()
    with pytest.raises(InputError, match=r"dataset_info.json is damaged.*with --force"):
        _prepare(market_folder, out)
    kind("data prepare, dataset_info.json damaged", "exit 2: ... prepare it again with --force")
    _prepare(market_folder, out, force=True)
    _prepare(market_folder, out)


@pytest.mark.parametrize(
    "limit", ["2000", *(pytest.param(n, marks=pytest.mark.slow) for n in ("10", "15000"))]
)
def test_a_full_disk_leaves_nothing(limit: str, market_folder: Path, out: Path) -> None:
    """Writes beyond a file size fail, in Python and in array_record's C++ alike."""
    run = _run(market_folder, out, "full", limit)
    assert run.returncode == 1
    assert "File too large" in run.stderr
    assert _left(out) == [".prepare.lock"]
    _prepare(market_folder, out)
    assert _is_prepared(out)


def test_a_disk_that_is_full_from_the_start_is_told_with_its_folder(
    market_folder: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[str, str], None],
) -> None:
    monkeypatch.setattr(
        "tensorflow_datasets.core.utils.has_sufficient_disk_space", lambda *_, **__: False
    )
    with pytest.raises(OSError, match="No space left on device") as said:
        _prepare(market_folder, out)
    assert (said.value.errno, Path(said.value.filename).is_dir()) == (errno.ENOSPC, True)
    assert _left(out) == [".prepare.lock"]
    kind("data prepare, the disk full from the start", "exit 1: ...: No space left on device")


@pytest.mark.parametrize(
    "what", ["builder.write_index", "report.PrepareReport.write", "checks.ReidSplit"]
)
def test_a_fault_after_the_records_leaves_nothing(
    what: str, market_folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"jaxreid.data.prepare.{what}", full)
    with pytest.raises(OSError, match="No space left"):
        _prepare(market_folder, out)
    assert not _is_prepared(out)
    assert _left(out) == [".prepare.lock"]


def test_bytes_that_changed_on_the_way_are_noticed(
    market_folder: Path, out: Path, encoded: Callable[..., bytes]
) -> None:
    victim = sorted((market_folder / "query").glob("*.jpg"))[0]

    def meddle(step: str, done: int, total: int) -> None:
        if step == "writing train":
            victim.write_bytes(encoded(999))

    with pytest.raises(OSError, match=f"query record 0 .{victim.name}. does not hold the bytes"):
        _prepare(market_folder, out, progress=meddle)
    assert not _is_prepared(out)


def test_the_report_is_kept_as_json(market_folder: Path, out: Path) -> None:
    report = _prepare(market_folder, out)
    kept = json.loads((Path(report.directory) / "prepare_report.json").read_text())
    assert kept["splits"]["gallery"]["junk"] == 6
    assert kept["source"] == str(market_folder)
    assert kept["options"] == {"subset": True, "skip_corrupt": False}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("market", "unknown dataset 'market'; expected one of: market1501, dukemtmc_reid"),
        ("market1501/large", "unknown dataset 'market1501/large'; expected .*it has no configs"),
        ("cuhk03_np/drawn", "expected one of: cuhk03_np/detected, cuhk03_np/labeled"),
        ("reid_folder/../x", "cannot name a dataset"),
        ("reid_folder/", "cannot name a dataset"),
    ],
)
def test_unknown_names(name: str, message: str, market_folder: Path, out: Path) -> None:
    with pytest.raises(InputError, match=message):
        prepare_dataset(name, manual_dir=market_folder, data_dir=out)


def test_what_is_generated_needs_no_folder(market_folder: Path, out: Path) -> None:
    with pytest.raises(InputError, match="synthetic_reid is generated; expected no --manual-dir"):
        prepare_dataset("synthetic_reid/tiny", manual_dir=market_folder, data_dir=out)


def test_nothing_is_downloaded_so_a_folder_must_be_named(out: Path) -> None:
    with pytest.raises(InputError, match=r"name with --manual-dir: Market-1501-v15.09.15.zip"):
        prepare_dataset("market1501", data_dir=out)


def _write(path: Path, picture: Image.Image, format: str, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, format, **options)


def _noise(seed: int, size: tuple[int, int] = (8, 16)) -> Image.Image:
    shape = (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))


def _own(root: Path, name: Callable[[int, int], str], **options: object) -> Path:
    """Three training people and one test person, two cameras: name(person, camera)."""
    for folder, people in (("bounding_box_train", (1, 2, 3)), ("query", (4,))):
        for person in people:
            for camera in (0, 1):
                _write(root / folder / name(person, camera), _noise(9 * person + camera), "BMP")
    for camera in (0, 1):
        _write(root / "bounding_box_test" / name(4, camera), _noise(camera), "BMP")
    return root


def _prepare_own(root: Path, out: Path, **options: object) -> PrepareReport:
    return prepare_dataset("reid_folder/own", manual_dir=root, data_dir=out, **options)


def _pixels(out: Path, split: str = "query") -> np.ndarray:
    source = open_split("reid_folder/own", split, data_dir=out)
    with evaluation_batches(source, 2, size=(16, 8)) as batches:
        return next(batches).images


def test_rotated_images_are_read_upright_or_as_they_are_stored(
    tmp_path: Path, out: Path, kind: Callable[[str, str], None]
) -> None:
    root = _own(tmp_path / "own", lambda person, camera: f"{person}_c{camera + 1}.bmp")
    upright = _noise(77)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees to the left
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    _write(root / "query" / "4_c1.png", turned, "PNG", exif=exif)
    (root / "query" / "4_c1.bmp").unlink()
    report = _prepare_own(root, out)
    assert report.rotated_images == 1
    assert report.remarks == (
        "1 image: stored rotated (Exif), read upright (--orientation as-stored leaves them as "
        "they lie)",
    )
    np.testing.assert_array_equal(_pixels(out)[0], np.asarray(upright))
    with pytest.raises(InputError, match="orientation was 'upright' and is 'as-stored'"):
        _prepare_own(root, out, orientation="as-stored")
    report = _prepare_own(root, out, orientation="as-stored", force=True)
    assert report.remarks == ("1 image: stored rotated (Exif), read as they lie",)
    lying = np.asarray(turned.resize((8, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(_pixels(out)[0], lying)
    assert not open_split("reid_folder/own", "query", data_dir=out).upright
    assert _prepare_own(root, out, orientation="as-stored") == report
    with pytest.raises(InputError, match="orientation was 'as-stored' and is 'upright'"):
        _prepare_own(root, out)
    with pytest.raises(InputError, match="must be one of upright, as-stored, got 'sideways'"):
        _prepare_own(root, out, orientation="sideways")
    kind("Exif-rotated images", "read upright and counted; --orientation as-stored keeps them")


def test_sixteen_bit_grey_keeps_its_contrast_and_is_told(
    tmp_path: Path, out: Path, kind: Callable[[str, str], None]
) -> None:
    root = _own(tmp_path / "own", lambda person, camera: f"{person}_c{camera + 1}.bmp")
    ramp = np.linspace(0, 65535, 128).astype(np.uint16).reshape(16, 8)
    for camera, values in ((1, ramp), (2, ramp >> 4)):
        (root / "query" / f"4_c{camera}.bmp").unlink()
        _write(root / "query" / f"4_c{camera}.png", Image.fromarray(values), "PNG")
    report = _prepare_own(root, out)
    np.testing.assert_array_equal(_pixels(out)[0, :, :, 0], ramp // 256)
    assert report.remarks == (
        "2 images: 16 bits per grey value, of which the upper eight are read",
        "1 image: less than a sixteenth of the 16 bits is used, so they are read as nearly black; "
        "scale them first",
    )
    kind("16-bit grey PNG", "read by its upper eight bits, and counted")


def test_bmp_and_webp_go_in_and_come_out(tmp_path: Path, out: Path) -> None:
    root = _own(tmp_path / "own", lambda person, camera: f"{person}_c{camera + 1}.bmp")
    _write(root / "query" / "4_c1.webp", _noise(50), "WEBP", lossless=True)
    report = _prepare_own(root, out)
    assert report.splits["query"].images == 3
    source = open_split("reid_folder/own", "query", data_dir=out)
    assert list(source.file_names) == ["4_c1.bmp", "4_c1.webp", "4_c2.bmp"]
    assert source[1]["image"] == (root / "query" / "4_c1.webp").read_bytes()
    expected = [_noise(36), _noise(50), _noise(37)]
    for i, picture in enumerate(expected):
        pixels = decode(source[i]["image"], name="x")
        np.testing.assert_array_equal(pixels, np.asarray(picture))
    assert tfds.data_source("reid_folder/own", split="query", data_dir=out)[1]["image"].shape == (
        16,
        8,
        3,
    )


def test_cameras_in_words_and_people_from_zero(
    tmp_path: Path, out: Path, kind: Callable[[str, str], None]
) -> None:
    words = ("hall", "entrance")
    root = _own(tmp_path / "own", lambda person, camera: f"{words[camera]}/{person - 1:03d}.bmp")
    pattern = r"(?P<camera>\w+)/(?P<identity>\d+)\.bmp"
    with pytest.raises(InputError, match=r"identity 0 or -1: .*--first-identity 0") as error:
        _prepare_own(root, out, pattern=pattern)
    kind("people counted from 0", f"exit 2: {error.value}".replace(str(root), "FOLDER"))
    report = _prepare_own(root, out, pattern=pattern, first_identity=0)
    assert report.cameras == {"entrance": 0, "hall": 1}
    kind("cameras named by words", f"numbered in sorted order: {dict(report.cameras)}")
    source = open_split("reid_folder/own", "train_all", data_dir=out)
    seen = zip(source.file_names, source.identities, source.cameras, strict=True)
    assert sorted((n, int(i), int(c)) for n, i, c in seen) == [
        (f"{word}/{person - 1:03d}.bmp", person, camera)
        for word, camera in (("entrance", 0), ("hall", 1))
        for person in (1, 2, 3)
    ]
    with pytest.raises(InputError, match="first_identity was 0 and is 1"):
        _prepare_own(root, out, pattern=pattern)
    assert _prepare_own(root, out, pattern=pattern, first_identity=0) == report


def test_linked_folders_go_in_and_what_does_not_is_reported(
    market_folder: Path, out: Path, encoded: Callable[..., bytes]
) -> None:
    query, elsewhere = market_folder / "query", market_folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "0001_c3s1_000900_00.jpg").write_bytes(encoded(900))
    (query / "linked").symlink_to(elsewhere)
    (query / "x.tif").touch()
    report = prepare_dataset("reid_folder/x", manual_dir=market_folder, data_dir=out)
    assert report.splits["query"].images == 13
    assert report.left_out[".tif images, a format that is not read"] == LeftOut(1, "query/x.tif")
    report = _prepare(market_folder, out)
    below = report.left_out["images in subfolders, which this layout does not have"]
    assert below == LeftOut(1, "query/linked/0001_c3s1_000900_00.jpg")
    assert report.splits["query"].images == 12
    assert report.ignored_files == 3
    assert read_report(Path(report.directory)) == report


@pytest.mark.parametrize("data_dir", ["/dev/null", "/dev/null/x", "x" * 300, "\udcff"])
@pytest.mark.parametrize("force", [True, False])
def test_a_data_dir_that_cannot_be_is_named(
    data_dir: str, force: bool, market_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"expected a folder|cannot name a folder"):
        _prepare(market_folder, tmp_path / data_dir, force=force)


def test_absurd_numbers_are_refused(market_folder: Path, out: Path) -> None:
    for option, value in (
        ("first_camera", 10**30),
        ("first_camera", -(10**30)),
        ("first_identity", 10**30),
        ("first_identity", -1),
    ):
        with pytest.raises(InputError, match="expected at most 1,000,000,000"):
            _prepare_own(market_folder, out, **{option: value})
    with pytest.raises(InputError, match="workers must be at most"):
        prepare_dataset("synthetic_reid/tiny", data_dir=out, workers=10**6)
    with pytest.raises(InputError, match="cannot name a dataset"):
        prepare_dataset("reid_folder/" + "x" * 300, manual_dir=market_folder, data_dir=out)
    with pytest.raises(InputError, match=r"expected one of: .*; did you mean market1501"):
        prepare_dataset("market", manual_dir=market_folder, data_dir=out)


def test_two_at_once_and_the_second_finds_it_prepared(
    market_folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process ends its preparation while this one waits to look."""
    report = _prepare(market_folder, out)
    made = Path(report.directory).stat().st_ino
    exists = Path.exists
    asked = []

    def not_yet(self: Path) -> bool:
        asked.append(self.name)
        return exists(self) and not (self.name == "1.0.0" and asked.count("1.0.0") < 3)

    monkeypatch.setattr(Path, "exists", not_yet)
    assert _prepare(market_folder, out) == report
    assert asked.count("1.0.0") >= 3
    assert Path(report.directory).stat().st_ino == made


def test_links_to_folders_in_an_archive_are_named(
    market_folder: Path, out: Path, tmp_path: Path
) -> None:
    (market_folder / "query" / "more").symlink_to("../bounding_box_test")
    archive = tmp_path / "Market.tar"
    with tarfile.open(archive, "w") as file:
        file.add(market_folder, "Market")
    report = _prepare(archive, out)
    kind = "links to folders in the archive (unpack it, and they are followed)"
    assert report.left_out[kind] == LeftOut(1, "Market/query/more")


@pytest.mark.parametrize("missing", ["reid_index.npz", "*-gallery.array_record-*"])
def test_what_is_prepared_in_part_does_not_pass(
    missing: str, market_folder: Path, out: Path
) -> None:
    folder = Path(_prepare(market_folder, out).directory)
    for path in folder.glob(missing):
        path.unlink()
    with pytest.raises(InputError, match=r"1\.0\.0 has (no|0 of 1) .* again with --force"):
        _prepare(market_folder, out)
    _prepare(market_folder, out, force=True)
    _prepare(market_folder, out)


@pytest.mark.parametrize(
    "name", ["dataset_info.json", "features.json", "reid_index.npz", "prepare_report.json", None]
)
def test_a_pipe_in_a_prepared_dataset_is_refused_and_not_waited_for(
    name: str | None, market_folder: Path, out: Path
) -> None:
    folder = Path(_prepare(market_folder, out).directory)
    path = folder / name if name else next(folder.glob("*-query.array_record-*"))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=f"{path.name}|is not prepared"):
        open_split("market1501", "query", data_dir=out)
    with pytest.raises(InputError, match=path.name):
        _prepare(market_folder, out)
    if name is None:
        _prepare(market_folder, out, force=True)
        assert len(_everything(out)) == 84
