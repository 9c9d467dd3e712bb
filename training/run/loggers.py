"""Where metrics go besides `<output>/metrics.jsonl`: TensorBoard, Weights & Biases, MLflow, through Trainer's callbacks.

All of them write below the run's output and reach no network, unless the user's own environment says otherwise:

    tensorboard   <output>/tensorboard     TENSORBOARD_LOGGING_DIR
    wandb         <output>/wandb           WANDB_MODE (offline), WANDB_DIR, WANDB_PROJECT (stackmill)
    mlflow        <output>/mlflow          MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME (stackmill)
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.config import TrainConfig
from training.errors import TrainingConfigError

PACKAGES = {
    "tensorboard": ("tensorboard", "stackmill[loggers]"),
    "wandb": ("wandb", "stackmill[loggers]"),
    "mlflow": ("mlflow", "stackmill[mlflow]"),
}
"""Logger -> (package that it needs, what to install)."""

_SIGNS = {"+": "plus", "#": "-sharp", "*": "-star"}
_NOT_ALLOWED = re.compile(r"[^0-9A-Za-z_\-. :/]")


def run_name(config: TrainConfig) -> str:
    """`run_name`, or the name of the output folder."""
    return config.run_name or Path(config.output).resolve().name


def metric_name(name: str) -> str:
    """A metric's name with the characters that every logger takes: `C++/loss` is `Cplusplus/loss`."""
    return _NOT_ALLOWED.sub("_", "".join(_SIGNS.get(sign, sign) for sign in name))


def check(config: TrainConfig) -> None:
    """Refuse a logger whose package is not there.

    Raises:
        TrainingConfigError: says what to install.
    """
    for name in config.loggers:
        package, extra = PACKAGES[name]
        if importlib.util.find_spec(package) is None:
            raise TrainingConfigError(
                f"loggers: {name} needs the package {package}: pip install '{extra}', or take it out of `loggers`"
            )


def _environment(config: TrainConfig) -> dict[str, str]:
    output = Path(config.output).resolve()
    name = hashlib.sha256(f"{config.digest()}|{run_name(config)}".encode()).hexdigest()
    return {
        "TENSORBOARD_LOGGING_DIR": str(output / "tensorboard"),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(output),
        "WANDB_PROJECT": "stackmill",
        "WANDB_RUN_ID": name[:16],  # a resumed run is the same run there
        "WANDB_RESUME": "allow",
        "MLFLOW_TRACKING_URI": (output / "mlflow").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_EXPERIMENT_NAME": "stackmill",
    }


@contextmanager
def environment(config: TrainConfig) -> Iterator[None]:
    """What the loggers read from the environment, for the time of a run; what the user has set there stays."""
    check(config)
    added = {name: value for name, value in _environment(config).items() if name not in os.environ}
    if not config.loggers:
        added = {}
    os.environ.update(added)
    try:
        yield
    finally:
        if "wandb" in config.loggers and "wandb" in sys.modules:
            sys.modules["wandb"].teardown()  # `finish` alone does not wait for an offline run's file
        if "mlflow" in config.loggers and "mlflow" in sys.modules:
            sys.modules["mlflow"].set_tracking_uri(None)
        for name in added:
            os.environ.pop(name, None)
