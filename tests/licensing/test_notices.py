import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.notices import MAX_COPYRIGHTS, MAX_LENGTH, copyright_lines


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Copyright (c) 2019 The Authors", "Copyright (c) 2019 The Authors"),
        (
            " * Copyright 2004-2011 Some Firm, Inc. All rights reserved. */",
            "Copyright 2004-2011 Some Firm, Inc. All rights reserved.",
        ),
        ("\u00a9 2020 Somebody", "\u00a9 2020 Somebody"),
        ("(C) 1999 by Somebody", "(C) 1999 by Somebody"),
        ("copyright (c) lowercase-holder", "copyright (c) lowercase-holder"),
        (
            "SPDX-FileCopyrightText: 2021 Somebody <me@here.example>",
            "SPDX-FileCopyrightText: 2021 Somebody <email>",
        ),
        ("Copyright 2001 A <b at c.example.org>", "Copyright 2001 A <email>"),
        ("Portions Copyright (c) 2001 A", "Portions Copyright (c) 2001 A"),
        ("Copyright 2001 A\x1b[31m\u202e", "Copyright 2001 A [31m"),
        ("The above copyright notice and this permission notice shall be included", None),
        ("AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM", None),
        ("Copyright [yyyy] [name of copyright owner]", None),
        ("Copyright (c) <year> <copyright holders>", None),
        ("You may add Your own copyright statement to Your modifications", None),
        ("copyright law", None),
        ("Copyright License. Subject to the terms", None),
        ("1999", None),
    ],
)
def test_lines(line, told):
    assert copyright_lines(line.encode()) == ([told] if told else [])


def test_each_line_once_and_in_order():
    body = b"Copyright 2002 B\nx\nCopyright 2001 A\nCopyright 2002 B\n"
    assert copyright_lines(body) == ["Copyright 2002 B", "Copyright 2001 A"]
    assert copyright_lines("Copyright 2002 B\n".encode("utf-16")) == ["Copyright 2002 B"]
    assert copyright_lines(b"\x00\x01Copyright 2002 B\x00") == []


@given(st.text(max_size=300) | st.text("copyright()c \u00a92019A@.<>[]", max_size=300))
def test_any_text_is_read(text):
    for line in copyright_lines(text.encode("utf-8", "surrogatepass")):
        assert line.isprintable() and len(line) <= MAX_LENGTH and line.strip()


def test_bounded():
    many = "".join(f"Copyright {1950 + n % 70} Holder {n}\n" for n in range(20_000)).encode()
    assert len(copyright_lines(many)) == MAX_COPYRIGHTS
    for body in (
        b"copyright " * 500_000,
        b"(c)" * 500_000,
        b"Copyright 2001 " + b"a@" * 500_000,
        b"Copyright 2001 " + b"a." * 500_000,
    ):
        copyright_lines(body)
