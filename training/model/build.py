"""The model: built from sizes, or loaded from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from training.config import ModelConfig, QuantizationConfig, TrainConfig
from training.errors import TrainingConfigError
from training.model import architectures, new_tokens, quantise
from training.model.base import refuse_remote_code
from training.tokens.tokenizer import CodeTokenizer

transformers_logging.disable_progress_bar()


def on_gpu(config: TrainConfig) -> bool:
    """Whether this run computes on a GPU."""
    return config.device == "auto" and torch.cuda.is_available()


def precision(config: TrainConfig) -> str:
    """What `precision` means on this machine: fp32, bf16 or fp16.

    Raises:
        TrainingConfigError: the machine has no such arithmetic.
    """
    gpu = on_gpu(config)
    bf16 = not gpu or torch.cuda.is_bf16_supported(including_emulation=False)
    if config.precision == "auto":
        return "bf16" if gpu and bf16 else "fp32"
    if config.precision == "fp16" and not gpu:
        raise TrainingConfigError("precision: fp16 needs a GPU, and there is none; use bf16 or fp32")
    if config.precision == "bf16" and not bf16:
        raise TrainingConfigError("precision: this GPU has no bf16; use fp16 or fp32")
    return config.precision


def weights_dtype(config: TrainConfig) -> torch.dtype:
    """Of the weights in memory: fp32 where they are trained; a frozen base is kept in the precision of the computation.

    Sharded weights are all fp32: FSDP2 puts the weights of a block together, which must be of one kind.
    """
    if config.lora is None or config.parallel.strategy == "fsdp":
        return torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision(config)]


def _first(settings: ModelConfig, config: PreTrainedConfig) -> str:
    """The attention to begin with on a CPU."""
    kind = architectures.model_class(config)
    return architectures.attentions(settings.attention, kind, gpu=False, half=False, sequence_length=1)[0][0]


def build(
    model: ModelConfig,
    tokenizer: CodeTokenizer,
    sequence_length: int,
    seed: int,
    attention: str | None = None,
) -> Any:
    """A freshly initialised model in fp32: the same seed gives the same weights.

    Under `torch.device("meta")` no memory is taken: for counting.

    Raises:
        TrainingConfigError: the architecture cannot be built from these sizes.
    """
    config = architectures.built_config(model, tokenizer, sequence_length)
    return architectures.built(config, attention or _first(model, config), seed)


def read_config(folder: Path, settings: ModelConfig, sequence_length: int | None = None) -> PreTrainedConfig:
    """The configuration of the model in a folder, with the changes that the settings ask for.

    Raises:
        TrainingConfigError: not a causal language model of transformers, or rows longer than its positions.
    """
    refuse_remote_code(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except architectures.UNUSABLE as error:
        raise TrainingConfigError(f"{folder}: no model that can be loaded: {error}") from error
    if getattr(config, "quantization_config", None) is not None:
        raise TrainingConfigError(
            f"{folder}: the weights are quantised already; give the model as it was before, and `quantization`"
        )
    architectures.model_class(config)
    return architectures.changed_config(config, settings, sequence_length or 1)


def load(  # noqa: PLR0917
    folder: Path,
    settings: ModelConfig,
    tokenizer: CodeTokenizer | None,
    sequence_length: int | None = None,
    dtype: torch.dtype = torch.float32,
    quantization: QuantizationConfig | None = None,
    attention: str | None = None,
    device: torch.device | None = None,
) -> PreTrainedModel:
    """A trained model from a local folder.

    Args:
        folder: with config.json and safetensors.
        settings: the changes to its configuration.
        tokenizer: must fit its vocabulary; new control tokens may go beyond it. None: not checked.
        sequence_length: of a row in tokens; checked against the model's positions.
        dtype: of the weights.
        quantization: the layers' matrices in 4 bits.
        attention: implementation; default the first one for a CPU.
        device: where quantised weights go; others stay on the CPU.

    Raises:
        TrainingConfigError: no model there, a vocabulary that the tokenizer does not fit, a missing library.
    """
    config = read_config(folder, settings, sequence_length)
    further: dict[str, Any] = {}
    if quantization is not None:
        further = quantise.arguments(quantization, dtype, device or torch.device("cpu"))
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=attention or _first(settings, config),
            local_files_only=True,
            trust_remote_code=False,
            **further,
        )
    except torch.OutOfMemoryError:
        raise
    except (OSError, *architectures.UNUSABLE) as error:
        raise TrainingConfigError(f"{folder}: no model that can be loaded: {error}") from error
    if quantization is not None:
        quantise.keep_layout(model)
    model.config.use_cache = False
    embeddings: Any = model.get_input_embeddings()
    if tokenizer is not None:
        check_vocabulary(folder, embeddings.weight.shape[0], tokenizer)
    return model


def check_vocabulary(folder: Path, entries: int, tokenizer: CodeTokenizer) -> None:
    """Refuse a tokenizer with more entries, but for new control tokens, than the model in a folder.

    Raises:
        TrainingConfigError: says how many both have.
    """
    if tokenizer.size - len(new_tokens.ids_of(tokenizer)) > entries:
        raise TrainingConfigError(
            f"tokenizer.path: the tokenizer has {tokenizer.size} entries, the model at {folder} only {entries}: they do "
            "not belong together; leave tokenizer.path out to use the model's own"
        )


def stored_dtype(folder: Path, settings: ModelConfig) -> torch.dtype:
    """The type that the weights of a model's folder are stored in; fp32 where its configuration does not say."""
    dtype = read_config(folder, settings).dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def parameters(model: torch.nn.Module) -> tuple[int, int]:
    """(all, trainable) parameters; tied ones are counted once, those of 4 bits as what they stand for."""
    known = {id(p): p for p in model.parameters()}
    sizes = {key: quantise.elements(p) for key, p in known.items()}
    return sum(sizes.values()), sum(sizes[key] for key, p in known.items() if p.requires_grad)
