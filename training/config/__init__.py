"""The training configuration: one YAML file, typed, frozen; an unknown key is an error with a suggestion.

    base           what every section has in common
    data           which documents are trained on, and how they become rows of tokens
    model          the model, adapters, quantisation
    run            optimizer, evaluation, parallelism, logging
    root           `TrainConfig`: all of it
    compatibility  which settings go together: one table, for the checks, the tests and the documentation
    load           the file, `--set` overrides, messages
    yaml_file      YAML 1.2 with line numbers

`configs/train-*.yaml` are the presets; `configs/train-tiny.yaml` lists every key with type, unit and default. Nothing
heavy is imported here.
"""

from training.config.data import (
    DataConfig,
    FilterConfig,
    FimConfig,
    MixConfig,
    RepositoryConfig,
    SourceConfig,
)
from training.config.load import load
from training.config.model import LoraConfig, ModelConfig, QuantizationConfig
from training.config.root import TrainConfig
from training.config.run import (
    EarlyStoppingConfig,
    EvaluationConfig,
    OptimizerConfig,
    ParallelConfig,
    ProfileConfig,
)

__all__ = [
    "DataConfig",
    "EarlyStoppingConfig",
    "EvaluationConfig",
    "FilterConfig",
    "FimConfig",
    "LoraConfig",
    "MixConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ParallelConfig",
    "ProfileConfig",
    "QuantizationConfig",
    "RepositoryConfig",
    "SourceConfig",
    "TrainConfig",
    "load",
]
