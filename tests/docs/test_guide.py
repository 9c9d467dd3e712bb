"""The commands of the guide and of the pages after it work, in their order, in a clone: on a few small packages."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 900
PAGES = ("guide.md", "versions.md")  # one after the other, in one clone
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# Small, permissive, in Python, with a license file, and there wherever the product is installed.
SOURCES = {
    "https://github.com/pallets/click": "click",
    "https://github.com/kjd/idna": "idna",
    "https://github.com/pytest-dev/pluggy": "pluggy",
    "https://github.com/python-attrs/attrs": "attrs",
    "https://github.com/psf/requests": "requests",
    "https://github.com/Textualize/rich": "rich",
}


def script(guide: str) -> str:
    """The guide's commands as one script: lines after `$ ` of its console blocks, and its Python blocks."""
    parts = ["set -eu -o pipefail"]
    for kind, block in BLOCK.findall(guide):
        if kind == "python":
            parts.append(f"echo \"+ $SECONDS s: python\" >&2\npython - <<'PYTHON'\n{block}PYTHON")
            continue
        for line in block.replace("\\\n", " ").splitlines():
            assert line.startswith("$ "), f"not a command: {line!r}"
            parts.append(f'echo "+ $SECONDS s:" {shlex.quote(line[2:])} >&2\n{line[2:]}')
    return "\n".join(parts) + "\n"


def set_values(file: Path, values: dict[str, str]) -> None:
    """Give keys of a YAML file another value; each key has to stand there exactly once."""
    text = file.read_text(encoding="utf-8")
    for key, value in values.items():
        text, count = re.subn(rf"^( *{key}:) \S+", rf"\1 {value}", text, flags=re.MULTILINE)
        assert count == 1, f"{file.name} has {key!r} {count} times"
    file.write_text(text, encoding="utf-8")


def run(command: list[str], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run to the end; what it said is in the failure."""
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """This environment stands for `.venv`: make finds it complete and installs nothing into it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    make = tools / "make"
    stamps = " ".join(
        f"-o '{sys.prefix}/{name}'" for name in (".installed-base", ".installed-dev", "bin/python")
    )
    make.write_text(f"#!/bin/sh\nexec '{shutil.which('make')}' {stamps} \"$@\"\n", encoding="utf-8")
    make.chmod(0o755)
    removed = ("RAY_ADDRESS", "ARCHIVE", "CONFIG", "OUT", "WORKDIR", "WORKERS", "MAKEFLAGS", "MAKELEVEL")
    return {name: value for name, value in os.environ.items() if name not in removed} | {
        "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "VENV": sys.prefix,
        "PYTHONPATH": str(
            tmp_path / "clone"
        ),  # the clone's code, not the code that the environment points to
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }


@pytest.fixture
def clone(tmp_path: Path, environment: dict[str, str]) -> Path:
    """A repository with the tree's files, whose default input is a handful of small packages."""
    target = tmp_path / "clone"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in sorted(set(run(listed, ROOT, environment).stdout.split("\0"))):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    identity = ["-c", "user.name=Guide", "-c", "user.email=guide@example.invalid"]
    run(["git", "init", "-q", "-b", "main"], target, environment)
    run(["git", "add", "-A"], target, environment)
    run(["git", *identity, "commit", "-q", "-m", "The tree as it is"], target, environment)

    arguments = []
    for url, name in SOURCES.items():
        folder = tmp_path / "sources" / name
        for file in distribution(name).files or ():
            path = Path(str(file.locate()))
            if path.suffix in (".py", ".pyi") and path.is_file() and ".." not in file.parts:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / file)
            elif path.name.upper().startswith("LICENSE"):
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / path.name)
        arguments += ["--dir", f"{url}={folder}"]
    archive = tmp_path / "archive"
    run(["pipeline", "archive", *arguments, "--out", str(archive)], tmp_path, environment)
    set_values(target / "configs" / "release-local.yaml", {"uri": str(archive), "build": "null"})
    set_values(target / "configs" / "train-tiny.yaml", {"steps": "4", "vocab_size": "512"})
    return target


def test_the_guide_works_from_clone_to_trained_model(clone, environment):
    """Breach: the first thing that a new user tries does not work."""
    file = clone.parent / "guide.sh"
    pages = [(clone / "docs" / page).read_text(encoding="utf-8") for page in PAGES]
    file.write_text("".join(map(script, pages)), encoding="utf-8")
    done = run(["bash", str(file)], clone, environment)

    manifest = json.loads((clone / "releases" / "2.1" / "manifest.json").read_text(encoding="utf-8"))
    totals = manifest["totals"]
    assert totals["found"] == totals["kept"] + sum(totals["dropped"].values())
    assert "nothing to do" in done.stdout, "the second `make release` did work"
    assert not (clone / "releases" / "2.2").exists(), "--dry-run made something"
    assert (clone / "work" / "my-releases" / "1.0" / "manifest.json").exists()
    assert "held out" in done.stdout, "the trained model was not evaluated"
    assert list((clone / "runs" / "tiny").iterdir())
    copy = json.loads((clone / "copies" / "2.1" / "manifest.json").read_text(encoding="utf-8"))
    assert copy["version"].startswith("2.1+removals.")
