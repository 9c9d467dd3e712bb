"""Which signals drop a file, and under which reason: a filter profile (profiles.py) applied to signals.

A rule may name any column of the signals, of signals.py or of those who parse. One that is missing, or null, fails nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.profiles import Condition, Profile, Rule, load_profile


def verdict(
    signals: pa.Table,
    languages: pa.StringArray,
    profile: Profile | None = None,
    *,
    name_classes: pa.BinaryArray | None = None,
) -> pa.StringArray:
    """`quality.<rule>` of the first rule that a file fails; null if it passes all.

    `signals`, `languages` and `name_classes` are of the same files. An unknown (null) language is treated as one that no rule
    names. Without `name_classes`, rules on names are not applied.
    """
    profile = load_profile() if profile is None else profile
    answers = np.full(len(signals), None, object)
    encoded = languages.dictionary_encode()
    of_language = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    known = [*encoded.dictionary.to_pylist(), None]
    for rule in profile.rules:
        concerned = np.array([rule.concerns(language) for language in known], bool)[of_language]
        fails = _fails(rule, signals, name_classes) & concerned & np.equal(answers, None)
        answers[fails] = f"quality.{rule.rule}"
    return pa.array(answers, pa.string())


def failures(
    signals: Mapping[str, Any], language: str | None, profile: Profile, *, name_class: bytes | None = None
) -> Iterator[dict[str, Any]]:
    """Every test that one file fails, by rule: `rule`, `signal`, `value`, and the bound `above` or `below` which it lies.

    The rules are those of `verdict`, whose answer is the first of them. A signal that is what it must not be has `is`. Of a
    rule on names the signal is `name_class`.
    """
    for rule in profile.rules:
        if not rule.concerns(language):
            continue
        every = [_found(test, signals) for test in rule.all]
        found = [_found(test, signals) for test in rule.any] + (every if all(every) else [])
        yield from ({"rule": rule.rule, **one} for one in found if one is not None)
        if rule.name_class_not_in and name_class is not None and name_class not in rule.name_class_not_in:
            yield {
                "rule": rule.rule,
                "signal": "name_class",
                "value": name_class.decode("ascii", "backslashreplace"),
            }


def _found(test: Condition, signals: Mapping[str, Any]) -> dict[str, Any] | None:
    """The signal, its value and the bound, where the test holds."""
    value = signals.get(test.signal)
    if value is None:
        return None
    told = {"signal": test.signal, "value": value}
    if test.above is not None and value > test.above:
        return {**told, "above": test.above}
    if test.below is not None and value < test.below:
        return {**told, "below": test.below}
    return {**told, "is": value} if test.equal is not None and value == test.equal else None


def _fails(rule: Rule, signals: pa.Table, name_classes: pa.BinaryArray | None) -> np.ndarray:
    fails = np.zeros(len(signals), bool)
    for test in rule.any:
        fails |= _holds(test, signals)
    if rule.all:
        fails |= np.logical_and.reduce([_holds(test, signals) for test in rule.all])
    if rule.name_class_not_in and name_classes is not None:
        known = pa.array(rule.name_class_not_in, pa.binary())
        fails |= ~pc.is_in(name_classes.cast(pa.binary()), value_set=known).to_numpy(zero_copy_only=False)
    return fails


def _holds(test: Condition, signals: pa.Table) -> np.ndarray:
    if test.signal not in signals.column_names:
        return np.zeros(len(signals), bool)
    # Null becomes NaN, which is neither above nor below nor equal.
    values = signals[test.signal].cast(pa.float64()).to_numpy()
    holds = np.zeros(len(signals), bool)
    if test.above is not None:
        holds |= values > test.above
    if test.below is not None:
        holds |= values < test.below
    if test.equal is not None:
        holds |= values == test.equal
    return holds
