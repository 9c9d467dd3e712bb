"""Which settings go together: one table, for the checks, the tests and the documentation.

A rule looks at the configuration alone. What depends on the machine, the release or the model is refused where
it is found, with the same kind of message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.config import trainer_keys

if TYPE_CHECKING:
    from training.config.root import TrainConfig


@dataclass(frozen=True)
class Rule:
    """Settings that exclude each other.

    Attributes:
        keys: the keys involved.
        reason: why they exclude each other; for the documentation.
        broken: what is wrong with a configuration and what to change, or None.
        example: overrides that break the rule in configs/train-tiny.yaml; for the test and the documentation.
    """

    keys: tuple[str, ...]
    reason: str
    broken: Callable[[TrainConfig], str | None]
    example: tuple[str, ...]


def _one_length(c: TrainConfig) -> str | None:
    if (c.steps is None) == (c.epochs is None):
        return "give exactly one of `steps` and `epochs`"
    return None


def _one_input(c: TrainConfig) -> str | None:
    if (c.release is None) == (c.sources is None):
        return "give exactly one of `release` and `sources`"
    return None


def _source_names(c: TrainConfig) -> str | None:
    names = [source.name for source in c.sources or ()]
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"sources: the name {twice[0]!r} is given twice" if twice else None


def _source_weights(c: TrainConfig) -> str | None:
    given = [source.weight is not None for source in c.sources or ()]
    return "sources: give every source a weight, or none" if any(given) and not all(given) else None


def _whole_rows(c: TrainConfig) -> str | None:
    if c.global_batch_tokens % c.data.sequence_length:
        return (
            f"global_batch_tokens ({c.global_batch_tokens}) must be a multiple of "
            f"data.sequence_length ({c.data.sequence_length})"
        )
    return None


def _whole_micro_batches(c: TrainConfig) -> str | None:
    if c.micro_batch_size != "auto" and c.rows_per_step % c.micro_batch_size:
        return (
            f"global_batch_tokens / data.sequence_length = {c.rows_per_step} rows per step must be a "
            f"multiple of micro_batch_size ({c.micro_batch_size})"
        )
    return None


def _lora_base(c: TrainConfig) -> str | None:
    return (
        "lora needs a trained base: set model.path" if c.lora is not None and c.model.path is None else None
    )


def _quantised_base(c: TrainConfig) -> str | None:
    if c.quantization is not None and c.lora is None:
        return "quantization freezes the base: set lora, too (QLoRA)"
    return None


def _quantised_whole(c: TrainConfig) -> str | None:
    if c.quantization is not None and (c.parallel.strategy == "fsdp" or c.parallel.deepspeed is not None):
        return "quantization: weights of 4 bits are not sharded; use parallel.strategy: ddp without deepspeed"
    return None


def _one_sharding(c: TrainConfig) -> str | None:
    if c.parallel.deepspeed is not None and c.parallel.strategy == "fsdp":
        return "parallel: DeepSpeed shards by itself; use strategy: ddp with it, or leave deepspeed out"
    return None


def _deepspeed_device(c: TrainConfig) -> str | None:
    return (
        "parallel.deepspeed needs a GPU: transformers leaves it out with device: cpu"
        if c.parallel.deepspeed is not None and c.device == "cpu"
        else None
    )


def _sharded_precision(c: TrainConfig) -> str | None:
    if c.parallel.strategy == "fsdp" and c.precision == "fp16":
        return "parallel.strategy: fsdp has no loss scaling; use precision: bf16"
    return None


def _fp16_device(c: TrainConfig) -> str | None:
    return (
        "precision: fp16 needs a GPU; use bf16 or fp32 with device: cpu"
        if (c.precision == "fp16" and c.device == "cpu")
        else None
    )


def _evaluated(c: TrainConfig) -> str | None:
    measured = c.evaluation
    if measured.fraction == 0 and (measured.early_stopping or measured.fim_documents or measured.metrics):
        return "evaluation.fraction: 0 holds nothing out: no early_stopping, fim_documents or metrics"
    return None


def _model_source(c: TrainConfig) -> str | None:
    if c.model.path is None and c.model.revision is not None:
        return "model.revision belongs to a model on the Hub: set model.path"
    return None


def _trainer(c: TrainConfig) -> str | None:
    return trainer_keys.wrong(c.trainer)


def _compile_mode(c: TrainConfig) -> str | None:
    given = [key for key in c.trainer if key.startswith("torch_compile_")]
    return (
        f"trainer.{given[0]} switches compilation on: set compile: true with it"
        if given and not c.compile
        else None
    )


def _measured(c: TrainConfig) -> str | None:
    if c.evaluation.metric.lstrip("+").startswith("fim/") and not c.evaluation.fim_documents:
        return "evaluation.metric: fill in the middle is not measured; set evaluation.fim_documents"
    return None


def _concat_window(c: TrainConfig) -> str | None:
    if c.data.packing == "concat" and c.data.packing_window is not None:
        return "data.packing_window belongs to data.packing: bfd"
    return None


RULES: tuple[Rule, ...] = (
    Rule(("release", "sources"), "One of them says what is trained on.", _one_input, ("release=null",)),
    Rule(
        ("sources.name",),
        "Sources are told apart by name in reports and in the lineage.",
        _source_names,
        ("release=null", "sources=[{name: a, release: x}, {name: a, jsonl: y}]"),
    ),
    Rule(
        ("sources.weight",),
        "A weight is a share relative to the others.",
        _source_weights,
        ("release=null", "sources=[{name: a, release: x, weight: 1.0}, {name: b, jsonl: y}]"),
    ),
    Rule(("steps", "epochs"), "One of them says how long the run is.", _one_length, ("epochs=1",)),
    Rule(
        ("global_batch_tokens", "data.sequence_length"),
        "A step is a whole number of rows.",
        _whole_rows,
        ("global_batch_tokens=2049",),
    ),
    Rule(
        ("global_batch_tokens", "data.sequence_length", "micro_batch_size"),
        "A step is a whole number of micro-batches.",
        _whole_micro_batches,
        ("micro_batch_size=3",),
    ),
    Rule(
        ("lora", "model.path"),
        "Adapters on random weights would freeze the random weights.",
        _lora_base,
        ("lora.rank=8",),
    ),
    Rule(
        ("quantization", "lora"),
        "Weights of 4 bits cannot be trained themselves.",
        _quantised_base,
        ("quantization={}", "model.path=base"),
    ),
    Rule(
        ("quantization", "parallel.strategy", "parallel.deepspeed"),
        "Packed 4-bit weights cannot be cut over processes; each process holds the whole base.",
        _quantised_whole,
        ("quantization={}", "model.path=base", "lora.rank=8", "parallel.strategy=fsdp"),
    ),
    Rule(
        ("parallel.strategy", "parallel.deepspeed"),
        "Two libraries cannot shard the same weights.",
        _one_sharding,
        ("parallel.strategy=fsdp", "parallel.deepspeed=zero.json"),
    ),
    Rule(
        ("parallel.deepspeed", "device"),
        "transformers does not use DeepSpeed on processors.",
        _deepspeed_device,
        ("parallel.deepspeed=zero.json", "device=cpu"),
    ),
    Rule(
        ("parallel.strategy", "precision"),
        "Weights that are cut over processes are of one floating type, and computed in fp32 or bf16.",
        _sharded_precision,
        ("parallel.strategy=fsdp", "precision=fp16"),
    ),
    Rule(
        ("precision", "device"),
        "Processors have no fast half precision with loss scaling.",
        _fp16_device,
        ("precision=fp16", "device=cpu"),
    ),
    Rule(
        (
            "evaluation.fraction",
            "evaluation.early_stopping",
            "evaluation.fim_documents",
            "evaluation.metrics",
        ),
        "All of them need held-out documents.",
        _evaluated,
        ("evaluation.fraction=0.0", "evaluation.fim_documents=10"),
    ),
    Rule(
        ("evaluation.metric", "evaluation.fim_documents"),
        "A run goes by what it measures.",
        _measured,
        ("evaluation.metric=+fim/exact_match",),
    ),
    Rule(
        ("trainer",),
        "Keys of TrainingArguments that a key here decides, or that would break packing, order or checkpoints.",
        _trainer,
        ("trainer.group_by_length=true",),
    ),
    Rule(
        ("trainer", "compile"),
        "A mode of compilation means nothing without compilation.",
        _compile_mode,
        ("trainer.torch_compile_mode=default",),
    ),
    Rule(
        ("model.path", "model.revision"),
        "A built model has no revision.",
        _model_source,
        ("model.revision=main",),
    ),
    Rule(
        ("data.packing", "data.packing_window"),
        "Concatenation needs no window.",
        _concat_window,
        ("data.packing=concat", "data.packing_window=100"),
    ),
)


def check(config: TrainConfig) -> None:
    """Raise ValueError with every rule that the configuration breaks, one per line."""
    broken = [message for rule in RULES if (message := rule.broken(config))]
    if broken:
        raise ValueError("\n".join(broken))
