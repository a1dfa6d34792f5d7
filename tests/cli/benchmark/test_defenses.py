"""A whole league on drawn people: trained, judged, timed, drawn, and gone on with."""

import json
import shlex

import pytest
import trainings
from commands import run

from jaxreid.benchmark.league import defenses
from jaxreid.benchmark.league.standings import Run, Standing
from jaxreid.cli.benchmark.defense_tables import draw_front, print_standings
from jaxreid.records import RunFolder
from jaxreid.report import open_runs

SMALL = {"model.architecture": "tiny", "log_every_steps": 100}


def words(data, *more):
    fields = {**trainings.QUICK, **SMALL, "dataset.data_dir": data}
    # What rows have of their own is theirs.
    del fields["goat.steps"]
    exam = ("--eps", "5", "--limit", "4", "--batch-size", "8", "--repeats", "1", "--seeds", "1")
    common = [f"--config.{field}={value}" for field, value in fields.items()]
    return ("benchmark", "defenses", "--out", "league", *exam, *common, *more)


@pytest.mark.slow
def test_a_league_from_nothing_to_its_table(capsys, tmp_path, tiny_data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainings.register()
    asked = words(tiny_data, "--defense", "clean=:defense.clean_weight=1")
    code, out, err = run(capsys, *asked)
    assert code == 0, err
    assert max(map(len, out[: out.index("Every row")].splitlines())) <= 80
    league = tmp_path / "league"
    record = json.loads((league / "defenses.json").read_text())
    assert record["commands"] == [shlex.join(["jaxreid", *map(str, asked)])]
    assert record["benchmark"] == "defenses"
    rows = {row["name"]: row for row in record["result"]["rows"]}
    assert list(rows) == ["undefended", "goat", "clean"]
    lines = {
        cells[0].strip("*"): cells
        for line in (league / "defenses.md").read_text().splitlines()
        if line.startswith("| ") and len(cells := line[2:-2].split(" | ")) == 7
    }
    for name, row in rows.items():
        # What stands in the table is what the run folder holds.
        folder = RunFolder.open(league / name / "seed-0" / "evaluation")
        found = {one.condition.attack: one.scores["market1501"] for one in folder.results()}
        assert list(found) == ["clean", "fna", "worst-1-quick"]
        cells = [
            f"{100 * score.mean_average_precision:.1f} / {100 * score.rank1:.1f}"
            for score in found.values()
        ]
        assert lines[name][1:5] == [*cells, cells[-1]]
        assert row["runs"][0]["scores"]["worst 5"] == [
            found["worst-1-quick"].mean_average_precision,
            found["worst-1-quick"].rank1,
        ]
        (training,) = [one["training"] for one in row["runs"]]
        assert f"--config.model.start_from={league.name}/plain/last.safetensors" in training
        assert (row["cost"] is None) == (name == "undefended")
    assert float(lines["goat"][5]) == pytest.approx(rows["goat"]["cost"]["ratio"], abs=0.006)
    assert (league / "defenses.svg").read_text().startswith("<?xml")
    assert len(open_runs([league / name / "seed-0" / "evaluation" for name in rows])) == 3

    # Nothing is left to do: neither training nor attack nor time.
    kept = {path: path.stat().st_mtime_ns for path in league.glob("*/seed-0/*.safetensors")}
    code, again, err = run(capsys, *asked, "--json")
    assert code == 0, err
    assert json.loads(again) == record["result"]
    assert "mAP" not in err
    assert {path: path.stat().st_mtime_ns for path in kept} == kept

    # Another machine has nothing to do either if it is given the record.
    elsewhere = ["joined" if word == "league" else word for word in asked]
    code, _, err = run(capsys, *elsewhere, "--repeats", 0, "--known", "league/defenses.json")
    assert code == 0, err
    joined = json.loads((tmp_path / "joined" / "defenses.json").read_text())["result"]
    assert [row["runs"] for row in joined["rows"]] == [
        row["runs"] for row in record["result"]["rows"]
    ]
    assert "Runs of other machines, which start from their own: 3." in joined["closing"]
    assert not (tmp_path / "joined" / "plain").exists()
    again = ("--known", "league/defenses.json") * 2
    code, _, err = run(capsys, *elsewhere, *again)
    assert code == 2
    assert "another record has clean with seed 0, too" in err

    # The command beside a row goes on with its folder, where there is nothing left either.
    evaluation = shlex.split(rows["clean"]["runs"][0]["evaluation"])
    code, _, err = run(capsys, *evaluation[1:])
    assert code == 0, err
    assert "mAP" not in err


def test_a_league_that_was_stopped_says_so(capsys, tmp_path, tiny_data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainings.register()
    monkeypatch.setattr(defenses, "hold_league", lambda *_, **__: None)
    code, out, err = run(capsys, *words(tiny_data))
    assert (code, out) == (75, "")
    assert err == "stopped; the same command goes on from there\n"
    assert list(tmp_path.iterdir()) == []


def standing(name, *points):
    keys = ("clean", "fna 5", "worst 1", "worst 5")
    runs = tuple(
        Run(seed, "", "", "w", {key: (v / 100, v / 100) for key, v in zip(keys, vs, strict=True)})
        for seed, vs in enumerate(points)
    )
    return Standing(name, name, runs)


def test_the_figure_names_every_row_and_the_front(capsys):
    rows = [
        standing("undefended", (77, 4, 40, 1), (79, 4, 40, 1)),
        standing("goat", (73, 24, 60, 9), (72, 24, 58, 9)),
        standing("$worse_", (70, 20, 50, 5), (71, 20, 50, 5)),
        Standing("failed", "failed", (Run(0, "", "", "", {}, "loss nan"),)),
    ]
    drawn = draw_front(rows, (1.0, 5.0))
    assert drawn.alt == (
        "Clean mAP against worst-case mAP in %, mean over eps 1 and 5: undefended 78.0, 20.5; "
        "goat 72.5, 34.0; $worse_ 70.5, 27.5. On the front: goat, undefended."
    )
    for name in ("undefended", "goat", "$worse_", "clean mAP (%)"):
        assert name in drawn.svg
    assert drawn.png.startswith(b"\x89PNG")
    print_standings(rows, (1.0, 5.0))
    out = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    assert ["goat *", "72.5", "24.0", "59.0", "9.0", "34.0", ""] in cells
    assert ["$worse_", "70.5", "20.0", "50.0", "5.0", "27.5", ""] in cells
    assert ["failed", "", "", "", "", "", ""] in cells
    assert draw_front(rows[-1:], (1.0, 5.0)) is None
