"""Write docs/training-settings.md: every key of a training configuration, and which settings exclude each other.

python scripts/training_settings.py            write it
python scripts/training_settings.py --check    exit 1 when the file is not what would be written
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from generated import write_or_check

from training.config import TrainConfig
from training.config.compatibility import RULES
from training.config.root import WITHOUT_EFFECT

TARGET = Path(__file__).parent.parent / "docs" / "training-settings.md"

HEAD = """# Settings of a training run

<!-- Written by `make docs` from training/config: change the texts there, not this file. -->

Every key of a `configs/train-*.yaml` file. `pipeline train --schema` prints the same as a JSON Schema, for editors that
complete and check YAML. Unknown keys are errors, and so is a key that is given twice; `--set section.key=value` overrides a
key for one run. A key marked with a star may differ when a run is resumed: it does not change what is learnt.
"""


def page() -> str:
    """The whole file."""
    schema = TrainConfig.model_json_schema()
    lines = [HEAD, *_section("", schema, schema), "", "## What excludes what", ""]
    lines += [
        "A configuration that breaks one of these rules is refused before anything is read, with what to change.",
        "What depends on the machine, the data or the model is refused where it is found.",
        "",
        "| keys | why | for example refused |",
        "|---|---|---|",
    ]
    for rule in RULES:
        keys = ", ".join(f"`{key}`" for key in rule.keys)
        lines.append(f"| {keys} | {_cell(rule.reason)} | `{_cell(' '.join(rule.example))}` |")
    return "\n".join(lines) + "\n"


def _section(prefix: str, section: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """The table of one section, then those of the sections in it."""
    text = " ".join(section.get("description", "").split())
    lines = [f"## {prefix.rstrip('.')}" if prefix else "## At the top", "", text, ""]
    lines += ["| key | values | default | meaning |", "|---|---|---|---|"]
    below: list[str] = []
    for key, field in section["properties"].items():
        inner = _inner(field, schema)
        if inner is not None:
            below += ["", *_section(f"{prefix}{key}.", inner, schema)]
        star = " *" if prefix + key in WITHOUT_EFFECT or prefix.partition(".")[0] in WITHOUT_EFFECT else ""
        default = json.dumps(field["default"]) if "default" in field else ""
        if inner is not None:
            default = "see below" if field.get("default") is not None else default
        meaning = _cell(field.get("description") or (inner or {}).get("description", ""))
        lines.append(
            f"| `{prefix}{key}`{star} | {_cell(_kind(field, schema))} | {_cell(default)} | {meaning} |"
        )
    return lines + below


def _inner(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any] | None:
    """The section that a field holds, alone or in a list, or None."""
    for part in (field, *field.get("anyOf", ()), *field.get("allOf", ())):
        reference = part.get("$ref") or part.get("items", {}).get("$ref")
        if reference:
            return schema["$defs"][reference.rpartition("/")[2]]
    return None


def _kind(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """The values that a field takes, in a few words."""
    if "anyOf" in field:
        return " or ".join(_kind(part, schema) for part in field["anyOf"])
    if "$ref" in field:
        return "section"
    if "enum" in field:
        return ", ".join(str(value) for value in field["enum"])
    if "const" in field:
        return str(field["const"])
    kind = field.get("type", "anything")
    if kind == "array":
        inner = field.get("items") or {"type": "number"}
        return f"list of {'sections' if '$ref' in inner else _kind(inner, schema)}"
    if kind == "object":
        return "mapping"
    limits = [
        text.format(_number(field[name]))
        for name, text in (
            ("minimum", ">= {}"),
            ("exclusiveMinimum", "> {}"),
            ("maximum", "<= {}"),
            ("exclusiveMaximum", "< {}"),
        )
        if name in field
    ]
    return " ".join([{"integer": "int", "number": "float", "boolean": "bool"}.get(kind, kind), *limits])


def _number(value: float) -> str:
    return "2^63" if value == 2**63 else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def main(arguments: list[str]) -> int:
    """Write or check; the exit status."""
    return write_or_check(TARGET, page(), arguments, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
