"""The section `secrets` of the release configuration: what is looked for, where, what is left, and how it is replaced.

Files that it names (own rules, a list of what is allowed) are read when the configuration is, so that all of a release speaks
of the same ones. Their words are not published: the manifest has their digests (`Secrets.digests`), and whoever makes the
release again needs the files. Entries written into the configuration itself are published with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from pii.allow import load_allow
from pii.rules import KINDS, Rule, digest_of, load_rules, rule_table
from pii.settings import OFF, Allow, Override, Policy, Replacement, Settings
from pipeline.config_types import MAX, Section, Share, hint
from pipeline.content.taxonomy import LANGUAGES

Sensitivity = Literal["low", "medium", "high"]
Level = Literal["off", "low", "medium", "high"]
OTHERS = ("detect-secrets/", "model/")
"""How the ids of the rules begin that detect-secrets and models have."""


def _checked_kinds(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError("must be a mapping of kinds to off, low, medium or high, such as {email: low}")
    for kind in value:
        if kind not in KINDS:
            raise ValueError(
                f"unknown kind {kind!r}{hint(str(kind), KINDS) or '; kinds: ' + ', '.join(KINDS)}"
            )
    # YAML 1.1 reads an unquoted `off` as false.
    return {kind: OFF if level is False else level for kind, level in sorted(value.items())}


def _checked_language(name: str) -> str:
    if name not in LANGUAGES:
        raise ValueError(f"unknown language {name!r}{hint(name, LANGUAGES)}")
    return name


class LanguageLevels(Section):
    """Other levels for the files of a language. A content with places of several languages has the strictest ones."""

    sensitivity: Sensitivity | None = Field(None, description="tier of rules; null: that of the section")
    kinds: Mapping[str, Level] = Field({}, description="kind -> level; empty: those of the section")

    @field_validator("kinds", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return _checked_kinds(value)


class AllowEntry(Section):
    """Findings that are left as they are, and why. An entry holds for a finding if all that it names does."""

    reason: str = Field(min_length=1, description="why; it is published with every finding that is left")
    rules: tuple[str, ...] = Field((), description="ids of rules, also detect-secrets/*; empty: any")
    kinds: tuple[str, ...] = Field((), description="kinds; empty: any")
    values: tuple[str, ...] = Field((), description="SHA-256 (hex) of values; empty: any")
    paths: tuple[str, ...] = Field(
        (),
        description="patterns such as docs/** or *.lock that the paths of all places must match; empty: any",
    )
    languages: tuple[str, ...] = Field((), description="languages that all places must have; empty: any")

    @field_validator("kinds")
    @classmethod
    def _kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked_kinds(dict.fromkeys(value, OFF))) and value

    @field_validator("values")
    @classmethod
    def _digests(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if len(one) != 64 or set(one) - set("0123456789abcdef"):
                raise ValueError(
                    "must be SHA-256 digests, 64 lower-case hex digits each, never a value itself"
                )
        return value

    @field_validator("languages")
    @classmethod
    def _languages(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked_language(name) for name in value)

    def allow(self) -> Allow:
        """The same for `pii`."""
        return Allow(**{name: getattr(self, name) for name in type(self).model_fields})


class Model(Section):
    """A token-classification model that finds personal data beyond the rules; needs the extra `train`."""

    path: str | None = Field(
        None,
        min_length=1,
        description="folder of it, or its id on the Hugging Face hub; null only in the config.yaml of a release",
    )
    labels: Mapping[str, str | None] = Field(
        description="each entity of the model, such as PER -> a kind, such as name; null: not wanted"
    )
    threshold: Share = Field("0.5", description="mean probability that an entity needs, as a decimal string")
    revision: str | None = Field(None, description="commit on the hub; without it the model may change")
    device: str = Field("cpu", description="cpu, cuda, cuda:1, ...; part of what findings depend on")

    @field_validator("labels")
    @classmethod
    def _kinds(cls, value: Mapping[str, str | None]) -> Mapping[str, str | None]:
        _checked_kinds(dict.fromkeys((kind for kind in value.values() if kind is not None), OFF))
        return dict(sorted(value.items()))

    def given(self) -> dict[str, Any]:
        """The arguments of `pii.model_detector.load_detector`, the model's place as `path`."""
        return {
            "path": self.path,
            "labels": dict(self.labels),
            "threshold": float(Fraction(self.threshold)),
            "revision": self.revision,
            "device": self.device,
        }


