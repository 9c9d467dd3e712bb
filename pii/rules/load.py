"""Read rule tables: the ones of `data`, and users' own in the same form.

rules:
  - id: acme-token                   # lower case, digits, hyphens
    kind: key                        # one of KINDS
    tier: low                        # low | medium | high
    source: "Acme: API tokens, https://..."
    pattern: 'acme_[A-Za-z0-9]{32}'
    keywords: [acme_]                # lower case; every match contains one of them
    verifier: token                  # default
    found: ['t = "[[acme_{base62:32}]]"', ...]
    not_found: ['acme_short', ...]
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from pii.rules.fragments import filled
from pii.rules.model import KINDS, SENSITIVITIES, Rule

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_REQUIRED = ("id", "kind", "tier", "source", "pattern")
_OPTIONAL = ("keywords", "verifier", "found", "not_found")


class BadRule(ValueError):
    """A rule file that cannot be used; names the file, the line, the rule and what is wrong with it."""


def load_rules(text: str, name: str) -> tuple[Rule, ...]:
    """The rules of one file's text, in its order; `name` is what errors call the file.

    Raises:
        BadRule: not YAML of the form above; an unknown key, kind or tier; a missing key; an id twice.  Patterns are
            compiled later (`pii.matcher`), which raises the same error.
    """
    try:
        held = yaml.load(text, yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadRule(f"{name}{at}: not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(held, dict) or set(held) != {"rules"} or not isinstance(held["rules"], list):
        raise BadRule(f"{name}: a rule file has one key, `rules`, with a list")
    rules: list[Rule] = []
    seen: set[str] = set()
    for number, entry in enumerate(held["rules"]):
        try:
            rule = _rule(entry)
            if rule.id in seen:
                raise ValueError(f"the id {rule.id!r} stands twice")
        except ValueError as error:
            raise BadRule(f"{name}, line {_line(text, number)}, {_called(entry, number)}: {error}") from None
        seen.add(rule.id)
        rules.append(rule)
    return tuple(rules)


def _rule(entry: object) -> Rule:
    if not isinstance(entry, dict):
        raise ValueError("a rule is a mapping")
    if unknown := sorted(str(k) for k in entry if k not in _REQUIRED + _OPTIONAL):
        raise ValueError(f"unknown key {unknown[0]!r}; keys are {', '.join(_REQUIRED + _OPTIONAL)}")
    for key in _REQUIRED:
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise ValueError(f"`{key}` must be a text")
    if not _ID.match(entry["id"]):
        raise ValueError("`id` must be lower-case words with hyphens")
    for key, known in (("kind", KINDS), ("tier", SENSITIVITIES)):
        if entry[key] not in known:
            raise ValueError(f"unknown {key} {entry[key]!r}: choose one of {', '.join(known)}")
    keywords = _texts(entry, "keywords")
    if any(k != k.lower() for k in keywords):
        raise ValueError("`keywords` are lower case")
    return Rule(
        id=entry["id"],
        kind=entry["kind"],
        tier=entry["tier"],
        source=entry["source"],
        pattern=_bytes(filled(entry["pattern"]), "pattern"),
        keywords=tuple(_bytes(k, "keywords") for k in keywords),
        verifier=entry.get("verifier", "token"),
        found=_texts(entry, "found"),
        not_found=_texts(entry, "not_found"),
    )


def _texts(entry: dict[str, Any], key: str) -> tuple[str, ...]:
    held = entry.get(key, [])
    if not isinstance(held, list) or not all(isinstance(one, str) for one in held):
        raise ValueError(f"`{key}` must be a list of texts")
    return tuple(held)


def _bytes(text: str, key: str) -> bytes:
    if not text.isascii():
        raise ValueError(f"`{key}` must be ASCII; write other bytes as \\xNN")
    return text.encode("ascii")


def _called(entry: object, number: int) -> str:
    name = entry.get("id") if isinstance(entry, dict) else None
    return f"rule {name!r}" if isinstance(name, str) else f"rule {number + 1}"


def _line(text: str, number: int) -> int:
    """The line (from 1) on which an entry of `rules` begins."""
    node = yaml.compose(text)
    items = node.value[0][1].value  # type: ignore[union-attr]  # the form was checked
    return int(items[number].start_mark.line) + 1


@cache
def rule_table() -> tuple[Rule, ...]:
    """Every rule of the product, files in the order of their names."""
    folder = files("pii.rules") / "data"
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".yaml"))
    rules = tuple(
        r for n in names for r in load_rules((folder / n).read_text("utf-8"), f"pii/rules/data/{n}")
    )
    ids = [r.id for r in rules]
    if twice := {i for i in ids if ids.count(i) > 1}:
        raise BadRule(f"pii/rules: the id {min(twice)!r} stands in two files")
    return rules
