"""Filter profiles as data: what a rule is, and how one is read.

A profile is YAML: data/profile-<name>.yaml, or a file or mapping of the user's. docs/quality.md describes the format; this
module reads it into `Profile`, quality.py applies it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from pipeline.content.signal_schema import KNOWN
from pipeline.content.taxonomy import LANGUAGES
from pipeline.errors import ConfigError

DEFAULT_PROFILE = "the-stack-v2"

KINDS = ("programming", "markup", "data", "prose")
"""Kinds of languages, as Linguist has them."""

_DATA = Path(__file__).parent / "data"
_MOST_BYTES = 1 << 20


class ProfileError(ConfigError):
    """A filter profile is unknown or malformed; the message names the file, the rule and the key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """Holds when the signal is above, or below, the value, or is it; a value on the bound is neither above nor below."""

    signal: str
    above: float | None = None
    below: float | None = None
    equal: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule: it fails a file of its languages and kinds if a test of `any` holds, or all of `all`, or by the name."""

    rule: str
    languages: tuple[str, ...] = ()
    """Empty: every language but those of `excepted`."""
    excepted: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """Empty: every kind, and files without a language."""
    any: tuple[Condition, ...] = ()
    all: tuple[Condition, ...] = ()
    name_class_not_in: tuple[bytes, ...] = ()

    def concerns(self, language: str | None) -> bool:
        """Whether the rule looks at files of a language (None: an unknown one)."""
        if self.languages and language not in self.languages:
            return False
        if self.kinds and (language is None or LANGUAGES[language].kind not in self.kinds):
            return False
        return language not in self.excepted


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """A named list of rules, in the order in which they are tried."""

    name: str
    rules: tuple[Rule, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over all that can change a verdict."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=repr).encode()).hexdigest()


def profile_names() -> tuple[str, ...]:
    """The profiles that ship with the product."""
    return tuple(sorted(path.stem.removeprefix("profile-") for path in _DATA.glob("profile-*.yaml")))


def load_profile(profile: str | Path | Mapping[str, Any] = DEFAULT_PROFILE) -> Profile:
    """A profile by name, from a YAML file, or from what such a file holds. Raises ProfileError."""
    if isinstance(profile, Mapping):
        return parse_profile(profile, "profile")
    raw, where = read_profile(profile)
    return parse_profile(raw, where)


def read_profile(name_or_path: str | Path) -> tuple[Any, str]:
    """The data of a profile, unchecked, and the file that it is from. Raises ProfileError."""
    known = profile_names()
    path = _DATA / f"profile-{name_or_path}.yaml" if str(name_or_path) in known else Path(name_or_path)
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ProfileError(f"{path}: larger than {_MOST_BYTES:,} bytes: not a filter profile")
        return yaml.load(data.decode(), Loader=_Strict), str(path)
    except FileNotFoundError as error:
        hint = _hint(str(name_or_path), known)
        raise ProfileError(
            f"no filter profile {str(name_or_path)!r}: neither one of {', '.join(known)} nor a file{hint}"
        ) from error
    except (OSError, UnicodeError, yaml.YAMLError, RecursionError) as error:
        raise ProfileError(f"{path}: cannot be read as YAML: {error}") from error


class _Strict(yaml.SafeLoader):
    """A key that is given twice is an error: of two rules' worth of tests one would be lost without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := sorted({str(key) for key in keys if keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice[0]!r} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


# --------------------------------------------------------------------------------------------------------
# Reading a profile.

_RULE_KEYS = ("rule", "languages", "except", "kinds", "any", "all", "name_class_not_in")
_TEST_KEYS = ("signal", "above", "below", "is")


def parse_profile(raw: Any, where: str) -> Profile:
    """A profile from plain data. Raises ProfileError, whose message begins with `where`."""
    if not isinstance(raw, Mapping) or set(raw) != {"profile", "rules"}:
        raise ProfileError(
            f"{where}: a profile has the keys `profile` (a name) and `rules` (a list), no others"
        )
    name, rules = raw["profile"], raw["rules"]
    if not isinstance(name, str) or not 0 < len(name) <= 64 or not name.isprintable():
        raise ProfileError(f"{where}: `profile` must be a name of at most 64 characters, not {name!r}")
    if not isinstance(rules, list | tuple):
        raise ProfileError(f"{where}: `rules` must be a list, not {rules!r:.60}")
    return Profile(name=name, rules=tuple(_rule(one, f"{where}: rule {i}") for i, one in enumerate(rules, 1)))


