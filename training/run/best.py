"""Which evaluation was the best, and whether it is time to stop: a function of the evaluations so far.

Those are in Trainer's log history and so in every checkpoint: a resumed run decides as an uninterrupted one would, and
one that is resumed with another metric or patience decides by that. The evaluation before the first step does not
count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.config import EvaluationConfig, TrainConfig
from training.errors import TrainingConfigError
from training.run import checkpoint
from training.run.loggers import metric_name

FILE = "best.json"
"""In the output: which checkpoint was the best, by which metric."""

FIGURES = ("loss", "perplexity", "bits_per_byte")
FIM_FIGURES = ("exact_match", "edit_similarity")


@dataclass(frozen=True)
class Best:
    """What the evaluations so far come to.

    Attributes:
        step: of the best; None before the first evaluation after a step.
        value: of the metric there.
        waited: evaluations since the last one that was better by `min_delta`.
        stop: whether that is `patience`.
    """

    step: int | None
    value: float | None
    waited: int
    stop: bool


def flat(report: dict[str, Any]) -> dict[str, float]:
    """The figures of an evaluation by name: `loss`, `Python/loss`, `fim/exact_match`, `fim/Python/exact_match`, own ones.

    Raises:
        TrainingConfigError: an own metric has the name of another figure.
    """
    values = {name: report["all"][name] for name in FIGURES}
    for language, figures in report["languages"].items():
        values |= {f"{language}/{name}": figures[name] for name in FIGURES}
    if "fim" in report:
        values |= {f"fim/{name}": report["fim"]["all"][name] for name in FIM_FIGURES}
        for language, figures in report["fim"]["languages"].items():
            values |= {f"fim/{language}/{name}": figures[name] for name in FIM_FIGURES}
    for name, value in report.get("custom", {}).items():
        if name in values:
            raise TrainingConfigError(f"evaluation.metrics: {name!r} is the name of another figure")
        values[name] = value
    return values


def logged(report: dict[str, Any]) -> dict[str, float]:
    """The same for the loggers: `eval_...`, with names that all of them take."""
    return {f"eval_{metric_name(name)}": value for name, value in flat(report).items()}


def check(settings: EvaluationConfig, report: dict[str, Any]) -> None:
    """Refuse an `evaluation.metric` that is not measured.

    Raises:
        TrainingConfigError: names those that are.
    """
    known = flat(report)
    if settings.metric.removeprefix("+") not in known:
        raise TrainingConfigError(
            f"evaluation.metric: {settings.metric!r} is not measured; there are: {', '.join(known)}"
        )


def judge(settings: EvaluationConfig, history: Iterable[dict[str, Any]]) -> Best:
    """What the evaluations in a log history come to; values that are not numbers are never better."""
    larger = settings.metric.startswith("+")
    key = f"eval_{metric_name(settings.metric.removeprefix('+'))}"
    sign = -1.0 if larger else 1.0
    stopping = settings.early_stopping
    step, value, waited, mark = None, math.inf, 0, math.inf
    for line in history:
        if key not in line or not line["step"]:
            continue
        now = sign * line[key]
        if now < value:
            step, value = int(line["step"]), now
        if now < mark - (stopping.min_delta if stopping else 0.0) or (math.isinf(mark) and now < mark):
            mark, waited = now, 0
        else:
            waited += 1
    stop = stopping is not None and waited >= stopping.patience
    return Best(step, None if step is None else sign * value, waited, stop)


def described(config: TrainConfig, history: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """What `best.json` says; None where the best is not kept, or nothing was evaluated yet."""
    found = judge(config.evaluation, history)
    if not config.keep_best or found.step is None or found.value is None:
        return None
    folder = checkpoint.folder_of(Path("checkpoints"), found.step)
    return {
        "metric": config.evaluation.metric,
        "value": found.value if math.isfinite(found.value) else None,
        "step": found.step,
        # Another metric since the resume may name a step whose checkpoint is long gone.
        "checkpoint": str(folder) if (Path(config.output) / folder).is_dir() else None,
    }