class Secrets(Section):
    """What is redacted."""

    sensitivity: Sensitivity = Field("high", description="tier of rules; docs/secrets.md")
    kinds: Mapping[str, Level] = Field(
        {}, description="kind -> off, low, medium or high, where it is not `sensitivity`; empty: none"
    )
    languages: Mapping[str, LanguageLevels] = Field(
        {}, description="language -> {sensitivity, kinds} for its files; empty: all alike"
    )
    rules: tuple[str, ...] = Field((), description="rule files of your own; empty: the product's rules alone")
    allow: tuple[AllowEntry, ...] = Field(
        (), description="findings that are left; published with the configuration"
    )
    allow_file: str | None = Field(
        None,
        min_length=1,
        description="YAML file with more of them under `allow`; only its digest is published",
    )
    obey_pragmas: bool = Field(
        False,
        description="true: what an inline pragma (allowlist secret) asks to leave is left; false: it is counted",
    )
    replacement: Replacement = Field(
        "placeholder", description="placeholder: <EMAIL_1>; fake: of the same form"
    )
    model: Model | None = Field(None, description="a model that is asked, too; null: none")
    max_findings: int = Field(
        200, ge=0, le=MAX, description="findings per file; a file with more is `secrets_budget`"
    )
    recheck: bool = Field(
        True,
        description="scan every written row again, and release nothing where something is found (exit code 3)",
    )
    _own: tuple[Rule, ...] = PrivateAttr(())
    _listed: tuple[Allow, ...] = PrivateAttr(())
    _digests: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("kinds", mode="before")
    @classmethod
    def _known_kinds(cls, value: Any) -> Any:
        return _checked_kinds(value)

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, value: Mapping[str, LanguageLevels]) -> Mapping[str, LanguageLevels]:
        return {_checked_language(name): value[name] for name in sorted(value)}

    @model_validator(mode="after")
    def _read_files(self) -> Secrets:
        if self.model is not None and self.model.device == "auto":
            raise ValueError("model.device: name the device, findings depend on it")
        self._own = _own_rules(self.rules)
        if self.allow_file is not None:
            self._listed = load_allow(_text_of(self.allow_file, "allow_file"), self.allow_file)
        known = {rule.id for rule in (*rule_table(), *self._own)}
        for entry in self.policy().allow:
            for rule in entry.rules:
                if rule not in known and not rule.startswith(OTHERS):
                    raise ValueError(f"allow: unknown rule {rule!r}{hint(rule, known)}")
        if self._own:
            self._digests["rules"] = digest_of(self._own)
        if self.allow_file is not None:
            self._digests["allow_file"] = _digest([asdict(entry) for entry in self._listed])
        return self

    @property
    def digests(self) -> Mapping[str, str]:
        """What the files held that it was read from: `rules`, `allow_file`, `model`; none where it names none."""
        return self._digests

    def policy(self) -> Policy:
        """All of it, as `pii` has it."""
        return Policy(
            base=Settings(
                sensitivity=self.sensitivity,
                kinds=tuple(self.kinds.items()),
                rules=self._own,
                obey_pragmas=self.obey_pragmas,
                replacement=self.replacement,
            ),
            languages=tuple(
                (name, Override(sensitivity=one.sensitivity, kinds=tuple(one.kinds.items())))
                for name, one in self.languages.items()
            ),
            allow=(*(entry.allow() for entry in self.allow), *self._listed),
        )

    def resolved(self) -> dict[str, Any]:
        """What of it can change a released byte; files are left out, their digests stand in the manifest."""
        data = self.model_dump(mode="json", exclude={"rules", "allow_file"})
        if self.model is not None:
            data["model"].pop("path")
        return data


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _text_of(path: str, key: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise ValueError(f"{key}: {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{key}: {path}: cannot be read: it is not UTF-8 text") from None


def _own_rules(paths: Iterable[str]) -> tuple[Rule, ...]:
    """The rules of all files. Raises ValueError that names file, line and rule, also for an id that stands twice."""
    rules: list[Rule] = []
    seen = {rule.id: "one of the product's" for rule in rule_table()}
    for path in paths:
        for rule in load_rules(_text_of(path, "rules"), path):
            if rule.id in seen:
                raise ValueError(f"rules: {path}: the id {rule.id!r} is also that of {seen[rule.id]}")
            seen[rule.id] = f"a rule of {path}"
            rules.append(rule)
    return tuple(rules)
