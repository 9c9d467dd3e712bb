"""The section on licenses of a report: ids out of expressions, and unknown texts as strangers' words."""

import pytest

from manifests.report.licensed import ids, licenses


def stats(**more):
    return {
        "rows": 6,
        "licenses": {"MIT": 4, "Apache-2.0 OR MIT": 2},
        "language_licenses": {"C": {"MIT": 4}, "Go": {"Apache-2.0 OR MIT": 2}},
        "unknown_licenses": None,
        **more,
    }


def unknown(*most, texts=2):
    return {"texts": texts, "files": 9, "shown_from": 3, "most": list(most)}


def one(excerpt, digest="ab" * 32):
    return {
        "text_digest": digest,
        "reason": "no_detection",
        "contents": 1,
        "files": 5,
        "origins": 4,
        "excerpt": excerpt,
    }


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("MIT", {"MIT"}),
        ("Apache-2.0 AND (BSD-3-Clause OR MIT)", {"Apache-2.0", "BSD-3-Clause", "MIT"}),
        ("GPL-2.0-only WITH Classpath-exception-2.0 OR MIT", {"GPL-2.0-only WITH Classpath-exception-2.0", "MIT"}),
        ("(A WITH B) AND A", {"A WITH B", "A"}),
        ("WITH", set()),
    ],
    ids=range(5),
)  # fmt: skip
def test_the_ids_of_an_expression(expression, found):
    assert ids(expression) == found


def test_ids_are_those_of_the_parser():
    licensing = pytest.importorskip("licensing.expressions")
    for expression in ("A AND (B OR C WITH D)", "MIT", "(A OR B) AND (C OR D)"):
        assert ids(expression) == set(licensing.ids(expression))


def test_rows_count_for_each_id_of_their_expression():
    page = licenses(stats())
    assert '<bdi class="name">MIT</bdi></th><td class="number">6</td>' in page
    assert "Licenses by language" in page and "Unknown license texts" not in page


def test_words_of_strangers_are_words():
    page = licenses(stats(unknown_licenses=unknown(one("<b>bold</b> \u202e\x1b[31m"), one(None, "cd" * 32))))
    assert "<b>bold" not in page and "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "\u202e" not in page and "\x1b" not in page
    assert "cd" * 32 in page and "ab" * 32 not in page


def test_a_release_without_unknown_texts_says_so():
    assert "Every license text of the input was recognised" in licenses(
        stats(unknown_licenses=unknown(texts=0))
    )
