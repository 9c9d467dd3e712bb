"""Write docs/secrets-rules.md, the table of all rules for secrets and personal data, from the rules themselves.

python scripts/secret_rules.py            write it
python scripts/secret_rules.py --check    exit 1 when the file is not what would be written
"""

from __future__ import annotations

import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path

from generated import write_or_check

from pii.rules import KINDS, SENSITIVITIES, Rule, load_rules

TARGET = Path(__file__).parent.parent / "docs" / "secrets-rules.md"

HEAD = """# Rules for secrets and personal data

<!-- Written by `make docs` from pii/rules/data/*.yaml: change the rules, not this file. -->

Every type that `pipeline scan secrets` and a release look for with a rule of their own, from the lowest sensitivity at
which it applies. `low` rules have a distinctive prefix, a structure that decodes or a checksum; `medium` rules need a
name, a command or a file's form around a value. `high` adds values that only look random, and
what detect-secrets finds, which is no table of ours.

The last column names the issuer's document, or the standard, that describes the type. Where it states no length or
alphabet, the rule takes what the issuer's own examples show. Public keys, publishable keys and other values that
are made to be seen are no types here. Tokens of test environments are types like others (they open accounts, if only
with test data); Stripe's are found at `medium`, because samples of them stand in much documentation.
"""


def tables() -> list[tuple[str, str, tuple[Rule, ...]]]:
    """(file name, its heading, its rules) of every rule file, by name; the heading is the file's first comment."""
    out = []
    for file in sorted((files("pii.rules") / "data").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".yaml"):
            text = file.read_text("utf-8")
            title = text.splitlines()[0].lstrip("# ").split(". Form:")[0]
            out.append((file.name, title, load_rules(text, file.name)))
    return out


def page() -> str:
    """The whole file."""
    held = tables()
    rules = [rule for _, _, group in held for rule in group]
    counts = Counter((rule.kind, rule.tier) for rule in rules)
    lines = [
        HEAD,
        f"{len(rules)} rules:",
        "",
        "| kind | " + " | ".join(SENSITIVITIES) + " |",
        "|---|" + "---:|" * 3,
    ]
    for kind in KINDS:
        numbers = [counts[kind, tier] for tier in SENSITIVITIES]
        if any(numbers):
            lines.append(f"| {kind} | " + " | ".join(str(n) if n else "" for n in numbers) + " |")
    for name, title, group in held:
        lines += [
            "",
            f"## {title}",
            "",
            f"`pii/rules/data/{name}`",
            "",
            "| rule | kind | from | source |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{r.id}` | {r.kind} | {r.tier} | {_cell(r.source)} |"
            for r in sorted(group, key=lambda r: r.id)
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def main(arguments: list[str]) -> int:
    """Write or check; the exit status."""
    return write_or_check(TARGET, page(), arguments, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
