"""The model of `secrets.model`, loaded once in each process that asks it: the driver for its digest, workers for findings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa

from pii.model_detector import TokenClassifier, load_detector
from pipeline.engine.stage import Task
from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AskedModel:
    """A model and what its findings depend on. `given`: how it is loaded, with a path of this machine, which no key has."""

    given: Mapping[str, Any]
    record: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Of its weights and other files."""
        return str(self.record["digest"])


def ask_model(given: Mapping[str, Any] | None) -> AskedModel | None:
    """The model that a configuration names; None for none. Raises ConfigError for one that cannot be used."""
    if given is None:
        return None
    if given["path"] is None:
        raise ConfigError("secrets.model.path: the release was made with a model; say where it is")
    try:
        return AskedModel(given=given, record=_loaded(json.dumps(given, sort_keys=True)).record())
    except ValueError as error:
        raise ConfigError(f"secrets.model: {error}") from error


@lru_cache(maxsize=1)
def _loaded(given: str) -> TokenClassifier:
    options = json.loads(given)
    return load_detector(options.pop("path"), **options)


def model_findings(task: Task, texts: pa.Array) -> pa.Table | None:
    """What the model of a task says of texts; None without a model. `scan` leaves out kinds that are off.

    Raises ConfigError where this machine has another model, or other libraries for it, than the driver.
    """
    asked = task.config["model"]
    if asked is None:
        return None
    detector = _loaded(json.dumps(task.extra["model"], sort_keys=True))
    here = json.loads(json.dumps(detector.record()))
    if odd := sorted(name for name in {*here, *asked} if here.get(name) != asked.get(name)):
        raise ConfigError(f"secrets.model: another {', '.join(odd)} here than where the release was started")
    return detector.detect(texts)
