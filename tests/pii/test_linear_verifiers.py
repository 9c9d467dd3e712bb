"""Every rule on texts made against it: the work of its verifier grows with the text, and both engines agree.

Hyperscan and RE2 are linear in the text for one search (no backtracking); what is left is what we do per match.  So
work is counted in bytes that the verifier reads, on a text and on one four times as long.
"""

import pytest
import re2
from pii_examples import EXAMPLES, marked

from pii.matcher import Matcher
from pii.rules import rule_table
from pii.verifiers import VERIFIERS

RULES = rule_table()
# A verifier may read some KiB around a match: only in a text that is longer is its work linear.
SIZES = (2_000, 16_000, 128_000)


class Counted(bytes):
    """Bytes that count how many of them are read."""

    read = 0

    def __getitem__(self, key):
        value = super().__getitem__(key)
        self.read += len(value) if isinstance(key, slice) else 1
        return value

    def _span(self, arguments):
        start, end, _ = slice(*[*arguments[1:], None, None][:2]).indices(len(self))
        self.read += max(0, end - start)

    def find(self, *arguments):
        self._span(arguments)
        return super().find(*arguments)

    def rfind(self, *arguments):
        self._span(arguments)
        return super().rfind(*arguments)

    def index(self, *arguments):
        self._span(arguments)
        return super().index(*arguments)

    def count(self, *arguments):
        self._span(arguments)
        return super().count(*arguments)


def hostile(rule):
    """(head, unit) of texts: the rule's own example cut, repeated, glued, and prolonged by its own alphabet."""
    body, (start, end) = marked(EXAMPLES[rule.id][0][0])
    value = body[start:end]
    yield b"", body
    yield b"", value
    yield b"", body[: start + 8]
    yield b"", value[:6]
    yield b"", body[:start] or value[:4]
    yield body[: start + len(value) // 2], value[len(value) // 2 :][:1]
    yield body[: end - 1] + b"!", value[-1:]


def text_of(head, unit, size):
    return head + unit * (size // len(unit))


def work(rule, body):
    """Matches of the expression, and bytes read by the verifier."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    search, verify, counted = re2.compile(rule.pattern, options), VERIFIERS[rule.verifier], Counted(body)
    matches = 0
    for match in search.finditer(body):
        matches += 1
        verify(counted, *match.span(1 if search.groups else 0))
    return matches, counted.read


def is_linear(rule, head, unit, size):
    few, read = work(rule, text_of(head, unit, size))
    many, more = work(rule, text_of(head, unit, 4 * size))
    return many <= 4 * few + 8 and more <= 5 * read + 4096


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.id)
def test_hostile_texts(rule):
    """The work of the verifier is linear, and a rule alone finds the same with and without Hyperscan."""
    ours, fallback = (Matcher((rule,), use_hyperscan=use) for use in (True, False))
    for number, (head, unit) in enumerate(hostile(rule)):
        assert any(is_linear(rule, head, unit, size) for size in SIZES), f"text {number}"
        body = text_of(head, unit, SIZES[0])
        assert ours.findings(body) == fallback.findings(body), f"text {number}"
