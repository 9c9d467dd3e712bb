"""Trainer's settings for a run."""

from __future__ import annotations

from pathlib import Path

from transformers import TrainingArguments

from training.config import TrainConfig
from training.model.build import precision
from training.prepare import Prepared


def arguments(config: TrainConfig, prepared: Prepared, world: int) -> TrainingArguments:
    """Trainer's settings for this run; evaluation and saving are scheduled by `Progress`."""
    optimizer = config.optimizer
    result = TrainingArguments(
        output_dir=str(Path(config.output) / "checkpoints"),
        max_steps=prepared.order.steps,
        per_device_train_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=prepared.order.accumulation(world, config.micro_batch_size),
        learning_rate=optimizer.learning_rate,
        adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        lr_scheduler_type=optimizer.schedule,
        warmup_steps=optimizer.warmup_steps,
        optim="adamw_torch",
        seed=config.seed % 2**32,
        use_cpu=config.device == "cpu",
        bf16=precision(config) == "bf16",
        fp16=precision(config) == "fp16",
        logging_strategy="steps",
        logging_steps=config.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a NaN must be seen, not replaced by the last mean
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        average_tokens_across_devices=True,
        ddp_find_unused_parameters=False,
        use_cache=False,
        ddp_backend="gloo" if config.device == "cpu" and world > 1 else None,
    )
    result._n_gpu = min(result.n_gpu, 1)  # one process, one device: DataParallel would split packed rows
    return result
