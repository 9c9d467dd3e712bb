"""The model that a run would train, by its sizes alone: nothing is downloaded, no weight is read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from training.config import TrainConfig
from training.errors import TrainingConfigError
from training.model import adapters, architectures, base, build, memory, published
from training.prepare import loaded_tokenizer
from training.run import micro_batch
from training.tokens.tokenizer import CodeTokenizer


def model_config(
    config: TrainConfig, tokenizer: CodeTokenizer | None, entries: int | None
) -> tuple[Any, str]:
    """The transformers configuration of a run's model, and where its sizes are from.

    Args:
        config: the whole configuration.
        tokenizer: of the run, if it is here.
        entries: of one that is learnt, where it is known.

    Raises:
        TrainingConfigError: the sizes of the model are not known here, or do not fit the tokenizer.
    """
    length = config.data.sequence_length
    if config.model.path is None:
        control = SimpleNamespace(end_of_text=0, pad=1)
        size = tokenizer.size if tokenizer else entries or config.tokenizer.vocab_size
        planned: Any = tokenizer or SimpleNamespace(size=size, control=control)
        return architectures.built_config(config.model, planned, length), "configuration"
    folder = base.local_folder(config.model, lambda _: None)
    if folder is not None:
        about = build.read_config(folder, config.model, length)
        if tokenizer is not None:
            build.check_vocabulary(folder, about.get_text_config().vocab_size, tokenizer)
        return about, str(folder)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(config.model.path, "config.json", revision=config.model.revision)
    except HFValidationError:
        cached = None
    if isinstance(cached, str):
        folder = Path(cached).parent
        return build.read_config(folder, config.model, length), f"{config.model.path}, as downloaded"
    known = published.config_of(config.model.path)
    if known is None:
        raise TrainingConfigError(
            f"model.path: {config.model.path} is neither here nor one of {', '.join(published.MODELS)}, so that its "
            "sizes are not known without a download; put its config.json into a folder and give that for the dry run"
        )
    return architectures.changed_config(known, config.model, length), "published sizes"


def tokenizer_of(config: TrainConfig) -> CodeTokenizer | None:
    """The run's tokenizer where it is here already.

    Raises:
        TrainingError: it cannot be used, as the run would say.
    """
    folder = base.local_folder(config.model, lambda _: None) if config.model.path else None
    place = config.tokenizer.path or folder
    return loaded_tokenizer(config, place, lambda _: None) if place else None


def fake(config: TrainConfig, about: Any, dtype: torch.dtype) -> Any:
    """The model with its adapters, inside `memory.fake()`; `dtype` is that of a frozen base."""
    if config.lora is None:
        return memory.fake_model(about, torch.float32)
    lora = config.lora
    return memory.fake_model(about, dtype, lambda model: adapters.add_lora(model, lora, 0))


def setup(
    config: TrainConfig, about: Any, *, gpu: bool, precision: str, rows: int, processes: int
) -> memory.Setup:
    """How the run takes memory on a machine with or without a GPU."""
    half = precision != "fp32"
    attention: str = config.model.attention
    if attention == "auto":
        kind = architectures.model_class(about)
        names, _ = architectures.attentions(
            "auto", kind, gpu=False, half=False, sequence_length=config.data.sequence_length
        )
        flash = gpu and half and getattr(kind, "_supports_flash_attn", False)
        attention = "flash_attention_2" if flash else names[0]
    return memory.Setup(
        rows=rows,
        row_tokens=config.data.sequence_length,
        compute={"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32),
        attention=attention,
        checkpointing=config.gradient_checkpointing,
        quantised=config.quantization is not None,
        double=config.quantization is not None and config.quantization.double,
        strategy=config.parallel.strategy,
        processes=processes,
        loss_chunk=config.loss_chunk,
        gpu=gpu,
    )


def rows_of(config: TrainConfig, processes: int, *, gpu: bool) -> int:
    """Rows of a micro-batch: as configured; for `auto` the rule of a CPU, or one, from which a GPU's search begins."""
    if config.micro_batch_size != "auto":
        return config.micro_batch_size
    sizes = micro_batch.candidates(config.rows_per_step, processes)
    return sizes[0] if gpu else micro_batch.on_cpu(sizes, config.data.sequence_length)
