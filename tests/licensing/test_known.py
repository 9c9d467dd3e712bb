import pytest

from licensing.known import KnownTexts

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction, including
without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED
TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL
THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
DEALINGS IN THE SOFTWARE.
"""


@pytest.fixture(scope="session")
def known():
    return KnownTexts.load()


def test_a_known_text_is_complete(known):
    text = "The MIT License (MIT)\n\nCopyright (c) 2020-2024 Jane Q. Public <jane@example.org>\n\n" + MIT
    found = known.find(text)
    assert found.complete
    assert {d.expression for d in found.detections} == {"MIT"}
    assert text[: found.detections[-1].end].endswith("DEALINGS IN THE SOFTWARE")


@pytest.mark.parametrize("place", ["before", "after", "inside"])
def test_any_sentence_remains(known, place):
    sentence = "It must be sunny."
    first, second = MIT.split("\n\n", 1)
    text = {
        "before": f"{sentence}\n\n{MIT}",
        "after": f"{MIT}\n{sentence}\n",
        "inside": f"{first}\n\n{sentence}\n\n{second}",
    }[place]
    found = known.find(text)
    assert not found.complete
    assert any(start <= text.index("sunny") < end for start, end in found.remainder)
