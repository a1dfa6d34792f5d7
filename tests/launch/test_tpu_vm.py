"""tpu_vm.sh against a stand-in for gcloud: it makes the TPU, trains, and comes back."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "tpu_vm.sh"

# What `gcloud compute tpus tpu-vm COMMAND` takes, of
# https://cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm; all take the first ones.
FLAGS = {
    "": "zone project quiet format verbosity",
    "create": "accelerator-type async boot-disk data-disk description internal-ips labels metadata "
    "metadata-from-file network preemptible range reserved scopes service-account "
    "shielded-secure-boot spot subnetwork tags topology type version",
    "delete": "async",
    "describe": "",
    "scp": "compress dry-run force-key-file-overwrite internal-ip plain recurse scp-flag "
    "ssh-key-file strict-host-key-checking worker",
    "ssh": "command dry-run force-key-file-overwrite internal-ip output-directory plain ssh-flag "
    "ssh-key-file strict-host-key-checking worker",
}

# What the n-th training does is in the file train-n: lines to print; "lost" takes the TPU away.
GCLOUD = f"""#!{sys.executable}
import pathlib, sys
folder = pathlib.Path(__file__).parent
assert sys.argv[1:4] == ["compute", "tpus", "tpu-vm"], sys.argv
words = sys.argv[4:]
known = [*{FLAGS!r}[words[0]].split(), *{FLAGS[""]!r}.split()]
given = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
for flag in given:
    if flag not in known:
        sys.exit(f"unrecognized arguments: --{{flag}}")
if "zone" not in given or (words[0] == "create" and "version" not in given):
    sys.exit("a required argument is missing")
with (folder / "calls").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
tpu = folder / "tpu"
if words[0] == "describe":
    if not tpu.exists():
        sys.exit("NOT_FOUND")
    print(tpu.read_text())
elif words[0] == "create":
    tpu.write_text("READY")
elif words[0] == "delete":
    tpu.unlink()
elif words[0] == "ssh" and "bin/jaxreid " in " ".join(words):
    n = len(list(folder.glob("trained-*")))
    (folder / f"trained-{{n}}").touch()
    does = (folder / f"train-{{n}}").read_text()
    print(does.replace("lost", ""))
    if "lost" in does:
        tpu.write_text("PREEMPTED")
        sys.exit(255)
"""


def ended(*codes):
    lines = (f"jaxreid on host {host} ended with code {code}" for host, code in enumerate(codes))
    return "\n".join(lines)


@pytest.fixture
def launch(tmp_path):
    """Runs the script where the trainings do as told; gives its result and the calls."""
    program = tmp_path / "gcloud"
    program.write_text(GCLOUD, encoding="utf-8")
    program.chmod(0o755)

    def run(*deeds, words=("synthetic", "--config.epochs=3"), **variables):
        for number, deed in enumerate(deeds):
            (tmp_path / f"train-{number}").write_text(deed, encoding="utf-8")
        environment = {
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "ZONE": "here",
            "TYPE": "v5litepod-16",
            "SOURCE": "jaxreid",
            "PAUSE": "0",
            **variables,
        }
        result = subprocess.run(
            [SCRIPT, "mine", "/shared/run one", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return result, (tmp_path / "calls").read_text(encoding="utf-8")

    return run


def test_it_makes_the_tpu_and_trains_on_all_hosts(launch):
    result, calls = launch(ended(0, 0))
    assert result.returncode == 0, result.stderr
    assert "create mine --accelerator-type v5litepod-16 --version " in calls
    assert "--spot --zone here" in calls
    assert "pip install --quiet 'jaxreid[tpu]'" in calls
    assert "bin/jaxreid train --config synthetic --workdir /shared/run\\ one --config.epochs=3" in (
        calls
    )


def test_other_commands_are_started_alike(launch):
    words = ("evaluate", "/shared/a model", "--attacks", "fna,worst")
    result, calls = launch(ended(75, 75), ended(0, 0), words=words)
    assert result.returncode == 0, result.stderr
    typed = "bin/jaxreid evaluate --out /shared/run\\ one /shared/a\\ model --attacks fna\\,worst "
    assert calls.count(typed) == 2
    assert "log=/shared/run\\ one/logs/process-$host.log" in calls


def test_hosts_train_on_tpus_or_not_at_all(launch):
    _, calls = launch(ended(0, 0))
    assert calls.index("export JAX_PLATFORMS=tpu\n") < calls.index("bin/jaxreid train")


def test_flags_reach_the_hosts(launch):
    _, calls = launch(ended(0, 0))
    assert "LIBTPU_INIT_ARGS" not in calls
    _, calls = launch(ended(0, 0), ended(0, 0), FLAGS="--one=true --two=false")
    assert "    export LIBTPU_INIT_ARGS=--one=true\\ --two=false\n" in calls


def test_a_flag_that_gcloud_does_not_know_makes_no_tpu(launch, tmp_path):
    result, calls = launch(CREATE="--sport", MAX_RESTARTS="0")
    assert result.returncode == 75
    assert "unrecognized arguments: --sport" in result.stderr
    assert "create" not in calls
    assert not (tmp_path / "tpu").exists()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="sends what git holds")
def test_the_sources_are_sent_to_all_hosts(launch):
    result, calls = launch(ended(0, 0), SOURCE="")
    assert result.returncode == 0, result.stderr
    assert re.search(
        r"^scp \S+/jaxreid.tar.gz mine: --worker=all --zone here$", calls, re.MULTILINE
    )
    assert "ssh mine --worker=all --command tar -xzf jaxreid.tar.gz --zone here" in calls


def test_a_tpu_that_is_taken_away_is_made_anew(launch):
    result, calls = launch("lost", ended(0, 0))
    assert result.returncode == 0, result.stderr
    assert calls.count("create mine") == 2
    assert calls.count("delete mine") == 1
    assert "mine is PREEMPTED; deleting it" in result.stderr


def test_preempted_processes_are_restarted_and_counted(launch):
    result, calls = launch(*[ended(75, 75)] * 3, MAX_RESTARTS="2")
    assert result.returncode == 75
    assert calls.count("create mine") == 1
    assert "preempted again after 2 restarts" in result.stderr


def test_a_failure_is_not_repeated(launch):
    result, calls = launch(ended(0, 2))
    assert result.returncode == 2
    assert "stopped with code 0, 2; see /shared/run one/logs" in result.stderr
    assert calls.count("bin/jaxreid train") == 1


def test_wrong_usage_is_told():
    result = subprocess.run([SCRIPT, "mine"], capture_output=True, text=True)
    assert result.returncode == 2
    assert "NAME WORKDIR CONFIG" in result.stderr
