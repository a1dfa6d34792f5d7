"""What Google's machines are asked for is what their interfaces take: every field is known.

jobset.schema.json holds the fields at each level that the file uses, with the kinds and values of
those that it uses, of JobSet v1alpha2 (https://github.com/kubernetes-sigs/jobset,
config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml, Apache License 2.0) and, from JobSpec on,
of Kubernetes 1.37 (https://kubernetes.io/docs/reference/kubernetes-api/, batch/v1 and core/v1).
"""

import copy
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[2] / "launch" / "gke_jobset.yaml"
SCHEMA = json.loads((Path(__file__).parent / "jobset.schema.json").read_text(encoding="utf-8"))
JOBSET = yaml.safe_load(FILE.read_text(encoding="utf-8"))
POD = ("spec", "replicatedJobs", 0, "template", "spec", "template", "spec")
# Whose keys are names that clusters give.
FREE = ("limits", "nodeSelector")


def wrong(jobset):
    """What the schema says against it."""
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(jobset)]


def at(tree, path):
    for step in path:
        tree = tree[step]
    return tree


def keys(tree, path=()):
    """Paths of all fields."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, child in children:
        if isinstance(tree, dict) and (not path or path[-1] not in FREE):
            yield (*path, key)
        if isinstance(child, dict | list):
            yield from keys(child, (*path, key))


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


def test_kubernetes_takes_the_jobset():
    assert wrong(JOBSET) == []


def for_tpus():
    """The JobSet with what its header says of TPU slices."""
    lines = FILE.read_text(encoding="utf-8").split("# TPU slices")[1].splitlines()
    written = "\n".join(line.removeprefix("#     ") for line in lines if line.startswith("#     "))
    given = yaml.safe_load(written)
    assert given.keys() == {"nodeSelector", "limits"}
    jobset = copy.deepcopy(JOBSET)
    pod = at(jobset, POD)
    (container,) = pod["containers"]
    pod["nodeSelector"] = given["nodeSelector"]
    container["resources"]["limits"] = given["limits"]
    others = ("LD_LIBRARY_PATH", "JAXREID_")
    container["env"] = [e for e in container["env"] if not e["name"].startswith(others)]
    (platforms,) = container["env"]
    platforms["value"] = "tpu"
    return jobset


def test_kubernetes_takes_it_for_tpus():
    assert wrong(for_tpus()) == []


@pytest.mark.parametrize("path", list(keys(JOBSET)), ids=lambda path: ".".join(map(str, path)))
def test_a_misspelt_field_is_refused(path):
    jobset = copy.deepcopy(JOBSET)
    *above, name = path
    holder = at(jobset, above)
    holder[name[:-1]] = holder.pop(name)
    assert any(f"'{name[:-1]}' was unexpected" in message for message in wrong(jobset))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "failurePolicy", "maxRestarts"), "3"),
        (("spec", "failurePolicy", "restartStrategy"), "Blocking"),
        (("spec", "failurePolicy", "rules", 0, "name"), "pre-empted"),
        (("spec", "failurePolicy", "rules", 0, "onJobFailureReasons", 0), "PodFailure"),
        ((*POD[:5], "completionMode"), "indexed"),
        ((*POD[:5], "podFailurePolicy", "rules", 0, "onExitCodes", "values", 0), "75"),
        # YAML reads True as a truth.
        ((*POD[:5], "podFailurePolicy", "rules", 1, "onPodConditions", 0, "status"), True),
        ((*POD, "restartPolicy"), "never"),
        ((*POD, "containers", 0, "env", 1, "value"), 2),
        ((*POD, "containers", 0, "args", 0), True),
        ((*POD, "containers", 0, "resources", "limits", "nvidia.com/gpu"), "eight"),
        ((*POD, "volumes", 1, "emptyDir", "medium"), "memory"),
    ],
    ids=lambda given: ".".join(map(str, given[-2:])) if isinstance(given, tuple) else repr(given),
)
def test_a_value_of_another_kind_is_refused(path, value):
    jobset = copy.deepcopy(JOBSET)
    *above, name = path
    at(jobset, above)[name] = value
    assert len(wrong(jobset)) == 1
