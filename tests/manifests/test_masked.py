"""A masked line has the shape of the released one, and none of its words."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from manifests.masked import AROUND, masked_line

SHAPE = re.compile(r"[xX9?\W_]*\Z")
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=80)


@given(TEXTS, TEXTS, st.sampled_from(["<EMAIL_1>", "KEY_12", "0b1c2d3e", "line\nbreak", "x" * 200]))
def test_only_a_placeholder_is_legible(before, after, said):
    text = f"{before}{said}{after}"
    start = len(before.encode())
    line = masked_line(text, start, start + len(said.encode()), "email")
    shown = said if said in ("<EMAIL_1>", "KEY_12") else "<EMAIL>"
    assert shown in line and "\n" not in line
    left, _, right = line.partition(shown)
    assert SHAPE.match(left) and SHAPE.match(right) and line.isascii()
    assert len(line) <= 2 * AROUND + len(shown)


def test_the_shape_stays():
    text = 'first = 1\n\tapi_Key2 = "<KEY_1>"  # b\nlast'
    start = text.index("<KEY_1>")
    assert masked_line(text, start, start + 7, "key") == 'xxx_Xxx9 = "<KEY_1>"  # x'
