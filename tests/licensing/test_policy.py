import json
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing import policy as p
from licensing.expressions import (
    InvalidExpressionError,
    alternatives,
    canonical,
    conjunction,
    conjuncts,
    disjunction,
)

PERMITTED = [
    "MIT",
    "Apache-2.0",
    "BSD-3-Clause",
    "ISC",
    "0BSD",
    "CC0-1.0",
    "LicenseRef-scancode-public-domain",
]
REFUSED = [
    "GPL-2.0-only",
    "AGPL-3.0-or-later",
    "MPL-2.0",
    "JSON",
    "LicenseRef-scancode-commons-clause",
    "Foo-1.0",
]

TERMS = st.recursive(
    st.sampled_from([*PERMITTED, *REFUSED]),
    lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3)),
    max_leaves=8,
)


def written(term):
    if isinstance(term, str):
        return term
    return "(" + f" {term[0]} ".join(written(t) for t in term[1]) + ")"


def truth(term):
    if isinstance(term, str):
        return term in PERMITTED
    return (all if term[0] == "AND" else any)(truth(t) for t in term[1])


@given(TERMS)
def test_a_decision_is_the_boolean_value_of_the_expression(term):
    policy = p.Policy.load()
    decision = policy.decide(written(term))
    assert decision.permitted == truth(term)
    assert (decision.sub_reason in p.PERMITTING) == decision.permitted
    assert decision.sub_reason in p.SUB_REASONS
    assert policy.decide(canonical(written(term))) == decision


@given(TERMS)
def test_canonical_is_idempotent_and_knows_no_order(term):
    text = canonical(written(term))
    assert canonical(text) == text
    if not isinstance(term, str):
        assert canonical(written((term[0], term[1][::-1]))) == text
    assert conjunction(conjuncts(text)) == text
    assert disjunction(alternatives(text)) == text


@given(st.lists(TERMS, min_size=1, max_size=4))
def test_joined_text_is_canonical(terms):
    texts = [canonical(written(term)) for term in terms]
    for join in (conjunction, disjunction):
        assert canonical(join(texts)) == join(texts)


@given(st.text(max_size=60) | st.text("() MITANDORWH+-/:.\x00\n", max_size=80))
def test_any_text_gets_a_decision(text):
    assert p.Policy.load().decide(text).sub_reason in p.SUB_REASONS


@pytest.mark.parametrize(
    ("expression", "permitted", "sub_reason"),
    [
        (None, False, p.NONE_FOUND),
        ("mit or gpl-2.0", True, p.PERMISSIVE),
        ("Apache-2.0 WITH LLVM-exception", True, p.PERMISSIVE),
        ("MIT WITH no-such-exception", False, p.UNKNOWN_ID),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False, p.NOT_PERMISSIVE),
        ("Apache-2.0+", True, p.PERMISSIVE),
        ("MIT AND", False, p.UNPARSABLE_REASON),
        ("Foo-1.0", False, p.UNKNOWN_ID),
        ("JSON", False, p.NOT_PERMISSIVE),
        ("MIT AND LicenseRef-stackmill-rider-machine-learning", False, p.RIDER),
        ("MIT AND LicenseRef-scancode-commons-clause", False, p.RIDER),
        ("MIT AND LicenseRef-stackmill-unread", False, p.UNRECOGNISED),
        ("BSD-3-Clause AND LicenseRef-scancode-generic-cla", True, p.PERMISSIVE),
        ("LicenseRef-scancode-generic-cla", False, p.NONE_FOUND),
        ("MIT AND LicenseRef-scancode-unknown-license-reference", True, p.PERMISSIVE),
        ("GPL-2.0-only AND LicenseRef-scancode-unknown-license-reference", False, p.NOT_PERMISSIVE),
        ("LicenseRef-scancode-unknown-license-reference", False, p.NONE_FOUND),
        ("LicenseRef-somebody", False, p.UNKNOWN_ID),
    ],
)
def test_decisions(policy, expression, permitted, sub_reason):
    assert policy.decide(expression) == p.Decision(permitted, sub_reason)


def test_long_expressions(policy):
    assert policy.decide(" AND ".join(["MIT"] * 5000)).permitted
    assert not policy.decide(" AND ".join([*["MIT"] * 5000, "GPL-3.0-only"])).permitted


def test_brackets_without_end():
    with pytest.raises(InvalidExpressionError):
        canonical("(" * 5000 + "MIT")


