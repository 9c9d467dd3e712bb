"""The files of deploy/ and docs/cluster.md agree with the code: commands, names, versions and sizes.

They are read, not run: there is no Kubernetes and no image builder here.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.engine.cluster import CREDENTIALS, FORWARDED, Node, needed_bytes

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line
)
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
DOCUMENT = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
IMAGE = f"stackmill:{PROJECT['project']['version']}"
UNITS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}


def amount(text: str) -> int:
    """Bytes of a Kubernetes quantity with a binary unit."""
    return int(text[:-2]) << UNITS[text[-2:]]


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """The objects of the manifest by kind."""
    objects = list(yaml.safe_load_all((DEPLOY / "kuberay-rayjob.yaml").read_text(encoding="utf-8")))
    assert len({one["kind"] for one in objects}) == len(objects)
    return {one["kind"]: one for one in objects}


@pytest.fixture(scope="module")
def groups(manifest) -> dict[str, dict[str, Any]]:
    """The specifications of the head and the worker group."""
    cluster = manifest["RayJob"]["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    return {"head": cluster["headGroupSpec"], "workers": workers}


@pytest.fixture
def wrong_command(monkeypatch):
    """The check of scripts/check_docs.py for one command line."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import check_docs

    root = check_docs.root_command()
    return lambda command: check_docs.wrong_command(command, root, set())


def test_the_manifest_gives_a_command_that_exists(manifest, groups, wrong_command):
    """Breach: a cluster is started for a command that the product does not take."""
    command = manifest["RayJob"]["spec"]["entrypoint"]
    assert command.startswith("pipeline release ")
    assert wrong_command(command) is None
    words = shlex.split(command)
    options = dict(zip(words[2::2], words[3::2], strict=True))
    mounts = {one["mountPath"] for one in groups["head"]["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert str(Path(options["--config"]).parent) in mounts
    assert options["--workdir"].startswith("s3://"), "a local one is refused on a cluster"
    assert options["--out"].startswith("s3://"), "a folder of the head goes with it"


def test_the_commands_of_the_page_exist(wrong_command):
    """Breach: somebody starts a cluster by this page and then cannot use it."""
    blocks = "\n".join(re.findall(r"^```text\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)).replace(
        "\\\n", " "
    )
    found = [line[line.index("pipeline ") :] for line in blocks.splitlines() if "pipeline " in line]
    assert found
    assert [wrong_command(command) for command in found] == [None] * len(found)
    for name in re.findall(r"deploy/[\w.-]*\w", DOCUMENT):
        assert (ROOT / name).exists(), name


def test_one_image_everywhere(manifest, groups):
    """Breach: driver and nodes of two versions, which refuse each other."""
    pods = [
        manifest["RayJob"]["spec"]["submitterPodTemplate"],
        *(group["template"] for group in groups.values()),
    ]
    assert {container["image"] for pod in pods for container in pod["spec"]["containers"]} == {IMAGE}
    assert f"--tag {IMAGE} " in CONTAINERFILE
    assert f"--tag {IMAGE} " in DOCUMENT
    assert manifest["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"] == PINS["ray"]


def test_the_environment_is_what_the_code_reads(groups):
    """Breach: a variable that nobody reads, or a credential that Ray keeps in plain text."""
    known = {*FORWARDED, "TMPDIR", "RAY_worker_niceness"}
    for group in groups.values():
        (container,) = group["template"]["spec"]["containers"]
        environment = {one["name"]: one["value"] for one in container["env"]}
        assert set(environment) <= known
        assert environment["TMPDIR"] in {mount["mountPath"] for mount in container["volumeMounts"]}
    job = yaml.safe_load((DEPLOY / "job-environment.yaml").read_text(encoding="utf-8"))
    assert set(job) == {"env_vars"}, "the code comes with the image"
    for name in ("job-environment.yaml", "kuberay-rayjob.yaml", "Containerfile"):
        text = (DEPLOY / name).read_text(encoding="utf-8")
        assert set(re.findall(r"AWS_[A-Z0-9_]+", text)) <= set(FORWARDED), name
    assert set(re.findall(r"AWS_[A-Z0-9_]+\b(?!_)", DOCUMENT)) - {"AWS_", "AWS_PROFILE"} == {
        *FORWARDED,
        *CREDENTIALS,
    }


def test_memory_adds_up(groups):
    """Breach: units are promised memory that the container does not have, or cores idle for want of it."""
    for name, group in groups.items():
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"], name
        volumes = {one["name"]: one for one in group["template"]["spec"]["volumes"]}
        (shm,) = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/dev/shm"]
        assert volumes[shm]["emptyDir"]["medium"] == "Memory"
        room = amount(volumes[shm]["emptyDir"]["sizeLimit"])
        assert int(group["rayStartParams"]["object-store-memory"]) < room
    assert groups["head"]["rayStartParams"]["num-cpus"] == "0"
    limits = groups["workers"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    memory = int(groups["workers"]["rayStartParams"]["memory"])
    assert memory + room + (3 << 30) == amount(limits["memory"])
    node = Node("n", "a", float(limits["cpu"]), float(memory))
    for task_memory in ("1GB", "3GB"):  # the default, and what the page says that there is room for
        assert node.slots(needed_bytes(task_memory, heavy=False)) == node.cpus
    assert 16 * needed_bytes("1GB", heavy=False) <= 29e9, "the page's figure"


def test_only_the_job_reaches_the_ports(manifest, groups):
    """Breach: the policy selects other pods than those of the job."""
    policy = manifest["NetworkPolicy"]["spec"]
    labels = policy["podSelector"]["matchLabels"]
    pods = [
        manifest["RayJob"]["spec"]["submitterPodTemplate"],
        *(group["template"] for group in groups.values()),
    ]
    assert all(labels.items() <= pod["metadata"]["labels"].items() for pod in pods)
    assert policy["policyTypes"] == ["Ingress"]
    assert manifest["RayJob"]["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    account = manifest["ServiceAccount"]["metadata"]["name"]
    assert all(group["template"]["spec"]["serviceAccountName"] == account for group in groups.values())
    assert all(group["template"]["spec"]["securityContext"]["runAsNonRoot"] for group in groups.values())
    assert len({one["metadata"]["namespace"] for one in manifest.values()}) == 1


def test_a_lost_head_is_tried_again(manifest):
    job = manifest["RayJob"]["spec"]
    assert job["backoffLimit"] > 0
    assert job["shutdownAfterJobFinishes"] is True


def test_the_image_has_all_of_the_sources():
    """Breach: a package that was added is not in the image."""
    copied = {
        word for line in re.findall(r"^COPY (.*) \S+$", CONTAINERFILE, re.MULTILINE) for word in line.split()
    }
    assert all((ROOT / name).exists() for name in copied)
    top = {name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}
    assert top | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "configs"} == copied
    (extra,) = re.findall(r"'\.\[(\w+)\]'", CONTAINERFILE)
    assert extra in PROJECT["project"]["optional-dependencies"]
    (python,) = re.findall(r"^FROM python:(\d+\.\d+)", CONTAINERFILE, re.MULTILINE)
    assert f"on Python {python} " in (ROOT / "constraints.txt").read_text(encoding="utf-8").partition("\n")[0]
