from pathlib import Path

import pytest

from jaxreid.cli import main


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
