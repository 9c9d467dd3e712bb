"""Filter profiles: which signals drop a file, and under which reason.

A profile is data (YAML, data/profile-<name>.yaml; the format is described in
data/profile-the-stack-v2.yaml). This module turns a table of signals (signals.py) into one verdict per
file: the first rule that fails, or null.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from pipeline.content.code_schema import NUMBERS
from pipeline.content.signal_schema import SCHEMA
from pipeline.content.taxonomy import LANGUAGES

DEFAULT_PROFILE = "the-stack-v2"

_DATA = Path(__file__).parent / "data"


class ProfileError(ValueError):
    """A filter profile is unknown or malformed; the message names the file, the rule and the key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """Fails when the signal is above, or below, the value; a value on the bound passes."""

    signal: str
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule. `languages` empty: every language but those of `excepted`."""

    rule: str
    languages: tuple[str, ...] = ()
    excepted: tuple[str, ...] = ()
    bounds: tuple[Bound, ...] = ()
    name_class_not_in: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """A named list of rules, in the order in which they are tried."""

    name: str
    rules: tuple[Rule, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over all that can change a verdict."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=repr).encode()).hexdigest()


def load_profile(name_or_path: str | Path = DEFAULT_PROFILE) -> Profile:
    """A profile by name (`the-stack-v2`, `none`) or from a YAML file. Raises ProfileError."""
    known = sorted(path.stem.removeprefix("profile-") for path in _DATA.glob("profile-*.yaml"))
    path = _DATA / f"profile-{name_or_path}.yaml" if str(name_or_path) in known else Path(name_or_path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProfileError(
            f"no filter profile {str(name_or_path)!r}: neither one of {', '.join(known)} nor a file"
        ) from error
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ProfileError(f"{path}: cannot be read as YAML: {error}") from error
    return _profile(raw, str(path))


def verdict(
    signals: pa.Table,
    languages: pa.StringArray,
    profile: Profile | None = None,
    *,
    name_classes: pa.BinaryArray | None = None,
) -> pa.StringArray:
    """`quality.<rule>` of the first rule that a file fails; null if it passes all.

    `signals` as signals.signals makes them, `languages` and `name_classes` of the same files. An unknown
    (null) language is treated as one that no rule names. A null signal fails no rule. Without
    `name_classes`, rules on names are not applied.
    """
    profile = load_profile() if profile is None else profile
    answers = np.full(len(signals), None, object)
    for rule in profile.rules:
        fails = _fails(rule, signals, name_classes)
        fails &= _concerned(rule, languages) & np.equal(answers, None)
        answers[fails] = f"quality.{rule.rule}"
    return pa.array(answers, pa.string())


def failures(
    signals: Mapping[str, Any], language: str | None, profile: Profile, *, name_class: bytes | None = None
) -> Iterator[dict[str, Any]]:
    """Every test that one file fails, by rule: `rule`, `signal`, `value`, and the bound `above` or `below` which it lies.

    The rules are those of `verdict`, whose answer is the first of them. Of a rule on names the signal is `name_class`.
    """
    for rule in profile.rules:
        if language in rule.excepted or (rule.languages and language not in rule.languages):
            continue
        for bound in rule.bounds:
            value = signals.get(bound.signal)
            if value is None:
                continue
            tests = (("above", bound.above, bound.above is not None and value > bound.above),
                     ("below", bound.below, bound.below is not None and value < bound.below))  # fmt: skip
            for side, limit, fails in tests:
                if fails:
                    yield {"rule": rule.rule, "signal": bound.signal, "value": value, side: limit}
        if rule.name_class_not_in and name_class is not None and name_class not in rule.name_class_not_in:
            yield {
                "rule": rule.rule,
                "signal": "name_class",
                "value": name_class.decode("ascii", "backslashreplace"),
            }


def _fails(rule: Rule, signals: pa.Table, name_classes: pa.BinaryArray | None) -> np.ndarray:
    fails = np.zeros(len(signals), bool)
    for bound in rule.bounds:
        values = (
            signals[bound.signal].cast(pa.float64()).to_numpy()
        )  # null becomes NaN, which fails no comparison
        if bound.above is not None:
            fails |= values > bound.above
        if bound.below is not None:
            fails |= values < bound.below
    if rule.name_class_not_in and name_classes is not None:
        known = pa.array(rule.name_class_not_in, pa.binary())
        fails |= ~pc.is_in(name_classes.cast(pa.binary()), value_set=known).to_numpy(zero_copy_only=False)
    return fails


def _concerned(rule: Rule, languages: pa.StringArray) -> np.ndarray:
    if rule.languages:
        return pc.is_in(languages, value_set=pa.array(rule.languages)).to_numpy(zero_copy_only=False)
    return ~pc.is_in(languages, value_set=pa.array(rule.excepted, pa.string())).to_numpy(zero_copy_only=False)


# --------------------------------------------------------------------------------------------------------
# Reading a profile.

_RULE_KEYS = {"rule", "languages", "except", "any", "name_class_not_in"}
_MEASURED = (*SCHEMA.names, *NUMBERS)


def _profile(raw: Any, where: str) -> Profile:
    if not isinstance(raw, dict) or set(raw) != {"profile", "rules"} or not isinstance(raw["rules"], list):
        raise ProfileError(f"{where}: a profile has the keys `profile` (a name) and `rules` (a list)")
    rules = tuple(_rule(one, f"{where}: rule {number}") for number, one in enumerate(raw["rules"], 1))
    return Profile(name=str(raw["profile"]), rules=rules)


def _rule(raw: Any, where: str) -> Rule:
    if not isinstance(raw, dict) or not isinstance(raw.get("rule"), str):
        raise ProfileError(f"{where}: needs a key `rule`, the name under which it drops files")
    if unknown := sorted(map(str, set(raw) - _RULE_KEYS)):
        raise ProfileError(
            f"{where} ({raw['rule']}): unknown key {unknown[0]!r}; known: {sorted(_RULE_KEYS)}"
        )
    if not raw["rule"].replace("_", "").isalnum():
        raise ProfileError(f"{where}: the name {raw['rule']!r} must be letters, digits and underscores")
    if "languages" in raw and "except" in raw:
        raise ProfileError(f"{where} ({raw['rule']}): either `languages` or `except`, not both")
    names = {key: _names(raw, key, where) for key in ("languages", "except", "name_class_not_in")}
    for language in (*names["languages"], *names["except"]):
        if language not in LANGUAGES:
            raise ProfileError(f"{where} ({raw['rule']}): {language!r} is not a language of the taxonomy")
    bounds = raw.get("any", [])
    if not isinstance(bounds, list):
        raise ProfileError(f"{where} ({raw['rule']}): `any` must be a list")
    if not bounds and not names["name_class_not_in"]:
        raise ProfileError(f"{where} ({raw['rule']}): nothing is tested; give `any` or `name_class_not_in`")
    return Rule(
        rule=raw["rule"],
        languages=names["languages"],
        excepted=names["except"],
        bounds=tuple(_bound(one, f"{where} ({raw['rule']})") for one in bounds),
        name_class_not_in=tuple(name.encode() for name in names["name_class_not_in"]),
    )


def _names(raw: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    names = raw.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ProfileError(f"{where} ({raw['rule']}): `{key}` must be a list of names")
    return tuple(names)


def _bound(raw: Any, where: str) -> Bound:
    if not isinstance(raw, dict) or set(raw) - {"above", "below"} != {"signal"} or len(raw) < 2:
        raise ProfileError(f"{where}: a test is {{signal: NAME, above: NUMBER}} or {{..., below: NUMBER}}")
    if raw["signal"] not in _MEASURED:
        raise ProfileError(f"{where}: unknown signal {raw['signal']!r}; known: {', '.join(_MEASURED)}")
    for key in ("above", "below"):
        if key in raw and (isinstance(raw[key], bool) or not isinstance(raw[key], int | float)):
            raise ProfileError(f"{where}: `{key}` must be a number, not {raw[key]!r}")
    return Bound(signal=raw["signal"], above=raw.get("above"), below=raw.get("below"))
