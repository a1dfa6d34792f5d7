"""A league from its first run to its last: what is done once, refused, stopped, or fails."""

from pathlib import Path

import pytest
import trainings

from jaxreid.benchmark.league import defenses
from jaxreid.benchmark.league.defenses import League, Row, hold_league
from jaxreid.benchmark.league.examination import Exam
from jaxreid.benchmark.league.known_runs import known_runs
from jaxreid.cli.benchmark.defense_tables import result_of
from jaxreid.errors import InputError
from jaxreid.training.trainer import CollapsedError, DivergedError, Outcome, Progress

EXAM = Exam((1.0, 5.0), limit=4)
SCORES = {f"{attack} {eps}": (0.5, 0.25) for attack in ("fna", "worst") for eps in (1, 5)}


@pytest.fixture
def league(tmp_path, tiny_data):
    start = tmp_path / "start.safetensors"
    start.write_bytes(b"start")
    shared = {"dataset.data_dir": str(tiny_data), "model.start_from": str(start)}
    rows = tuple(
        Row(name, trainings.settings({**shared, "goat.enabled": name == "goat"}), (name,), name)
        for name in ("undefended", "goat")
    )
    return League(tmp_path / "league", start, None, rows, (0, 7), EXAM)


@pytest.fixture
def work(monkeypatch):
    """Trainings and examinations that take no time, and the list of those that were done."""
    done = []

    def train(config, folder, *, watch, say):
        name = f"{folder.parent.name} {config.seed}"
        done.append(f"train {name}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(trainings.json.dumps(config.as_json()))
        watch(Progress("training", 5, 10))
        if name in train.stopped:
            return Outcome(False, 5, None, None, stop_requested=True)
        if name in train.diverged:
            raise DivergedError("step 5: loss nan")
        if name in train.collapsed:
            (folder / "best.safetensors").write_bytes(b"best")
            raise CollapsedError("step 5: mAP fell")
        watch(Progress("training", 10, 10))
        (folder / "best.safetensors").write_bytes(b"best")
        (folder / "last.safetensors").write_bytes(b"last")
        return Outcome(True, 10, None, None, stop_requested=name in train.asked_late)

    def examine(path, config, exam, folder, *, title, watch, say):
        done.append(f"judge {title}: {path.name}")
        watch("attacks", 4, 4)
        return {"clean": (0.75, 0.5), **SCORES}

    train.stopped, train.asked_late, train.diverged, train.collapsed = set(), set(), set(), set()
    train.done = done
    monkeypatch.setattr(defenses, "train", train)
    monkeypatch.setattr(defenses, "examine", examine)
    return train


def hold(league, watch=lambda *_: None):
    return hold_league(league, repeats=0, watch=watch, say=lambda line: None)


def test_all_rows_with_a_seed_come_before_the_next(league, work):
    seen = []
    standings = hold(league, lambda *at: seen.append(at))
    assert work.done == [
        text
        for seed in (0, 7)
        for name in ("undefended", "goat")
        for text in (f"train {name} {seed}", f"judge {name}, seed {seed}: last.safetensors")
    ]
    assert [row.name for row in standings] == ["undefended", "goat"]
    (first, second) = standings[1].runs
    folder = league.folder / "goat" / "seed-7"
    assert second.training == f"jaxreid train --config goat --config.seed=7 --workdir {folder}"
    assert second.weights == str(folder / "last.safetensors")
    options = "--eps 1,5 --seeds 1 --size 32x16 --limit 4 --batch-size 64 --examples 0 --out"
    assert second.evaluation.startswith(f"jaxreid evaluate {second.weights} --dataset ")
    assert second.evaluation.endswith(f"fna,worst --quick {options} {folder / 'evaluation'}")
    assert (first.seed, first.scores["clean"]) == (0, (0.75, 0.5))
    # All of the work is counted, and never backwards.
    counts, totals = zip(*(at[1:] for at in seen if at[0] == "league"), strict=True)
    assert list(counts) == sorted(counts)
    assert set(totals) == {counts[-1]}
    assert counts[0] == 0


def test_what_was_trained_is_not_trained_again(league, work):
    hold(league)
    before = len(work.done)
    hold(league)
    assert not [line for line in work.done[before:] if line.startswith("train")]
    more = league._replace(seeds=(0, 7, 8))
    hold(more)
    assert [line for line in work.done[before:] if line.startswith("train")] == [
        "train undefended 8",
        "train goat 8",
    ]


def record_of(league, path, **changes):
    """What another machine would have written: the league at other places, of one seed."""
    moved = league._replace(folder=path.parent / "elsewhere")
    standings = hold(moved)
    content = {"benchmark": "defenses", "result": result_of(standings, (1.0, 5.0), ""), **changes}
    path.write_text(trainings.json.dumps(content))
    return path


def test_what_another_machine_did_is_not_done_again(league, work, tmp_path):
    path = record_of(league._replace(seeds=(7,)), tmp_path / "record.json")
    before = len(work.done)
    known = known_runs(path, league.planned())
    assert set(known) == {("undefended", 7), ("goat", 7)}
    standings = hold(league._replace(known=known))
    assert [line for line in work.done[before:] if line.startswith("train")] == [
        "train undefended 0",
        "train goat 0",
    ]
    for row in standings:
        assert [run.seed for run in row.runs] == [0, 7]
        assert row.runs[1] == known[row.name, 7]
        assert "elsewhere" in row.runs[1].training
        assert row.runs[1].scores == row.runs[0].scores


def test_runs_that_are_no_part_of_the_league_are_refused(league, work, tmp_path):
    path = record_of(league, tmp_path / "record.json")
    with pytest.raises(InputError, match="undefended with seed 7 is none of this league's"):
        known_runs(path, league._replace(seeds=(0,)).planned())
    with pytest.raises(InputError, match="goat with seed 0 is none of this league's"):
        known_runs(path, league._replace(rows=league.rows[:1]).planned())
    with pytest.raises(InputError, match="is another league's: its command is"):
        known_runs(path, league._replace(exam=Exam((1.0, 5.0), limit=5)).planned())
    other = league.rows[1]._replace(words=("goat", "--config.goat.eps=4"))
    with pytest.raises(InputError, match="goat with seed 0 is another league's"):
        known_runs(path, league._replace(rows=(league.rows[0], other)).planned())


@pytest.mark.parametrize(
    "content", ["{}", "[]", "{", '{"benchmark": "defenses", "result": {"rows": [{"name": 3}]}}']
)
def test_what_is_no_record_is_named(league, tmp_path, content):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"record\.json"):
        known_runs(path, league.planned())


