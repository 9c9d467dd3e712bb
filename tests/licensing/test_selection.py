"""A list of licenses narrows what the policy permits, and never widens it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from licensing.policy import Policy
from licensing.selection import chosen, takes

POLICY = Policy.load()
IDS = ("MIT", "Apache-2.0", "BSD-3-Clause", "ISC")


@pytest.mark.parametrize(
    ("listed", "expression", "taken"),
    [
        (["MIT"], "MIT", True),
        (["mit"], "MIT", True),
        (["MIT"], "Apache-2.0", False),
        (["MIT"], "MIT OR GPL-3.0-only", True),
        (["MIT"], "Apache-2.0 AND MIT", False),
        (["MIT", "Apache-2.0"], "Apache-2.0 AND MIT", True),
        (["MIT AND Apache-2.0"], "Apache-2.0 AND MIT", True),
        (["MIT AND Apache-2.0"], "MIT", False),
        (["Apache-2.0"], "Apache-2.0 WITH LLVM-exception", False),
        (["Apache-2.0 WITH LLVM-exception"], "Apache-2.0 WITH LLVM-exception", True),
        (["MIT"], None, False),
        (["MIT"], "MIT AND (", False),
        (["MIT"], "MIT AND LicenseRef-scancode-warranty-disclaimer", True),
    ],
)
def test_what_a_list_takes(listed: list[str], expression: str | None, taken: bool) -> None:
    assert takes(chosen(listed), expression, POLICY) is taken


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(IDS)), st.lists(st.sampled_from(IDS), min_size=1, max_size=4))
def test_an_and_needs_all_and_an_or_needs_one(listed: set[str], parts: list[str]) -> None:
    names = chosen(listed)
    assert takes(names, " AND ".join(parts), POLICY) == set(parts).issubset(listed)
    assert takes(names, " OR ".join(parts), POLICY) == bool(set(parts) & listed)


@pytest.mark.parametrize("bad", ["MITT", "", "MIT AND (", "my license", "\x1b[2J"])
def test_what_is_no_license_is_refused(bad: str) -> None:
    """Breach: a typing error selects nothing, and the release is empty or short without a word."""
    with pytest.raises(ValueError, match="SPDX"):
        chosen([bad])
