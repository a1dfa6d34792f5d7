import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from jaxreid.cli import main
from jaxreid.cli.data import _shown


def _run(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["data", *map(str, words)])
    return int(end.value.code or 0)


def test_prepare_show_export_prepare(
    market_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    there = ("--data-dir", out)
    assert _run("prepare", "market1501", "--manual-dir", market_folder, "--subset", *there) == 0
    printed = capsys.readouterr().out
    assert f"market1501: prepared in {out}/market1501/1.0.0" in printed
    assert "gallery                    36       4        3            6      6" in printed
    assert "ignored: 3 files" in printed
    assert _run("show", "market1501", "--out", tmp_path / "sheet.png", *there) == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert _run("export", "market1501", tmp_path / "x", "--layout", "market1501", *there) == 0
    assert len(list((tmp_path / "x").rglob("*.jpg"))) == 84
    assert _run("prepare", "reid_folder/back", "--manual-dir", tmp_path / "x", *there) == 0


def test_wrong_input_is_one_line_and_exit_code_2(
    market_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ("--data-dir", tmp_path / "out")
    assert _run("prepare", "market1501", "--manual-dir", market_folder, *there) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith(
        f"jaxreid: {market_folder} is not the full Market-1501: train images"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("prepare", "nothing"), "unknown dataset 'nothing'"),
        (("prepare", "market1501"), "name with --manual-dir"),
        (("prepare", "market1501", "--pattern", "x"), "--pattern is for reid_folder"),
        (("prepare", "market1501", "--workers", "2"), "--workers is for synthetic_reid"),
        (("show", "market1501", "--out", "x.png"), "market1501 is not prepared"),
        (("export", "market1501", "x"), "market1501 is not prepared"),
    ],
)
def test_mistakes_are_explained(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(*words, "--data-dir", tmp_path) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_was_left_out_is_printed(
    market_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sorted((market_folder / "query").glob("*.jpg"))[0].write_bytes(b"")
    for path in (market_folder / "bounding_box_test").glob("0004_*.jpg"):
        path.unlink()
    words = ("--manual-dir", market_folder, "--data-dir", tmp_path / "out", "--skip-corrupt")
    assert _run("prepare", "reid_folder", *words) == 0
    printed = capsys.readouterr().out
    assert "left out: 1 images that do not decode" in printed
    assert "0001_c1s2_000037_00.jpg: empty file" in printed
    assert "camera: 3 queries of 1 identities (kept)" in printed


def test_the_withdrawal_of_dukemtmc_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--manual-dir", tmp_path / "none", "--data-dir", tmp_path)
    assert _run("prepare", "dukemtmc_reid", *words) == 2
    assert "withdrawn by its authors" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["prepare", "export", "show"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(command, "--help") == 0
    assert f"jaxreid data {command} synthetic_reid" in capsys.readouterr().out


def test_what_is_left_out_and_how_images_are_read_is_printed(
    market_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = market_folder / "query"
    (query / "more").mkdir()
    (query / "more" / "0001_c1s1_000001_00.jpg").write_bytes(b"")
    for name in ("a.tif", "b.tif", os.fsdecode(b"\xff\x1b[31m.txt")):
        (query / name).touch()
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (8, 16)).save(query / "0001_c1s2_000037_00.jpg", exif=exif)
    words = ("--subset", "--manual-dir", market_folder, "--data-dir", tmp_path / "out")
    assert _run("prepare", "market1501", *words) == 0
    printed = capsys.readouterr().out
    assert "ignored: 4 files that are no images, such as bounding_box_train/Thumbs.db" in printed
    assert "left out: 2 .tif images, a format that is not read, such as query/a.tif" in printed
    said = " ".join(printed.split())
    assert "left out: 1 images in subfolders, which this layout does not have, such as" in said
    assert "query/more/0001_c1s1_000001_00.jpg" in said
    assert "note: 1 image: stored rotated (Exif), read upright (--orientation as-stored" in said
    for line in printed.splitlines()[1:]:
        assert len(line) <= 80
    assert _run("prepare", "market1501", *words, "--orientation", "as-stored", "--force") == 0
    assert "stored rotated (Exif), read as they lie" in capsys.readouterr().out


def test_names_of_any_bytes_are_printed(
    market_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (market_folder / "bounding_box_train" / os.fsdecode(b"\xff\x1b[31m.txt")).touch()
    (market_folder / "bounding_box_train" / "Thumbs.db").unlink()
    odd = market_folder.rename(market_folder.parent / os.fsdecode(b"m\xff"))
    words = ("--manual-dir", odd, "--data-dir", tmp_path / "out")
    for _ in range(2):
        assert _run("prepare", "reid_folder/x", *words) == 0
        printed = capsys.readouterr().out
        assert r"such as bounding_box_train/\udcff\x1b[31m.txt" in " ".join(printed.split())
        printed.encode()


def test_cameras_in_words_are_printed_with_their_numbers(
    market_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--manual-dir", market_folder, "--data-dir", tmp_path / "out")
    for path in sorted(market_folder.rglob("*.jpg")):
        camera = ("", "hall", "exit", "a door")[int(path.name.partition("_c")[2][0])]
        path.rename(path.with_name(f"{path.name.partition('_')[0]} {camera} {path.name[-13:]}"))
    pattern = r"(?P<identity>-1|\d+) (?P<camera>\D+) .*"
    assert _run("prepare", "reid_folder/x", *words, "--pattern", pattern) == 0
    printed = capsys.readouterr().out
    assert "cameras in words, numbered: a door = 1, exit = 2, hall = 3" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("prepare", "market"), "did you mean market1501"),
        (("show", "market", "--out", "x.png"), "did you mean market1501"),
        (("export", "market", "x"), "did you mean market1501"),
        (("prepare", "market1501", "--first-identity", "0"), "is for reid_folder"),
        (("prepare", "market1501", "--manual-dir", "/dev/null"), "/dev/null is a file, not a fol"),
        (("prepare", "reid_folder", "--manual-dir", "a" * 300), "cannot be a path (File name too"),
        (
            ("prepare", "synthetic_reid/tiny", "--workers", "1000000"),
            "--workers': 1000000 is not in the range",
        ),
    ],
)
def test_one_line_and_exit_code_2(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*words, "--data-dir", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize("command", ["prepare", "show", "export"])
def test_dev_null_is_neither_a_folder_nor_replaced(
    command: str, market_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ("--data-dir", tmp_path / "out")
    assert _run("prepare", "reid_folder", "--manual-dir", market_folder, *there) == 0
    words = {
        "prepare": ("--manual-dir", market_folder, "--data-dir", "/dev/null/x"),
        "show": ("--out", "/dev/null", *there),
        "export": ("/dev/null", *there),
    }
    assert _run(command, "reid_folder", *words[command]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("command", ["prepare", "show", "export"])
def test_a_full_disk_is_one_line_and_exit_code_1(
    command: str,
    market_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[str, str], None],
) -> None:
    there = ("--data-dir", tmp_path / "out")
    assert _run("prepare", "reid_folder", "--manual-dir", market_folder, *there) == 0
    capsys.readouterr()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    what = {
        "prepare": "jaxreid.data.prepare.builder.write_index",
        "show": "PIL.Image.Image.save",
        "export": "pathlib.Path.write_bytes",
    }
    monkeypatch.setattr(what[command], full)
    words = {
        "prepare": ("--manual-dir", market_folder, "--force", *there),
        "show": ("--out", tmp_path / "x.png", *there),
        "export": (tmp_path / "x", *there),
    }
    assert _run(command, "reid_folder", *words[command]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    kind(f"a full disk in data {command}", f"exit 1: {lines[0]}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [market_folder.name, "out"]
    monkeypatch.undo()
    assert _run("show", "reid_folder", "--out", tmp_path / "x.png", *there) == 0


def test_any_name_can_be_shown() -> None:
    name = "é\x1b[31m\n" + os.fsdecode(b"\xff")
    assert _shown(name) == r"é\x1b[31m\n\udcff"
    _shown(name).encode()
