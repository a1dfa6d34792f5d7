"""`jaxreid benchmark train` runs the loop and keeps nothing."""

import dataclasses
import json

import jax
import pytest

from jaxreid.cli import main
from jaxreid.models import ARCHITECTURES

SMALL = [
    "--config.model.architecture=tiny",
    "--config.dataset.name=synthetic_reid/tiny",
    "--config.dataset.size=(16,8)",
    "--config.batch.size=8",
    "--config.log_every_steps=2",
]


def run(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "train", *words])
    return end.value.code, capsys.readouterr()


@pytest.mark.slow
def test_the_table_and_json(capsys, monkeypatch, tmp_path, tiny_data):
    tiny = dataclasses.replace(ARCHITECTURES["resnet_patch"], depths=(1,), widths=(4,))
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny)
    monkeypatch.chdir(tmp_path)
    words = [*SMALL, f"--config.dataset.data_dir={tiny_data}", "--preset", "synthetic"]
    code, printed = run([*words, "--preset", "synthetic_goat_sma"], capsys)
    assert code == 0, printed.err
    rows = [line.split("│")[1:-1] for line in printed.out.splitlines() if "│ synthetic" in line]
    assert [row[0].strip() for row in rows] == ["synthetic", "synthetic_goat_sma"]
    assert rows[0][3].strip() == "1.00"
    code, printed = run([*words, "--json"], capsys)
    assert code == 0, printed.err
    speed = json.loads(printed.out)["synthetic"]
    assert len(speed["images_per_second"]) == len(speed["waiting"]) >= 3
    assert all(value > 0 for value in speed["images_per_second"])
    assert all(0 <= share <= 1 for share in speed["waiting"])
    assert speed["first_step"] > 0
    code, printed = run([*words, "--count", "--json"], capsys)
    assert code == 0, printed.err
    cost = json.loads(printed.out)["synthetic"]
    assert (cost["processes"], cost["devices"]) == (1, jax.device_count())
    assert cost["flops"] > 0
    assert cost["program_bytes"] > 0
    code, printed = run([*words, "--count"], capsys)
    (row,) = [line.split("│")[1:-1] for line in printed.out.splitlines() if "│ synthetic" in line]
    assert [cell.strip() for cell in row[1:4]] == ["1", str(jax.device_count()), "8"]
    assert float(row[4]) == pytest.approx(cost["flops"] / 1e9, abs=1e-3)
    assert list(tmp_path.iterdir()) == []


def test_unknown_fields_and_presets_are_errors(capsys):
    for words, message in [
        (["--preset", "synthetik"], "did you mean synthetic?"),
        (["--config.batch.sise=8"], "size"),
    ]:
        code, printed = run(words, capsys)
        assert code == 2
        assert message in printed.err
