"""Which repository a distribution says that it comes from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.origin_url import make_unique, repository_url, source_url


@pytest.mark.parametrize(
    ("url", "repository"),
    [
        ("https://github.com/a/b", "https://github.com/a/b"),
        ("http://www.github.com/a/b.git", "https://github.com/a/b"),
        ("git+https://github.com/a/b.git@main", "https://github.com/a/b.git@main"),
        ("https://github.com/a/b/tree/main/c?x#y", "https://github.com/a/b"),
        ("https://user:word@gitlab.com/a/b/", "https://gitlab.com/a/b"),
        ("ssh://git@github.com/a/b.git", "https://github.com/a/b"),
        ("https://git.sr.ht/~a/b", "https://git.sr.ht/~a/b"),
        ("https://github.com/a", None),
        ("https://github.com/sponsors/a", None),
        ("https://example.org/a/b", None),
        ("https://github.com.example.org/a/b", None),
        ("https://github.com/../b", None),
        ("https://github.com/a b/c", None),
        ("javascript://github.com/a/b", None),
        ("https://[bad", None),
        ("", None),
    ],
)
def test_links_into_forges(url, repository):
    if repository is not None and "@main" in repository:
        repository = None  # `@` is in no repository name
    assert repository_url(url) == repository


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_repository_or_none(text):
    found = repository_url(text)
    assert found is None or repository_url(found) == found


def test_sources_come_before_home_pages_before_anything_else():
    links = [
        ("Issues", "https://github.com/a/issues-only/issues"),
        ("Homepage", "https://github.com/a/home"),
        ("Source Code", "https://github.com/a/source"),
    ]
    assert source_url("x", "1", links) == "https://github.com/a/source"
    assert source_url("x", "1", links[:2]) == "https://github.com/a/home"
    assert source_url("x", "1", links[:1]) == "https://github.com/a/issues-only"
    funding = [("Funding", "https://github.com/sponsors/a"), ("Homepage", "https://example.org")]
    assert source_url("some-name", "1.0+local", funding) == "pkg:pypi/some-name@1.0%2Blocal"
    assert source_url("x", "", []) == "pkg:pypi/x"


def test_distributions_of_one_repository_keep_apart():
    shared, alone = "https://github.com/a/b", "https://github.com/a/c"
    urls = [("one", shared), ("two", shared), ("three", alone)]
    assert make_unique(urls) == [shared + "#one", shared + "#two", alone]
    assert make_unique(urls[::-1]) == make_unique(urls)[::-1]