def test_policy_file(tmp_path, policy):
    path = tmp_path / "policy.yaml"
    path.write_text("add: [MPL-2.0]\nremove: [BSD-4-Clause]\n")
    changed = p.Policy.load(path)
    assert changed.decide("MPL-2.0").permitted and not policy.decide("MPL-2.0").permitted
    assert policy.decide("BSD-4-Clause").permitted and not changed.decide("BSD-4-Clause").permitted
    assert changed.digest != policy.digest == p.Policy.load().digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("allow: [MIT]", "known: weak_copyleft, unlicensed"),
        ("allow: [weak-copyleft]", "did you mean 'weak_copyleft'"),
        ("add: MIT", "add must be a list"),
        ("- MIT", "expected a mapping"),
        ("add: [1]", "add must be a list"),
        ("add: [", "cannot be read as YAML"),
        ("\x00", "cannot be read as YAML"),
        ("alow: []", "did you mean 'allow'"),
        ("remove: [BSD-4-Claus]", "did you mean 'BSD-4-Clause'"),
        ("add: [GPL-2.0-only WITH Classpath-exceptoin-2.0]", "did you mean 'Classpath-exception-2.0'"),
        ("add_exceptions: [MIT]", "'MIT' is not known"),
        ("vendored: yes", "write one of own, inherit"),
    ],
)
def test_broken_policy_files_are_named(tmp_path, text, said):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(p.PolicyError, match=r"policy\.yaml") as raised:
        p.Policy.load(path)
    assert said in str(raised.value)


def test_a_policy_file_may_name_pairs_and_own_ids(tmp_path, policy):
    path = tmp_path / "policy.yaml"
    path.write_text("add: [GPL-2.0-only WITH  Classpath-exception-2.0, LicenseRef-ours]\nremove: [mit]\n")
    changed = p.Policy.load(path)
    assert changed.decide("GPL-2.0-only WITH Classpath-exception-2.0").permitted
    assert not changed.decide("GPL-2.0-only").permitted and not changed.decide("MIT").permitted
    assert changed.decide("LicenseRef-ours").permitted and not policy.decide("LicenseRef-ours").permitted


WEAK = p.Policy.of(p.pinned_list(), {"allow": ["weak_copyleft"], "remove": ["EPL-1.0"]})


@pytest.mark.parametrize(
    ("expression", "sub_reason"),
    [
        ("LGPL-2.1-or-later", p.WEAK_COPYLEFT),
        ("MPL-2.0 AND MIT", p.WEAK_COPYLEFT),
        ("MPL-2.0 OR MIT", p.PERMISSIVE),
        ("MPL-2.0 OR GPL-3.0-only", p.WEAK_COPYLEFT),
        ("GPL-3.0-only", p.NOT_PERMISSIVE),
        ("EPL-1.0", p.NOT_PERMISSIVE),
        ("MPL-2.0 AND LicenseRef-stackmill-rider-machine-learning", p.RIDER),
        (None, p.NONE_FOUND),
        ("NONE", p.NONE_FOUND),
    ],
)
def test_weak_copyleft_is_permitted_where_it_is_allowed(expression, sub_reason):
    assert WEAK.decide(expression).sub_reason == sub_reason


DEFAULT = p.Policy.load()
MORE = [
    p.Policy.of(p.pinned_list(), {"allow": allow})
    for allow in (["weak_copyleft"], ["unlicensed"], ["weak_copyleft", "unlicensed"])
]


@given(TERMS)
def test_allowing_more_refuses_nothing(term):
    text = written(term)
    assert all(more.decide(text).permitted >= DEFAULT.decide(text).permitted for more in MORE)


def test_the_pinned_list_is_that_of_the_installed_scancode():
    """Breach: the list was edited by hand, or is older than the detector that is asked."""
    import importlib.util
    from pathlib import Path

    place = Path(__file__).parents[2] / "scripts" / "build_license_policy.py"
    spec = importlib.util.spec_from_file_location("build_license_policy", place)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    pinned = p.pinned_list()
    ratings = {
        spdx: why[0].removeprefix("Blue Oak: ")
        for spdx, why in pinned["permitted"].items()
        if why[0].startswith("Blue Oak")
    }
    script.blue_oak = lambda _: (pinned["sources"][0], ratings)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of ScanCode's, about where the system keeps a library that it does not use here
        built = script.build(Path("unused"))
    if built["sources"][1]["version"] != pinned["sources"][1]["version"]:
        pytest.skip("another version of ScanCode is installed")
    assert built == pinned


def test_the_pinned_list_is_consistent():
    from importlib import resources

    content = json.loads(resources.files("licensing").joinpath("data/permissive.json").read_text())
    assert not set(content["permitted"]) & set(content["refused"])
    assert all(len(source["sha256"]) == 64 and source["license"] for source in content["sources"])
    for copyleft in (
        "GPL-2.0-only",
        "LGPL-2.1-or-later",
        "AGPL-3.0-only",
        "SSPL-1.0",
        "BUSL-1.1",
        "CC-BY-NC-4.0",
    ):
        assert copyleft in content["refused"]
