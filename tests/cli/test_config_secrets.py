"""The section `secrets`: what is wrong is said with what was meant, files are read once, and no value is ever repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.config import load, parse, resolved
from pipeline.errors import ConfigError

WRONG = {
    "a key": ({"sensitivty": "low"}, "did you mean 'sensitivity'"),
    "a kind": ({"kinds": {"emial": "low"}}, "unknown kind 'emial'; did you mean 'email'"),
    "a level": ({"kinds": {"email": "lowest"}}, "'off', 'low', 'medium' or 'high'"),
    "a language": ({"languages": {"Pyton": {}}}, "unknown language 'Pyton'; did you mean 'Python'"),
    "a key of a language": ({"languages": {"C": {"sensitivty": "low"}}}, "did you mean 'sensitivity'"),
    "a key of an entry": ({"allow": [{"reason": "x", "kind": ["key"]}]}, "did you mean 'kinds'"),
    "an entry without a reason": ({"allow": [{"kinds": ["key"]}]}, "reason"),
    "an entry for everything": ({"allow": [{"reason": "x"}]}, "it would allow every finding"),
    "a language of an entry": ({"allow": [{"reason": "x", "languages": ["Pyton"]}]}, "did you mean 'Python'"),
    "a rule of an entry": (
        {"allow": [{"reason": "x", "rules": ["github-tokn"]}]},
        "did you mean 'github-token'",
    ),
    "no rule file": ({"rules": ["/none"]}, "/none: cannot be read: No such file"),
    "no allow file": ({"allow_file": "/none"}, "/none: cannot be read: No such file"),
    "a label": ({"model": {"path": "m", "labels": {"PER": "person"}}}, "unknown kind 'person'"),
}


@pytest.mark.parametrize(("section", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told(section, words):
    with pytest.raises(ConfigError) as error:
        parse({"secrets": section})
    assert words in str(error.value) and "secrets" in str(error.value)


def test_a_value_in_the_place_of_its_digest_is_not_repeated(tmp_path):
    value = "open" + "-sesame-" + "4711"
    with pytest.raises(ConfigError) as error:
        parse({"secrets": {"allow": [{"reason": "mine", "values": [value]}]}})
    assert value not in str(error.value) and "SHA-256" in str(error.value)
    file = tmp_path / "allow.yaml"
    file.write_text(yaml.safe_dump({"allow": [{"reason": "mine", "values": [value]}]}))
    with pytest.raises(ConfigError) as error:
        parse({"secrets": {"allow_file": str(file)}})
    assert value not in str(error.value) and str(file) in str(error.value)


def test_an_unquoted_off_is_off(tmp_path):
    file = tmp_path / "release.yaml"
    file.write_text("secrets:\n  kinds: {email: off}\n  languages:\n    C: {kinds: {key: off}}\n")
    settings = load(file)
    policy = settings.secrets.policy()
    assert (
        policy.settings_for(["Java"]).level_of("email") == -1
        and policy.settings_for(["Java"]).level_of("key") == 2
    )
    assert (
        policy.settings_for(["C"]).level_of("key") == -1
        and policy.settings_for(["C", "Java"]).level_of("key") == 2
    )
    again = yaml.safe_load(yaml.safe_dump(resolved(settings)))
    assert parse({"secrets": again["secrets"]}).secrets.policy() == policy


def test_files_are_told_by_digest_and_not_by_place(tmp_path):
    rules, allow = tmp_path / "rules.yaml", tmp_path / "allow.yaml"
    rules.write_text(
        "rules:\n  - {id: acme, kind: key, tier: low, source: Acme, pattern: 'zq_[a-z]{9}', keywords: [zq_]}\n"
    )
    allow.write_text("allow:\n  - {reason: ours, rules: [acme]}\n")
    section = {"rules": [str(rules)], "allow_file": str(allow)}
    secrets = parse({"secrets": section}).secrets
    assert set(secrets.digests) == {"rules", "allow_file"} and str(tmp_path) not in repr(secrets.resolved())
    moved = Path(rules).rename(tmp_path / "moved.yaml")
    assert parse({"secrets": {**section, "rules": [str(moved)]}}).secrets.digests == secrets.digests
    allow.write_text("allow:\n  - {reason: theirs, rules: [acme]}\n")
    other = parse({"secrets": {**section, "rules": [str(moved)]}}).secrets.digests
    assert other["rules"] == secrets.digests["rules"] and other["allow_file"] != secrets.digests["allow_file"]
    with pytest.raises(ConfigError, match="is also that of"):
        parse({"secrets": {"rules": [str(moved), str(moved)]}})
