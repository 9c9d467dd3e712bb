"""Versions go up, and never by a smaller step than the change between two releases needs."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import PathError, VersionError
from manifests.names import check_version
from manifests.versions import Step, Version, check_order, check_step, needed_step

small = st.integers(0, 30)
numbers = st.lists(small, min_size=2, max_size=4).map(lambda parts: ".".join(map(str, parts)))
drafts = st.sampled_from(["", "", "-rc.1", "-rc.2", "-rc.10", "-beta", "-1", "-rc.1.x"])
versions = st.builds(lambda number, draft: number + draft, numbers, drafts)


@given(a=versions, b=versions, c=versions)
def test_the_order_is_total(a, b, c):
    one, two, three = Version(a), Version(b), Version(c)
    assert (one < two) + (two < one) + (one == two) == 1
    if one < two and two < three:
        assert one < three
    if one == two:
        assert hash(one) == hash(two)


def test_the_order_is_that_of_semantic_versioning():
    ascending = ["0.9", "1.0-alpha", "1.0-alpha.1", "1.0-rc.2", "1.0-rc.10", "1.0-rc.x", "1.0", "1.0.1", "1.1", "1.9",
                 "1.10", "2.0"]  # fmt: skip
    shuffled = ascending[5:] + ascending[:5]
    assert sorted(shuffled, key=Version) == ascending
    assert Version("2.1") == Version("2.1.0") == Version("2.1+removals.00ff00ff")


@given(parent=versions, step=st.sampled_from([Step.PATCH, Step.MINOR, Step.MAJOR]))
def test_the_number_that_an_error_offers_fits_and_none_below_it_does(parent, step):
    offered = Version(parent).after(step)
    check_order(offered, parent)
    check_step(offered, parent, step, "")
    if not Version(parent).draft:
        for smaller in range(Step.PATCH, step):
            with pytest.raises(VersionError, match=f"smallest number that fits is {offered} "):
                check_step(Version(parent).after(Step(smaller)), parent, step, "rows were added")


@given(parent=versions, child=versions)
def test_backwards_and_equal_are_refused_whatever_they_are(parent, child):
    if Version(child) > Version(parent):
        check_order(child, parent)
    else:
        with pytest.raises(VersionError, match="versions go up"):
            check_order(child, parent)


def test_a_larger_step_than_needed_fits_and_a_draft_promises_nothing():
    check_step("3.0", "2.1", Step.PATCH, "")
    check_step("2.2-rc.1", "2.1", Step.MINOR, "")
    check_step("2.2", "2.2-rc.1", Step.MAJOR, "")
    with pytest.raises(VersionError, match=r"smallest number that fits is 3\.0 "):
        check_step("2.2-rc.1", "2.1", Step.MAJOR, "the license policy is another one")
    with pytest.raises(VersionError, match="leave it out"):
        check_order("2.2+removals.00000000", "2.1")


WITHDRAWN = {("removed", "withdrawn", "C"): 3}


@pytest.mark.parametrize(
    ("counts", "only_opt_outs", "step"),
    [
        ({}, False, Step.PATCH),
        (WITHDRAWN, False, Step.PATCH),
        (WITHDRAWN | {("added", "", "C"): 0}, False, Step.PATCH),
        (WITHDRAWN | {("added", "", "C"): 1}, True, Step.PATCH),  # a near-duplicate comes back
        (WITHDRAWN | {("added", "", "C"): 1}, False, Step.MINOR),
        ({("restored", "", "C"): 1}, True, Step.MINOR),  # an opt-out was withdrawn: there is more than before
        ({("removed", "gone", "C"): 1}, False, Step.MINOR),
        ({("changed", "", "C"): 1}, False, Step.MINOR),
    ],
)
def test_the_step_that_a_change_of_rows_needs(counts, only_opt_outs, step):
    found = needed_step(
        schema=False, license_policy=False, only_opt_outs=only_opt_outs, counts=Counter(counts)
    )
    assert found[0] == step
    assert needed_step(schema=True, license_policy=False, counts=Counter(counts))[0] == Step.MAJOR
    assert needed_step(schema=False, license_policy=True, counts=Counter(counts))[0] == Step.MAJOR


@pytest.mark.parametrize("version", ["2.1+removals.0123abcd", "2.1.3-rc.1+removals.ffffffff"])
def test_a_copy_that_was_brought_in_line_has_a_version(version):
    assert check_version(version) == version


@pytest.mark.parametrize(
    "version", ["2.1+removals.", "2.1+removals.0123ABCD", "2.1+x", "2.1+removals.0123abcd0", "2.1+"]
)
def test_no_other_build_metadata(version):
    with pytest.raises(PathError):
        check_version(version)