def _rule(raw: Any, where: str) -> Rule:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("rule"), str):
        raise ProfileError(f"{where}: needs a key `rule`, the name under which it drops files")
    name = raw["rule"]
    if not name.replace("_", "").isalnum() or not name.isascii() or len(name) > 64:
        raise ProfileError(
            f"{where}: the name {name!r:.80} must be letters, digits and underscores, 64 at most"
        )
    where = f"{where} ({name})"
    for key in raw:
        if key not in _RULE_KEYS:
            raise ProfileError(
                f"{where}: unknown key {key!r}; known: {', '.join(_RULE_KEYS)}{_hint(key, _RULE_KEYS)}"
            )
    if "languages" in raw and "except" in raw:
        raise ProfileError(f"{where}: either `languages` or `except`, not both")
    names = {key: _names(raw, key, where) for key in ("languages", "except", "kinds", "name_class_not_in")}
    for key in ("languages", "except"):
        for language in names[key]:
            if language not in LANGUAGES:
                raise ProfileError(
                    f"{where}: `{key}`: {language!r} is not a language of the taxonomy{_hint(language, LANGUAGES)}"
                )
    for kind in names["kinds"]:
        if kind not in KINDS:
            raise ProfileError(
                f"{where}: `kinds`: {kind!r} is none of {', '.join(KINDS)}{_hint(kind, KINDS)}"
            )
    tests = {key: _tests(raw, key, where) for key in ("any", "all")}
    if not tests["any"] and not tests["all"] and not names["name_class_not_in"]:
        raise ProfileError(f"{where}: nothing is tested; give `any`, `all` or `name_class_not_in`")
    return Rule(
        rule=name,
        languages=names["languages"],
        excepted=names["except"],
        kinds=names["kinds"],
        name_class_not_in=tuple(one.encode() for one in names["name_class_not_in"]),
        **tests,
    )


def _names(raw: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    names = raw.get(key, [])
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ProfileError(f"{where}: `{key}` must be a list of names")
    if key in raw and not names:
        raise ProfileError(f"{where}: `{key}` is empty; leave it out")
    return tuple(names)


def _tests(raw: Mapping[str, Any], key: str, where: str) -> tuple[Condition, ...]:
    tests = raw.get(key, [])
    if not isinstance(tests, list | tuple):
        raise ProfileError(f"{where}: `{key}` must be a list")
    return tuple(_test(one, f"{where}: `{key}`") for one in tests)


def _test(raw: Any, where: str) -> Condition:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("signal"), str) or len(raw) < 2:
        raise ProfileError(
            f"{where}: a test is {{signal: NAME, above: NUMBER}}, {{..., below: NUMBER}} or {{..., is: true}}"
        )
    for key in raw:
        if key not in _TEST_KEYS:
            raise ProfileError(
                f"{where}: unknown key {key!r}; known: {', '.join(_TEST_KEYS)}{_hint(key, _TEST_KEYS)}"
            )
    signal = raw["signal"]
    if signal not in KNOWN:
        raise ProfileError(
            f"{where}: unknown signal {signal!r}{_hint(signal, KNOWN) or '; docs/quality.md lists them'}"
        )
    yes_or_no = pa.types.is_boolean(KNOWN[signal])
    if yes_or_no != ("is" in raw) or (yes_or_no and len(raw) > 2):
        wanted = "`is: true` or `is: false`" if yes_or_no else "`above` or `below`"
        raise ProfileError(f"{where}: the signal {signal!r} is tested by {wanted}")
    if yes_or_no and not isinstance(raw["is"], bool):
        raise ProfileError(f"{where}: `is` must be true or false, not {raw['is']!r:.60}")
    for key in ("above", "below"):
        value = raw.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e15:
            raise ProfileError(f"{where}: `{key}` must be a number, not {value!r:.60}")
    return Condition(signal=signal, above=raw.get("above"), below=raw.get("below"), equal=raw.get("is"))


def _hint(word: Any, known: Collection[str]) -> str:
    close = difflib.get_close_matches(str(word)[:80], known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
