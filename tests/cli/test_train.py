"""`jaxreid train`, as it is typed: wrong input is one line and exit code 2."""

import pytest
import trainings
from commands import run


@pytest.mark.slow
@pytest.mark.optimized
def test_a_short_run_and_no_resume(capsys, tmp_path, tiny_data):
    trainings.register()
    words = (
        "train",
        "--config",
        "synthetic",
        *("--workdir", tmp_path / "run"),
        *trainings.words({"dataset.data_dir": tiny_data, "evaluation.every_epochs": 1}),
    )
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert "best validation mAP" in out
    assert f"weights after step 10: {tmp_path / 'run' / 'last.safetensors'}" in out
    assert "epoch 1 of 1: validation mAP" in err
    code, _, err = run(capsys, *words, "--no-resume")
    assert code == 2
    assert "holds checkpoints of an earlier run" in err
    code, _, err = run(capsys, *words, "--config.seed=1")
    assert code == 2
    assert "seed: was 0, is 1" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--config.optimizer.learning_rat=1",), "did you mean 'optimizer.learning_rate'?"),
        (("--config.batch.size=many",), "batch.size must be a whole number"),
        (("--config.dataset.name=synthetic_rei",), "synthetic_rei"),
        (("--config.dataset.data_dir=/nowhere",), "jaxreid data prepare"),
        (("--config.model.start_from=/nowhere.safetensors",), "/nowhere.safetensors"),
        (("--config.batch.size=6",), "a multiple of the 4 devices"),
        (("--config", "nothing_of_that_name"), "nothing_of_that_name"),
        (("--workdir", "/proc/nothing/run"), "cannot write to /proc/nothing/run"),
        (("--process", "1"), "--coordinator"),
    ],
)
def test_wrong_input_is_one_line_and_two(capsys, tmp_path, tiny_data, words, message):
    fields = (f"--config.dataset.data_dir={tiny_data}", "--config.dataset.name=synthetic_reid/tiny")
    code, out, err = run(
        capsys, "train", "--config", "synthetic", "--workdir", tmp_path / "run", *fields, *words
    )
    assert code == 2, err
    assert message in err
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert out == ""
