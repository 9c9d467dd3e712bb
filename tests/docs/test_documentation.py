"""The documentation says what is so; and the check that says so sees what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"


@pytest.fixture
def check_docs(monkeypatch):
    """The module scripts/check_docs.py."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import check_docs

    return check_docs


@pytest.mark.parametrize(
    "arguments", [["check_docs.py"], ["cli_reference.py", "--check"], ["explain_cases.py", "--check"]]
)
def test_the_documentation_is_right(arguments):
    """Breach: a link leads nowhere, an option does not exist, or docs/cli.md or a case of docs/explain.md is out of date."""
    run = subprocess.run(
        [sys.executable, str(SCRIPTS / arguments[0]), *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("make release VERSION=2.1", None),
        ("make relaese VERSION=2.1", "no such target: relaese"),
        ("pipeline verify releases/2.1", None),
        ("pipeline verify", "1 arguments are needed, 0 given"),
        ("pipeline verify a b", "1 arguments are taken, 2 given"),
        ("pipeline release --version 2.1 --wrokers 2", "no such option: --wrokers"),
        ("pipeline release --config c.yaml", "missing: --version"),
        ("pipeline scan langauges .", "no such command: langauges"),
        ("RAY_ADDRESS=10.0.0.5:6379 make release VERSION=1", None),
        ("frobnicate", "frobnicate is a program that this check does not know"),
    ],
)
def test_a_wrong_command_is_found(check_docs, command, wrong):
    """Breach: the guide names a command that does not exist, and nobody notices."""
    root = check_docs.root_command()
    assert check_docs.wrong_command(command, root, {"release", "test"}) == wrong


def test_a_dead_link_is_found_and_a_live_one_is_not(check_docs, tmp_path):
    """Breach: a renamed file leaves links behind."""
    (tmp_path / "there.md").write_text("# One heading: `code`, and more\n", encoding="utf-8")
    document = tmp_path / "page.md"
    document.write_text(
        "[a](there.md) [b](gone.md) [c](there.md#one-heading-code-and-more) [d](there.md#none) [e](https://e.invalid)\n"
        "```text\n[in code](gone.md)\n```\n",
        encoding="utf-8",
    )
    assert list(check_docs.broken_links(document)) == [
        "the link gone.md leads nowhere",
        "the link there.md#none: no such heading",
    ]


def test_every_make_target_says_what_it_does():
    """Breach: `make help` does not list a target."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = text.partition(".PHONY:")[2].partition("\n")[0].split()
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [name for name in phony if f"\n  {name} " not in listed] == []