def test_best_weights_are_judged_where_something_chose_them(league, work):
    standings = hold(league._replace(rows=tuple(map(validated, league.rows)), seeds=(0,)))
    assert {Path(run.weights).name for row in standings for run in row.runs} == {"best.safetensors"}


def test_a_request_to_stop_ends_it(league, work):
    work.stopped = {"goat 0"}
    assert hold(league) is None
    assert work.done[-1] == "train goat 0"
    work.stopped = set()
    assert hold(league) is not None
    assert work.done.count("train undefended 0") == 1
    assert work.done.count("train goat 0") == 2


def test_a_request_after_the_last_step_ends_it_too(league, work):
    work.asked_late = {"goat 0"}
    assert hold(league) is None
    assert work.done[-1] == "train goat 0"
    assert hold(league) is not None
    assert work.done.count("train goat 0") == 1


def test_a_row_that_diverges_stays_in(league, work):
    work.diverged = {"goat 0"}
    _, goat = hold(league)
    assert [run.failure for run in goat.runs] == ["step 5: loss nan", ""]
    assert len(goat.judged) == 1
    assert "judge goat, seed 7: last.safetensors" in work.done
    # Nor is it tried again.
    _, again = hold(league)
    assert again == goat
    assert work.done.count("train goat 0") == 1


def validated(row):
    return row._replace(config=row.config.replace({"evaluation.every_epochs": 1}))


def test_a_row_that_collapses_is_judged_by_what_it_was(league, work):
    work.collapsed = {"goat 0"}
    league = league._replace(rows=tuple(map(validated, league.rows)), seeds=(0,))
    for _ in range(2):
        _, goat = hold(league)
        (run,) = goat.judged
        assert run.failure == "step 5: mAP fell"
        assert Path(run.weights).name == "best.safetensors"
    assert work.done.count("train goat 0") == 1
    assert result_of([goat], (1.0, 5.0), "All alike.")["closing"] == (
        "All alike. goat, seed 0, gave up, and is judged by its best weights until then: step 5: "
        "mAP fell."
    )


def test_without_a_start_there_is_no_league(league, work):
    work.diverged = {"league 0"}
    plain = league.rows[0]._replace(name="plain")
    with pytest.raises(DivergedError, match="plain: step 5: loss nan"):
        hold(league._replace(plain=plain))
    assert work.done == ["train league 0"]


def test_runs_of_another_league_are_refused_before_anything_is_trained(league, work):
    hold(league)
    before = len(work.done)
    other = league.rows[1]._replace(config=league.rows[1].config.replace({"goat.eps": 4.0}))
    with pytest.raises(InputError, match=r"seed-0 holds a run of another configuration \(goat.eps"):
        hold(league._replace(rows=(league.rows[0], other)))
    league.start.write_bytes(b"another start")
    with pytest.raises(InputError, match="started from other weights"):
        hold(league)
    assert work.done[before:] == []


def test_a_damaged_configuration_is_named(league, work):
    hold(league)
    path = league.folder / "goat" / "seed-0" / "config.json"
    path.write_text("[]")
    with pytest.raises(InputError, match=r"config\.json: expected a JSON object"):
        hold(league)
