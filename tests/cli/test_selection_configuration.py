"""Selections in the configuration: one spelling of each, and what cannot be meant is refused with the right word."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import config as configuration
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"licenses": ["MITT"]}, "'MITT' is not in the SPDX license list"),
        ({"licenses": ["MIT AND ("]}, "not a license expression"),
        ({"max_bytes": {"Pyhton": "1GB"}}, "did you mean 'Python'"),
        ({"max_bytes": {"defualt": "1GB"}}, "did you mean 'default'"),
        ({"max_bytes": {"Python": "1 potato"}}, "Python: must be an amount with its unit"),
        ({"max_bytes": {"Python": 0}}, "Python: must be a number of bytes"),
        ({"max_bytes": {"Python": -5}}, "Python: must be a number of bytes"),
        ({"max_bytes": {"Python": True}}, "Python: must be a number of bytes"),
        ({"max_bytes": {"Python": 1 << 60}}, "Python: must be a number of bytes"),
        ({"max_bytes": {"Python": None}}, "Python: must be a number of bytes"),
        ({"max_bytes": ["Python"]}, "must be a mapping"),
        ({"max_bytes": {3: 4}}, "unknown language 3"),
        ({"max_tokens": {"Python": "2GB"}}, "Python: must be a number of tokens"),
        ({"max_tokens": {"Python": "2M"}}, "needs tokens.tokenizer"),
        ({"max_byte": {}}, "did you mean 'max_bytes'"),
    ],
)
def test_what_cannot_be_meant(section: dict[Any, Any], words: str) -> None:
    """Breach: a typing error in a cap takes everything, or nothing, without a word."""
    with pytest.raises(ConfigError) as caught:
        configuration.parse({"select": section})
    assert words in str(caught.value)


def test_a_selection_has_one_spelling() -> None:
    """Breach: two spellings of one selection make two releases."""
    one = configuration.parse(
        {
            "select": {
                "licenses": ["mit", "Apache-2.0", "MIT"],
                "max_bytes": {"Python": "1.5GB", "default": "4KiB"},
                "max_tokens": {"C": "2M", "Go": "7"},
            },
            "tokens": {"tokenizer": "/private/tokenizer.json"},
        }
    )
    resolved = configuration.resolved(one)
    assert resolved["select"] == {
        "licenses": ["Apache-2.0", "MIT"],
        "max_bytes": {"Python": 1_500_000_000, "default": 4_096},
        "max_tokens": {"C": 2_000_000, "Go": 7},
    }
    assert resolved["tokens"] == {"name": "tokenizer"}, "the path of a user's file is published"
