"""From nothing to a report, interrupted once on the way."""

import re
import signal

import pytest
from commands import above, ended, start

from jaxreid.cli import main
from jaxreid.records import RunFolder

# As `jaxreid`, with a preview of a network that is trained in seconds.
SMALLER = """
import trainings
from jaxreid.cli import main, quickstart

trainings.register()
small = (
    "--config.model.architecture=narrow",
    "--config.dataset.size=48,24",
    "--config.augmentation.pad=2",
    "--config.batch.size=16",
)
fast = quickstart._FAST
quickstart._FAST = fast._replace(plain=fast.plain + small, goat=fast.goat + small)
main()
"""


@pytest.mark.slow
def test_a_preview_is_interrupted_and_comes_to_its_end(tmp_path):
    where = {"data": tmp_path / "data", "cache": tmp_path / "cache", "cwd": tmp_path}
    process = start("quickstart", "--fast", script=SMALLER, **where)
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith("clean: mAP"):
            process.send_signal(signal.SIGTERM)
            break
    code, out, err = ended(process)
    assert code == 75, "".join(seen) + err
    assert "jaxreid: asked to stop (SIGTERM); the same command goes on" in err
    assert "jaxreid data prepare synthetic_reid/tiny" in "".join(seen)

    code, out, err = ended(start("quickstart", "--fast", script=SMALLER, **where))
    assert code == 0, err
    # What was there is not done again.
    assert "drawing" not in err
    assert "going on after step 80 of 80" in err
    assert err.count("clean: mAP") == 1
    assert re.findall(r"^step (\d) of 6: ", err, re.MULTILINE) == list("123456")
    work = tmp_path / "runs" / "quickstart-fast"
    rows = re.findall(r"^ *([a-z]\S*) +(5?) +([\d.]+) +([\d.]+) *$", out, re.MULTILINE)
    attacks = ("noise", "fna", "worst-1-quick")
    assert [row[:2] for row in rows] == [("clean", ""), *((name, "5") for name in attacks)]
    found = {
        name: {
            result.condition.attack: result.scores["market1501"].mean_average_precision
            for result in RunFolder.open(work / name / "evaluation").results()
        }
        for name in ("plain", "goat")
    }
    for attack, _, *columns in rows:
        assert columns == [f"{100 * found[name][attack]:.1f}" for name in ("plain", "goat")]
    assert found["plain"]["fna"] < found["plain"]["clean"] / 2
    assert found["plain"]["fna"] < found["goat"]["fna"]
    for name in ("plain", "goat"):
        assert found[name]["worst-1-quick"] < found[name]["fna"]
    assert re.search(r"^- undefended: An attacker .* in the worst case\.", out, re.MULTILINE)
    assert "fast preview" in out
    assert out.endswith("report: runs/quickstart-fast/report/report.html\n")
    page = (work / "report" / "report.html").read_text(encoding="utf-8")
    for text in ("undefended", "GOAT", "jaxreid evaluate runs/quickstart-fast/goat", "loss"):
        assert text in page


@pytest.mark.parametrize("scale", ["_WHOLE", "_FAST"])
def test_what_it_runs_is_valid(tmp_path, scale):
    from jaxreid.cli import command, quickstart

    scale = getattr(quickstart, scale)
    steps = quickstart._steps(scale, tmp_path / "a b", tmp_path / "data")
    assert len(steps) == len(scale.minutes)
    for step in steps:
        name, *words = step.words
        parsed = command(name).make_context(name, words, parent=above())
        if name == "train":
            from jaxreid.cli.configuration import load

            config = load(parsed.params["config"], parsed.args)
            assert config.dataset.data_dir == str(tmp_path / "data")
            assert config.dataset.name == scale.dataset
        if name == "evaluate":
            assert parsed.params["attacks"][-1] == "worst"


def test_a_folder_that_cannot_be_made_is_one_line_and_two(tmp_path, capsys, monkeypatch):
    from jaxreid.cli import quickstart

    monkeypatch.setattr(quickstart, "_steps", lambda *_: [quickstart._Step("x", ("report", "no"))])
    with pytest.raises(SystemExit) as end:
        main(["quickstart", "--workdir", str(tmp_path)])
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith("jaxreid evaluate --out` writes\n")
