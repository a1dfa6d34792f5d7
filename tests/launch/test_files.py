"""What can be said of the launchers without their clusters."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from commands import above

from jaxreid.cli.configuration import load, preset_folder
from jaxreid.cli.running import jaxreid

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "launch"
SCRIPTS = sorted(
    [
        *FOLDER.glob("*.sh"),
        *FOLDER.glob("*.sbatch"),
        *Path(__file__).parent.glob("*.sh"),
        ROOT / ".ci" / "run",
    ]
)


def shared_commands():
    """The commands that several processes run together, without train and benchmarks."""
    return [
        name
        for name in jaxreid.list_commands(above())
        if {"processes", "out"}
        <= {option.name for option in jaxreid.get_command(above(), name).params}
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


@pytest.mark.parametrize("name", ["local.sh", "slurm.sbatch", "tpu_vm.sh", "gke_jobset.yaml"])
def test_headers_say_what_to_edit_and_how_to_start(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    header = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert "What to edit:" in header
    assert f"launch/{name}" in header
    assert name in (FOLDER / "README.md").read_text(encoding="utf-8")
    if name != "gke_jobset.yaml":
        assert 'train --config "$what" --workdir "$workdir"' in text


@pytest.mark.parametrize("name", ["local.sh", "slurm.sbatch", "tpu_vm.sh"])
def test_every_command_of_several_processes_can_be_started(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    block = re.search(r"^case \$what in\n(.*?)^esac$", text, re.MULTILINE | re.DOTALL)[1]
    started = re.findall(r"[a-z]+", " ".join(re.findall(r"^  ([a-z |]+)\)", block, re.MULTILINE)))
    header = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert sorted(started) == sorted(shared_commands())
    assert all(re.search(rf"\b{command}\b", header) for command in started)
    # No configuration is taken for a command.
    assert not {path.stem for path in preset_folder().iterdir()} & {*started}


@pytest.fixture(scope="module")
def jobset():
    return yaml.safe_load((FOLDER / "gke_jobset.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def job(jobset):
    (group,) = jobset["spec"]["replicatedJobs"]
    assert group["replicas"] == 1
    return group["template"]["spec"]


def test_the_jobset_restarts_all_pods_together(jobset):
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    policy = jobset["spec"]["failurePolicy"]
    assert policy["maxRestarts"] >= 1
    assert policy["restartStrategy"] == "BlockingRecreate"
    (rule,) = policy["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]


def test_exit_code_75_and_lost_nodes_are_preemption(job):
    assert job["backoffLimit"] == 0
    by_code, by_condition = job["podFailurePolicy"]["rules"]
    assert {by_code["action"], by_condition["action"]} == {"FailJob"}
    (container,) = job["template"]["spec"]["containers"]
    assert by_code["onExitCodes"] == {
        "containerName": container["name"],
        "operator": "In",
        "values": [75, 143],
    }
    assert by_condition["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    # Kubernetes takes a podFailurePolicy with no other restart policy.
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] > 60


def test_its_pods_know_each_other(jobset, job):
    assert job["completionMode"] == "Indexed"
    assert job["parallelism"] == job["completions"]
    (container,) = job["template"]["spec"]["containers"]
    variables = {entry["name"]: entry for entry in container["env"]}
    assert variables["JAXREID_PROCESSES"]["value"] == str(job["completions"])
    (group,) = jobset["spec"]["replicatedJobs"]
    name = jobset["metadata"]["name"]
    port = container["ports"][0]["containerPort"]
    coordinator = variables["JAXREID_COORDINATOR"]["value"]
    assert coordinator == f"{name}-{group['name']}-0-0.{name}:{port}"
    source = variables["JAXREID_PROCESS"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert source == "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def test_it_trains_on_gpus_or_not_at_all(job):
    """GKE puts the driver's libraries there, and no loader looks there by itself.

    https://cloud.google.com/kubernetes-engine/docs/how-to/gpus, "CUDA libraries".
    """
    (container,) = job["template"]["spec"]["containers"]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert "nvidia.com/gpu" in container["resources"]["limits"]
    assert variables["JAX_PLATFORMS"] == "cuda"
    assert "/usr/local/nvidia/lib64" in variables["LD_LIBRARY_PATH"].split(":")


def test_the_jobset_that_is_asked_for_knows_its_fields(jobset):
    """restartStrategy came with 0.7.0: https://github.com/kubernetes-sigs/jobset/pull/686."""
    text = (FOLDER / "gke_jobset.yaml").read_text(encoding="utf-8")
    (major, minor), *others = re.findall(r"JobSet (\d+)\.(\d+) or newer", text)
    assert not others
    assert "restartStrategy" in jobset["spec"]["failurePolicy"]
    assert (int(major), int(minor)) >= (0, 7)


def test_it_trains_a_preset_on_volumes_that_exist(job):
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    train, flag, config, *rest = container["args"]
    assert (train, flag, rest[0]) == ("train", "--config", "--workdir")
    load(config, rest[2:])
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert rest[1].startswith("/shared/")


def test_its_other_command_is_one(job):
    text = (FOLDER / "gke_jobset.yaml").read_text(encoding="utf-8")
    block = text.split("# Other commands")[1].split("# TPU slices")[0]
    written = re.findall(r"^#     (.*)$", block, re.MULTILINE)
    name, *words = yaml.safe_load("\n".join(written))["args"]
    given = jaxreid.get_command(above(), name).make_context(name, words, parent=above()).params
    volumes = job["template"]["spec"]["containers"][0]["volumeMounts"]
    (shared, _) = (volume["mountPath"] for volume in volumes)
    for place in ("model", "data_dir", "out"):
        assert str(given[place]).startswith(f"{shared}/")
    assert all(re.search(rf"\b{command}\b", block) for command in shared_commands())


def test_the_dockerfile_copies_what_is_there_and_starts_jaxreid():
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
    assert {"configs", "jaxreid"} <= set(" ".join(copied).split())
    assert re.findall(r"^FROM (\S+)$", text, re.MULTILINE) == ["python:3.11-slim"]
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["jaxreid"]
    # The form without a shell: signals reach Python.
    assert text.rstrip().endswith('ENTRYPOINT ["jaxreid"]')


def test_slow_tests_meet_pytorch():
    """Some go on without it, and would pass for less than they can test."""
    made = re.findall(
        r"^make ([a-z-]+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert made.index("test-torch") < made.index("test-slow")
