"""The model that a release may ask for personal data, beside the rules: loaded in the driver to be known, in tasks to be asked.

How a model is found (a folder, an id of a hub) is no part of any key; what its answers depend on is (`Model.record`). A folder
must be there under the same name on every machine that works.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import pyarrow as pa

from pii.model_detector import TokenClassifier, load_detector
from pipeline.config_secrets import SecretsModel
from pipeline.engine.keys import source_digest
from pipeline.engine.stage import Task
from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that is asked: how it is loaded, and all that its answers depend on."""

    asked: Mapping[str, Any]
    record: Mapping[str, Any]


def open_model(settings: SecretsModel | None) -> Model | None:
    """The model of the configuration, loaded once to be known; None without one. Raises `pii.model_detector.BadModel`."""
    if settings is None:
        return None
    if settings.path is None:
        raise ConfigError("secrets.model: name its `path`")
    asked = settings.model_dump(mode="json")
    return Model(asked=asked, record=_record(_loaded(json.dumps(asked, sort_keys=True))))


def _record(detector: TokenClassifier) -> dict[str, Any]:
    return {**detector.record(), "code": source_digest("pii.model_detector")}


@lru_cache(maxsize=1)
def _loaded(asked: str) -> TokenClassifier:
    how = json.loads(asked)
    return load_detector(
        how["path"],
        labels=how["labels"],
        threshold=float(Fraction(how["threshold"])),
        name=how["name"],
        revision=how["revision"],
        device=how["device"],
    )


def said_of(task: Task, texts: pa.Array) -> pa.Table | None:
    """What the model finds in some texts; None without a model."""
    record = task.config["model"]
    if record is None:
        return None
    detector = _loaded(json.dumps(task.extra["model"], sort_keys=True))
    if here := {k: v for k, v in _record(detector).items() if record[k] != v}:
        raise ConfigError(
            f"secrets.model: this machine has another {', '.join(sorted(here))} than the one that the release was started on"
        )
    return detector.detect(texts)
