"""Write docs/cli.md, the reference of every command, from the commands themselves.

    python scripts/cli_reference.py            write it
    python scripts/cli_reference.py --check    exit 1 when the file is not what would be written

Nothing depends on the terminal: no width, no colour, no machine's paths. A default that differs between
machines would show up here as a reference that is never up to date.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from generated import write_or_check

TARGET = Path(__file__).parent.parent / "docs" / "cli.md"

HEAD = """# Command line

<!-- Written by `make docs` from the commands themselves: change their texts, not this file. -->

Results go to standard output (`--json` where a program reads them), progress and messages to standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an error of ours: please report it |
| 2 | usage or configuration |
| 3 | a gate refused: conservation, license, opt-out |
| 4 | integrity: stored bytes are not what they claim to be |
| 5 | a source, disk or network could not deliver |
| 130 | interrupted; the next run goes on from there |
"""


def root_command() -> Any:
    """The command tree of the product."""
    from typer.main import get_command

    from pipeline.cli.main import app

    return get_command(app)


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name, in the order of the help."""
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child, below in children.items():
        if not below.hidden:
            yield from leaves(below, f"{name} {child}")


def describe(name: str, command: Any) -> str:
    """The section of one command: usage, text, arguments and options."""
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    options = [param for param in shown if param.param_type_name == "option" and "--help" not in param.opts]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *(_placeholder(one) for one in arguments)])
    parts = [
        f"## {name}",
        inspect.cleandoc(command.help or "").replace("\f", "").strip(),
        f"```text\n{usage}\n```",
    ]
    for title, params in (("argument", arguments), ("option", options)):
        if params:
            rows = [f"| {title} | meaning |", "|---|---|", *(_row(param) for param in params)]
            parts.append("\n".join(rows))
    return "\n\n".join(part for part in parts if part)


def _placeholder(param: Any) -> str:
    name = param.metavar or param.name.upper()
    name += "..." if param.nargs == -1 else ""
    return name if param.required else f"[{name}]"


def _row(param: Any) -> str:
    if param.param_type_name == "argument":
        label = f"`{_placeholder(param)}`"
    else:
        names = ", ".join([*param.opts, *param.secondary_opts])
        value = "" if getattr(param, "is_flag", False) else f" {_value(param)}"
        label = f"`{names}{value}`"
    text = " ".join((getattr(param, "help", None) or "").split())
    notes = []
    if param.required and param.param_type_name == "option":
        notes.append("required")
    if getattr(param, "multiple", False) and "repeatable" not in text:
        notes.append("can be given more than once")
    default = getattr(param, "default", None)
    if default not in (None, False, True, (), []) and not callable(default):
        notes.append(f"default `{getattr(default, 'value', default)}`")
    if getattr(param, "envvar", None):
        notes.append(f"also from `{param.envvar}`")
    if notes:
        text = "; ".join([text.removesuffix("."), *notes] if text else notes)
    return f"| {label} | {text} |"


def _value(param: Any) -> str:
    """What stands for the value of an option: its own word, its choices, or the name of its type."""
    if param.metavar:
        return str(param.metavar)
    kind = param.type_descriptor.annotation
    kinds = [one for one in get_args(kind) if one is not NoneType]
    if get_origin(kind) is not Literal and kinds:
        kind = kinds[0]
    choices = get_args(kind) or tuple(getattr(kind, "__members__", ()))
    if choices:
        return "{" + ",".join(str(choice) for choice in choices) + "}"
    return "TEXT" if kind is str else str(getattr(kind, "__name__", "value")).upper()


def reference(root: Any) -> str:
    """The whole file."""
    return "\n\n".join([HEAD.strip(), *(describe(*leaf) for leaf in leaves(root, "pipeline"))]) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check; the exit status."""
    return write_or_check(TARGET, reference(root_command()), arguments, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
