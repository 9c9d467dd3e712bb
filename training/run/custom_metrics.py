"""Metrics of the user's own: functions named in `evaluation.metrics`.

    def metric(model, tokenizer, documents) -> dict[str, float]

`model` is the model in evaluation mode (in no gradient context), `tokenizer` a `training.tokens.tokenizer.CodeTokenizer`,
`documents` an iterator over the held-out documents (`content_id`, `language`, `text`). A package offers one under a
name with an entry point in the group `stackmill.metrics`. Under several processes each calls the function (a
model cut over them must run in all), and the values of the first count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any

import torch
import torch.distributed

from training.errors import TrainingConfigError
from training.run import named
from training.run.held_out import HeldOutDocument

GROUP = "stackmill.metrics"
Metric = Callable[[Any, Any, Iterator[HeldOutDocument]], dict[str, float]]


def load(names: Sequence[str] | None) -> dict[str, Metric]:
    """The functions, by the names given.

    Raises:
        TrainingConfigError: no such function, or not a function.
    """
    found = {}
    for name in names or ():
        found[name] = named.load("evaluation.metrics", name, GROUP)
        if not callable(found[name]):
            raise TrainingConfigError(f"evaluation.metrics: {name} is not a function")
    return found


@torch.no_grad()
def measure(
    metrics: dict[str, Metric],
    model: Any,
    tokenizer: Any,
    documents: Callable[[], Iterator[HeldOutDocument]],
    world: int = 1,
) -> dict[str, float]:
    """All values of all functions.

    Raises:
        TrainingConfigError: a function raised, gave something that is not a dict of numbers, or a name came twice.
    """
    values: dict[str, float] = {}
    was_training = model.training
    model.eval()
    for name, metric in metrics.items():
        try:
            given = metric(model, tokenizer, documents())
        except Exception as error:
            raise TrainingConfigError(
                f"evaluation.metrics: {name} failed with {type(error).__name__}: {error}"
            ) from error
        if not isinstance(given, dict) or not all(
            isinstance(key, str) and isinstance(value, Real) for key, value in given.items()
        ):
            raise TrainingConfigError(
                f"evaluation.metrics: {name} must return a dict of names and numbers, not {given!r}"
            )
        for key, value in given.items():
            if key in values:
                raise TrainingConfigError(f"evaluation.metrics: {name} gives {key!r}, which another one gave")
            values[key] = float(value)
    model.train(was_training)
    if world > 1:
        shared = [values]
        torch.distributed.broadcast_object_list(shared, src=0)
        values = shared[0]
    return values
