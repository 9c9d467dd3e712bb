"""What `trainer:` may hold: every key of transformers' TrainingArguments, and what becomes of it here.

Passed: handed on as it is. Ours: a key of this configuration decides it. Refused: it would break the packing, the
order of the rows, the loss or the checkpoints, or nothing here looks at it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

PASSED = frozenset(
    {
        "adam_epsilon",
        "ddp_broadcast_buffers",
        "ddp_bucket_cap_mb",
        "ddp_find_unused_parameters",
        "ddp_static_graph",
        "ddp_timeout",
        "debug",
        "include_num_input_tokens_seen",
        "liger_kernel_config",
        "log_level",
        "log_level_replica",
        "log_on_each_node",
        "neftune_noise_alpha",
        "optim",
        "optim_args",
        "optim_target_modules",
        "project",
        "skip_memory_metrics",
        "tf32",
        "torch_compile_backend",
        "torch_compile_mode",
        "torch_empty_cache_steps",
        "trackio_bucket_id",
        "trackio_space_id",
        "trackio_static_space_id",
        "use_liger_kernel",
    }
)

OURS = {
    "activation_checkpointing": "gradient_checkpointing",
    "adam_beta1": "optimizer.beta1",
    "adam_beta2": "optimizer.beta2",
    "bf16": "precision",
    "data_seed": "seed",
    "deepspeed": "parallel.deepspeed",
    "eval_delay": "evaluation.every",
    "eval_steps": "evaluation.every",
    "eval_strategy": "evaluation.every",
    "fp16": "precision",
    "fsdp": "parallel.strategy",
    "fsdp_config": "parallel.strategy",
    "full_determinism": "deterministic",
    "gradient_accumulation_steps": "global_batch_tokens",
    "gradient_checkpointing": "gradient_checkpointing",
    "greater_is_better": "evaluation.metric",
    "learning_rate": "optimizer.learning_rate",
    "load_best_model_at_end": "keep_best",
    "logging_first_step": "log_every",
    "logging_steps": "log_every",
    "logging_strategy": "log_every",
    "lr_scheduler_kwargs": "optimizer.schedule",
    "lr_scheduler_type": "optimizer.schedule",
    "max_grad_norm": "optimizer.max_grad_norm",
    "max_steps": "steps",
    "metric_for_best_model": "evaluation.metric",
    "num_train_epochs": "epochs",
    "output_dir": "output",
    "per_device_eval_batch_size": "micro_batch_size",
    "per_device_train_batch_size": "micro_batch_size",
    "report_to": "loggers",
    "run_name": "run_name",
    "save_steps": "save_every",
    "save_strategy": "save_every",
    "save_total_limit": "keep_checkpoints",
    "seed": "seed",
    "torch_compile": "compile",
    "use_cpu": "device",
    "warmup_steps": "optimizer.warmup_steps",
    "weight_decay": "optimizer.weight_decay",
}

_LOADER = "rows are drawn from the plan of the run, not by a loader of Trainer's"
_EVALUATION = "Trainer's own evaluation is not used; see `evaluation`"
_CHECKPOINTS = "checkpoints are written and resumed whole and verified; Trainer's own way is not used"
_HUB = "a run uploads nothing"
_COMMAND = "nothing looks at it; the command decides"

REFUSED = {
    "activation_checkpointing_kwargs": "adapters on a frozen base get gradients in one way only",
    "accelerator_config": _LOADER,
    "auto_find_batch_size": "it would change the batches after a failure; see micro_batch_size: auto",
    "average_tokens_across_devices": "without it the loss is not that of the global batch",
    "batch_eval_metrics": _EVALUATION,
    "bf16_full_eval": _EVALUATION,
    "dataloader_drop_last": _LOADER,
    "dataloader_in_order": _LOADER,
    "dataloader_multiprocessing_context": _LOADER,
    "dataloader_num_workers": _LOADER,
    "dataloader_persistent_workers": _LOADER,
    "dataloader_pin_memory": _LOADER,
    "dataloader_prefetch_factor": _LOADER,
    "ddp_backend": "gloo on processors, NCCL on GPUs",
    "disable_tqdm": "the run has its own lines of progress",
    "do_eval": _COMMAND,
    "do_predict": _COMMAND,
    "do_train": _COMMAND,
    "enable_jit_checkpoint": _CHECKPOINTS,
    "eval_accumulation_steps": _EVALUATION,
    "eval_do_concat_batches": _EVALUATION,
    "eval_on_start": "every run is evaluated before its first step",
    "eval_use_gather_object": _EVALUATION,
    "fp16_full_eval": _EVALUATION,
    "gradient_checkpointing_kwargs": "adapters on a frozen base get gradients in one way only",
    "hub_always_push": _HUB,
    "hub_model_id": _HUB,
    "hub_private_repo": _HUB,
    "hub_revision": _HUB,
    "hub_strategy": _HUB,
    "hub_token": _HUB,
    "ignore_data_skip": "a resumed run must go on where the data stopped",
    "include_for_metrics": _EVALUATION,
    "label_names": "the labels of a packed row are its own",
    "label_smoothing_factor": "the training loss would no longer be the one that evaluation measures",
    "length_column_name": _LOADER,
    "local_rank": "torchrun sets it",
    "logging_nan_inf_filter": "a loss that is not finite stops the run",
    "parallelism_config": "a row split over devices loses the boundaries of its documents",
    "prediction_loss_only": _EVALUATION,
    "push_to_hub": _HUB,
    "remove_unused_columns": "it could remove position_ids, without which packed documents see each other",
    "restore_callback_states_from_checkpoint": "the state of callbacks is always restored",
    "resume_from_checkpoint": _CHECKPOINTS,
    "save_on_each_node": _CHECKPOINTS,
    "save_only_model": _CHECKPOINTS,
    "train_sampling_strategy": _LOADER,
    "use_cache": "with a cache, packed documents see each other",
}


def wrong(keys: Mapping[str, Any]) -> str | None:
    """What is wrong with the keys of `trainer:`, one line each, or None."""
    lines = []
    for key in keys:
        if key in OURS:
            lines.append(f"trainer.{key}: set `{OURS[key]}` instead")
        elif key in REFUSED:
            lines.append(f"trainer.{key} is refused: {REFUSED[key]}")
        elif key not in PASSED:
            close = difflib.get_close_matches(key, [*PASSED, *OURS, *REFUSED], n=1)
            meant = f"; did you mean {OURS.get(close[0], close[0])!r}?" if close else ""
            lines.append(f"trainer.{key}: not a key of TrainingArguments that is passed through{meant}")
    return "\n".join(lines) or None
