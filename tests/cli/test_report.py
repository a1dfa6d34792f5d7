"""The command prints the path of a page; what is wrong is one line and exit code 2."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from run_folders import per_query, provenance, result

from jaxreid.cli import main
from jaxreid.records import RunFolder


@pytest.fixture
def run_folder(tmp_path):
    run = RunFolder.create(tmp_path / "plain", provenance("Plain"))
    run.append(result(0.8), per_query(0.8))
    return run.path


@pytest.fixture
def report(capsys):
    """Runs `jaxreid report WORDS` in this process; gives exit code, output and errors."""

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main(["report", *map(str, words)])
        return end.value.code, *capsys.readouterr()

    return run


def test_the_path_of_the_page_is_printed(run_folder, tmp_path, report):
    for words, page in (
        ([], run_folder / "report" / "report.html"),
        (["--out", tmp_path / "else where"], tmp_path / "else where" / "report.html"),
    ):
        assert report(run_folder, *words) == (0, f"{page}\n", "")
        assert page.is_file()
    assert f"--out &#39;{tmp_path}/else where&#39;" in page.read_text()


def test_it_needs_no_jax(run_folder):
    code = (
        "import sys; from jaxreid.cli import main\n"
        f"try: main(['report', {str(run_folder)!r}])\n"
        "except SystemExit: print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_trainings_are_named_or_take_the_name_of_their_folder(run_folder, tmp_path, report):
    for name in ("work", "a=b"):
        (tmp_path / name).mkdir()
        line = json.dumps({"kind": "train", "step": 1, "loss": 2.0})
        (tmp_path / name / "metrics.jsonl").write_text(line)
    report(run_folder, f"--training=GOAT={tmp_path / 'work'}", f"--training={tmp_path / 'a=b'}")
    text = (run_folder / "report" / "report.html").read_text()
    assert "GOAT, loss: 2 at the end" in text
    assert "a=b, loss: 2 at the end" in text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "holds no evaluation"),
        (lambda run: (run / "run.json").write_text('{"schema": 99}'), "has schema 99"),
        (lambda run: (run / "results.jsonl").unlink(), "has no results yet"),
        (lambda run: (run / "results.jsonl").write_text("{}\n"), "line 1 cannot be read"),
        (shutil.rmtree, "holds no evaluation"),
        (lambda run: (run / "report").write_text(""), "is a file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(run_folder, spoil, message, report):
    spoil(run_folder)
    code, out, error = report(run_folder)
    assert (code, out) == (2, "")
    assert error.count("\n") == 1
    assert message in error


def test_a_line_that_was_cut_off_is_said_beside_the_path(run_folder, report, kind):
    with (run_folder / "results.jsonl").open("a") as file:
        file.write('{"condition": {"attack": "fn')
    code, out, error = report(run_folder)
    assert (code, out) == (0, f"{run_folder / 'report' / 'report.html'}\n")
    assert error.startswith("note: 1 line was cut off by an interruption")
    kind("report of a run that a kill cut off", f"exit 0; {error}")


def test_a_folder_whose_name_is_no_text_is_reported(run_folder, tmp_path, kind):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(run_folder, folder)
    code = "from jaxreid.cli import main; main()"
    words = [sys.executable, "-c", code, "report", folder]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "report" / "report.html").is_file()
    kind("report of a folder whose name is no UTF-8", "exit 0")


def test_a_training_without_a_log_is_refused(run_folder, tmp_path, report):
    code, _, error = report(run_folder, "--training", tmp_path / "nowhere")
    assert code == 2
    assert "holds no training log" in error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_to_write(run_folder, report):
    run_folder.chmod(0o555)
    try:
        code, _, error = report(run_folder)
    finally:
        run_folder.chmod(0o755)
    assert code == 2
    assert "cannot write the report" in error


def test_help_has_examples_and_no_run_is_wrong_usage(report):
    assert "jaxreid report runs/plain runs/goat" in report("--help")[1]
    code, _, error = report()
    assert code == 2
    assert "RUN" in error
