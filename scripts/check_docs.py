"""Check that the documentation tells the truth about what can be checked without running it.

    python scripts/check_docs.py

Every relative link in a Markdown file leads to a file in the tree, and its `#part` to a heading there. Every
command in a ```console block of README.md and docs/ names a target of the Makefile, or a command of the
product with options that it has. Prints one line for each thing that is wrong, and exits 1 when there is one.
That the guide's commands work is shown by tests/docs, which runs them.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cli_reference import root_command

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
FOREIGN = {
    "cd",
    "cp",
    "export",
    "git",
    "ls",
    "printf",
    "python",
    "sed",
    "sha256sum",
}  # programs whose arguments we cannot know


def documents() -> list[Path]:
    """The Markdown files of the tree, tracked or about to be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    return sorted(ROOT / name for name in set(names) if name and (ROOT / name).exists())


def console_commands(text: str) -> list[str]:
    """The commands of the ```console blocks, in order: lines after `$ `, with their continuation lines."""
    commands = []
    for language, block in FENCE.findall(text):
        if language == "console":
            joined = block.replace("\\\n", " ")
            commands += [line[2:].strip() for line in joined.splitlines() if line.startswith("$ ")]
    return commands


def anchors(text: str) -> set[str]:
    """The `#parts` that the headings of a document offer."""
    found = set()
    for line in FENCE.sub("", text).splitlines():
        if re.match(r"#{1,6} ", line):
            title = line.lstrip("#").strip().lower()
            found.add(re.sub(r"[^\w\- ]", "", title).replace(" ", "-"))
    return found


def broken_links(document: Path) -> Iterator[str]:
    """One message for each relative link that leads nowhere."""
    prose = FENCE.sub("", document.read_text(encoding="utf-8"))
    for link in LINK.findall(prose):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, part = unquote(link).partition("#")
        target = document if not name else document.parent / name
        if not target.exists():
            yield f"the link {link} leads nowhere"
        elif part and part not in anchors(target.read_text(encoding="utf-8")):
            yield f"the link {link}: no such heading"


def wrong_command(command: str, root: Any, targets: set[str]) -> str | None:
    """What is wrong with a command line, None when nothing is."""
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if not words:
        return "an empty command"
    program, arguments = Path(words[0]).name, words[1:]
    if program == "make":
        unknown = [word for word in arguments if "=" not in word and word not in targets]
        return f"no such target: {', '.join(unknown)}" if unknown else None
    if program == "pipeline":
        return wrong_arguments(root, arguments)
    return None if program in FOREIGN else f"{program} is a program that this check does not know"


def wrong_arguments(command: Any, words: list[str]) -> str | None:
    """Whether a command of the product would take these words: names and counts, not values."""
    children = getattr(command, "commands", None)
    if children is not None:
        if words and words[0] in children:
            return wrong_arguments(children[words[0]], words[1:])
        return f"no such command: {words[0] if words else '(none)'}"
    options = {name: param for param in command.params for name in (*param.opts, *param.secondary_opts)}
    given, positional, rest = set(), 0, list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            positional += 1
            continue
        name, has_value, _ = word.partition("=")
        param = options.get(name)
        if param is None or param.param_type_name != "option":
            return f"no such option: {name}"
        given.add(param.name)
        if not has_value and not getattr(param, "is_flag", False):
            if not rest:
                return f"{name} needs a value"
            rest.pop(0)
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    needed = sum(1 for param in arguments if param.required)
    if positional < needed:
        return f"{needed} arguments are needed, {positional} given"
    if all(param.nargs == 1 for param in arguments) and positional > len(arguments):
        return f"{len(arguments)} arguments are taken, {positional} given"
    missing = [
        param.opts[0]
        for param in command.params
        if param.param_type_name == "option" and param.required and param.name not in given
    ]
    return f"missing: {', '.join(missing)}" if missing else None


def main() -> int:
    """Check everything; the exit status."""
    root = root_command()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    wrong = []
    for document in documents():
        name = document.relative_to(ROOT)
        wrong += [f"{name}: {message}" for message in broken_links(document)]
        if name == Path("README.md") or name.parts[0] == "docs":
            for command in console_commands(document.read_text(encoding="utf-8")):
                message = wrong_command(command, root, targets)
                if message:
                    wrong.append(f"{name}: `{command}`: {message}")
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
