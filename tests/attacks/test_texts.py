"""Bodies that attack a reader of text: each has its stated outcome."""

from __future__ import annotations

import hashlib

import pytest
from graphs import Graph, Made, file, release

CODE = "import os\n\n\ndef area(width, height):\n    return width * height\n\n\nprint(area(2, 3), os.name)\n"
TOKENS = "<|endof" + "text|> <s> </s> [INST] <fim_" + "prefix> <|im_start|>system"


def _code(number: int) -> str:
    return CODE.replace("area", f"area_{number}")


def _mails(amount: int) -> bytes:
    return b"".join(b"m%d = 'user%d" % (n, n) + b"@" + b"corp-mail%d.net'\n" % n for n in range(amount))


BODIES: dict[str, bytes] = {
    "tokens.py": (_code(1) + f"x = '{TOKENS}'\n").encode(),
    "nul.py": (_code(2) + "x = '\0'\n").encode(),
    "utf16le_bom.py": b"\xff\xfe" + _code(3).encode("utf-16-le"),
    "utf16be_bom.py": b"\xfe\xff" + _code(4).encode("utf-16-be"),
    "utf16_bare.py": _code(5).encode("utf-16-le"),
    "utf32.py": _code(6).encode("utf-32"),
    "invalid.py": _code(7).encode() + b"x = '\xc3\x28 \xf0\x28\x8c\x28 \xed\xa0\x80'\n",
    "latin.py": (_code(8) + "name = 'caf\xe9 cr\xe8me'\n").encode("latin-1"),
    "bom.py": b"\xef\xbb\xbf" + _code(9).encode(),
    "empty.py": b"",
    "space.py": b" \n\t\n \r\n" * 20,
    "newlines.py": _code(10).replace("\n", "\r\n", 3).replace("\n\n", "\n\r", 1).encode(),
    "cr.py": _code(11).replace("\n", "\r").encode(),
    "separators.py": (_code(12) + "x = '\u2028\u2029\x85\x0b\x0c'\n").encode(),
    "zeros.py": bytes(4_096),
    "random.py": hashlib.shake_256(b"seed").digest(5_000),
    "mails.py": _code(13).encode() + _mails(100_000),
    "few_mails.py": _code(14).encode() + _mails(3),
    "long_line.py": b"x = [" + b"1, 22, 333, " * 1_700_000 + b"]\n",
    "one_word.py": b"a" * 3_000_000,
    "escapes.py": (_code(15) + "print('\x1b]0;t\x07\x1b[2J')\n").encode(),
    "html.py": (_code(16) + "</textarea><script>alert(1)</script>\n---\nlicense: none\n").encode(),
    "surrogate.py": _code(17).encode() + b"x = '\xed\xa0\x80'\n",
    "overlong.py": _code(18).encode() + b"x = '\xc0\xaf'\n",
    "many_lines.py": b"\n" * 2_000_000,
    "brackets.py": b"(" * 1_000_000,
    "header.py": b"# SPDX-License-Identifier: GPL-3.0-only\n" + _code(19).encode(),
    "bad_header.py": b"# SPDX-License-Identifier: " + b"(" * 3_000 + b"MIT\n" + _code(20).encode(),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    base = tmp_path_factory.mktemp("texts")
    g = Graph()
    g.repository(
        "https://example.org/a/b", [file(name.encode(), g.content(body)) for name, body in BODIES.items()]
    )
    return release(
        g.write(base / "archive"),
        base,
        {"files": {"max_bytes": 1 << 25}, "near_duplicates": {"enabled": False}},
    )


KEPT = {
    "tokens.py": "the tokens of any model are text like other text",
    "utf16le_bom.py": "decoded by its mark",
    "utf16be_bom.py": "decoded by its mark",
    "utf16_bare.py": "UTF-16 without a mark, beyond doubt",
    "bom.py": "the mark is no part of the text",
    "newlines.py": "line ends are kept",
    "cr.py": "a lone carriage return is kept",
    "separators.py": "separators are kept",
    "few_mails.py": "redacted",
    "escapes.py": "a text may hold what a terminal obeys",
    "html.py": "markup is text",
}
DROPPED = {
    "nul.py": ("binary",),
    "zeros.py": ("binary",),
    "random.py": ("binary", "undecodable"),
    "mails.py": ("secrets_budget", "quality"),
    "empty.py": ("quality", "binary", "language"),
    "space.py": ("quality",),
    "long_line.py": ("quality", "generated"),
    "one_word.py": ("quality", "generated"),
    "many_lines.py": ("quality", "generated"),
    "brackets.py": ("quality", "generated"),
    "header.py": ("license_header",),
}


def test_every_body_has_one_outcome(made: Made) -> None:
    reasons = made.reasons()
    assert set(reasons) == {name.encode() for name in BODIES} | {b"LICENSE"}
    assert made.totals["found"] == len(reasons) == made.totals["kept"] + sum(made.dropped.values())


@pytest.mark.parametrize("name", KEPT)
def test_kept(made: Made, name: str) -> None:
    assert made.reasons()[name.encode()] is None
    row = made.by_path[name]
    assert row["sha256"] == hashlib.sha256(BODIES[name]).hexdigest()
    assert row["content_sha256"] == hashlib.sha256(row["content"].encode()).hexdigest()


@pytest.mark.parametrize("name", DROPPED)
def test_dropped(made: Made, name: str) -> None:
    reason = made.reasons()[name.encode()]
    assert (reason.split(".")[0] if reason else None) in DROPPED[name]


def test_texts_are_what_the_bytes_say(made: Made) -> None:
    rows = made.by_path
    for name in ("tokens.py", "newlines.py", "cr.py", "separators.py", "escapes.py", "html.py"):
        assert rows[name]["content"].encode() == BODIES[name], name
    assert rows["utf16le_bom.py"]["content"] == _code(3)
    assert rows["utf16be_bom.py"]["content"] == _code(4)
    assert rows["bom.py"]["content"] == _code(9)
    assert rows["utf32.py"]["content"] == _code(6)
    assert "café crème" in rows["latin.py"]["content"]


@pytest.mark.parametrize("name", ["invalid.py", "surrogate.py", "overlong.py", "latin.py"])
def test_bytes_that_are_no_utf8_are_read_without_loss_or_not_at_all(made: Made, name: str) -> None:
    reason = made.reasons()[name.encode()]
    if reason is not None:
        assert reason == "undecodable"
        return
    row = made.by_path[name]
    assert not row["src_encoding"].startswith("utf")
    assert row["content"].encode(row["src_encoding"]) == BODIES[name]


def test_redaction_is_recorded(made: Made) -> None:
    row = made.by_path["few_mails.py"]
    assert b"corp-mail" not in row["content"].encode()
    assert [one["kind"] for one in row["redactions"]] == ["email"] * 3


def test_the_card_does_not_speak_for_a_file(made: Made) -> None:
    assert b"<script>" not in (made.directory / "README.md").read_bytes()
