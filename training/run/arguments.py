"""Trainer's settings for a run: ours, and what `trainer:` passes through."""

from __future__ import annotations

from pathlib import Path

from transformers import TrainingArguments

from training.config import TrainConfig
from training.errors import TrainingConfigError
from training.model.build import precision
from training.prepare import Prepared
from training.run import deepspeed
from training.run.distributed import on_processor
from training.run.loggers import run_name


def arguments(config: TrainConfig, prepared: Prepared, world: int) -> TrainingArguments:
    """Trainer's settings for this run; evaluation, saving and the learning rate are scheduled by ourselves.

    Gradient checkpointing is the model's (see `training.model.start`).

    Raises:
        TrainingConfigError: a value in `trainer:` that TrainingArguments refuses.
    """
    optimizer = config.optimizer
    settings = {
        # On GPUs and processors alike about as fast as a step of AdamW can be; `trainer: {optim: ...}` has others.
        "optim": "adamw_torch_fused",
        "ddp_find_unused_parameters": False,
        "log_level": "warning",
        **config.trainer,
    }
    processor = on_processor(config, world)
    accumulation = prepared.order.accumulation(world, config.micro_rows)
    try:
        result = TrainingArguments(
            output_dir=str(Path(config.output) / "checkpoints"),
            max_steps=prepared.order.steps,
            per_device_train_batch_size=config.micro_rows,
            gradient_accumulation_steps=accumulation,
            learning_rate=optimizer.learning_rate,
            adam_beta1=optimizer.beta1,
            adam_beta2=optimizer.beta2,
            weight_decay=optimizer.weight_decay,
            max_grad_norm=optimizer.max_grad_norm,
            seed=config.seed % 2**32,
            use_cpu=processor,
            bf16=precision(config) == "bf16",
            fp16=precision(config) == "fp16",
            torch_compile=config.compile,
            deepspeed=deepspeed.resolved(config, world, accumulation, processor=processor),
            logging_strategy="steps",
            logging_steps=config.log_every,
            logging_first_step=True,
            logging_nan_inf_filter=False,  # a NaN must be seen, not replaced by the last mean
            eval_strategy="no",
            eval_on_start=prepared.held_out is not None,
            save_strategy="no",
            restore_callback_states_from_checkpoint=True,
            report_to=list(config.loggers) or "none",
            run_name=run_name(config),
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_num_workers=0,
            dataloader_pin_memory=False,
            average_tokens_across_devices=True,
            use_cache=False,
            ddp_backend="gloo" if processor and world > 1 else None,
            **settings,
        )
    except (TypeError, ValueError, ImportError) as error:
        if not (config.trainer or config.parallel.deepspeed):
            raise
        raise TrainingConfigError(f"trainer: {error}") from error
    result._n_gpu = min(result.n_gpu, 1)  # one process, one device: DataParallel would split packed rows
    return result
