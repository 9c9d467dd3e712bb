"""Users' own rule files: read, checked as strictly as the product's table, and tried on their own examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import re2
import yaml

from pii.linear import compiled
from pii.matcher import Matcher, said
from pii.rules.examples import expand
from pii.rules.load import BadRule, load_rules, rule_table
from pii.rules.model import Rule
from pii.rules.proofs import Unreadable, keywords_are_necessary, tree_of
from pii.verifiers import VERIFIERS


def load_rules_file(path: Path) -> tuple[Rule, ...]:
    """The rules of a file, to be used beside the product's (`Settings.rules`).

    Raises:
        BadRule: the file cannot be read, or is no rule file; a pattern that an engine refuses, that matches the empty
            text, or that the engines read differently; keywords that a match may lack; an unknown verifier; an id of the
            product's.  The message names the file, the line, the rule and, for patterns, the position.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadRule(f"{path}: not read: {why}") from None
    rules = load_rules(text, str(path))
    taken = {r.id for r in rule_table()}
    for number, rule in enumerate(rules):
        key, problem = _problem(rule, taken)
        if problem is not None:
            raise BadRule(f"{path}, line {_line(text, number, key)}, rule {rule.id!r}: {problem}")
    return rules


def _problem(rule: Rule, taken: set[str]) -> tuple[str, str | None]:
    """The key of the entry that is wrong, and what is; None if nothing is."""
    if rule.id in taken:
        return "id", "the id is one of the product's"
    if rule.verifier not in VERIFIERS:
        return (
            "verifier",
            f"no verifier named {rule.verifier!r}: choose one of {', '.join(sorted(VERIFIERS))}",
        )
    necessary = True
    try:
        tree_of(rule.pattern)
        compiled(rule.pattern)
        if rule.keywords:
            necessary = keywords_are_necessary(rule.pattern, rule.keywords)
        Matcher((rule,))
    except Unreadable as error:
        return "pattern", f"pattern: {error}"
    except re2.error as error:
        return "pattern", f"pattern: {_where(rule.pattern, said(error))}RE2 says: {said(error)}"
    except BadRule as error:  # Hyperscan's own words hold an index where it has one
        return "pattern", f"pattern: {str(error).partition(': ')[2]}"
    if not necessary:
        return "keywords", "keywords: a text can match the pattern and hold none of them; leave them out"
    return "", None


def _where(pattern: bytes, message: str) -> str:
    """RE2 quotes the part that it does not take: where that is."""
    part = message.rpartition(": ")[2].encode("latin-1", "replace")
    at = pattern.find(part) if part and part != pattern else -1
    return f"at position {at}: " if at >= 0 else ""


def _line(text: str, number: int, key: str) -> int:
    """The line (from 1) of a key of an entry of `rules`, else of the entry."""
    node = yaml.compose(text)
    entry = node.value[0][1].value[number]  # type: ignore[union-attr]  # the form was checked
    mark = next((k.start_mark for k, _ in entry.value if k.value == key), entry.start_mark)
    return int(mark.line) + 1


def check_examples(rule: Rule) -> list[str]:
    """What is wrong with a rule's examples, empty if nothing is: each must be found, or not, by either engine.

    Spans are named by their bytes; no text of an example is in a message.
    """
    engines = [Matcher((rule,), use_hyperscan=False), Matcher((rule,))]
    out: list[str] = []
    for key, templates in (("found", rule.found), ("not_found", rule.not_found)):
        for number, template in enumerate(templates):
            try:
                body, span = expand(template, rule.id)
            except ValueError as error:
                out.append(f"{key}, example {number + 1}: {error}")
                continue
            if key == "found" and span is None:
                out.append(f"{key}, example {number + 1}: without [[ and ]] around what is to be found")
                continue
            expected = [span] if key == "found" and span is not None else []
            for engine in engines:
                found = [(start, end) for start, end, _, _ in engine.findings(body)]
                if found != expected:
                    out.append(f"{key}, example {number + 1}: finds {_spans(found)}, not {_spans(expected)}")
                    break
    return out


def _spans(spans: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"bytes {start}..{end}" for start, end in spans) or "nothing"
