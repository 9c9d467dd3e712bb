"""One contestant of benchmarks/training.py in a process of its own: prints one JSON line.

python benchmarks/training_contestants.py "plain loop" CONFIG.json
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])  # else `training` would be benchmarks/training.py

UNTIMED = 2
"""Optimizer steps before the clock starts: compilation of kernels, first allocations."""


class Clock:
    """Time from the end of step `UNTIMED` to the end of the last one, by a hook that every torch optimizer calls."""

    def __init__(self) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.steps = 0
        self.wall: list[float] = []
        self.cpu: list[float] = []
        register_optimizer_step_post_hook(self._step)

    def _step(self, *_: Any) -> None:
        self.steps += 1
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def seconds(self) -> tuple[float, float]:
        """(wall, CPU) seconds of the timed steps."""
        return self.wall[-1] - self.wall[UNTIMED - 1], self.cpu[-1] - self.cpu[UNTIMED - 1]


def silent(_: str) -> None:
    return None


def load(path: str) -> Any:
    from training.config import TrainConfig

    return TrainConfig.model_validate(json.loads(Path(path).read_text()))


def fresh_model(config: Any, prepared: Any) -> Any:
    from training.model.start import model_for

    return model_for(config, prepared, silent)


def facts(prepared: Any) -> dict[str, Any]:
    """What every contestant is given."""
    cache = prepared.epochs[0].cache
    return {"given": int(cache.length.sum()), "documents": len(cache.length)}


def ours(config: Any, prepared: Any, clock: Clock) -> dict[str, Any]:
    from training.run.train import train

    shutil.rmtree(Path(config.output) / "checkpoints", ignore_errors=True)
    result = train(config, silent)
    plan, order = prepared.epochs[0].plan, prepared.order
    return {**packed(plan, config), "loss": result["loss"], "tokens": tokens_of(order, config.steps)}


def tokens_of(order: Any, steps: int) -> int:
    """Non-padding tokens of the timed steps of our order."""
    import numpy as np

    total = 0
    for step in range(UNTIMED, steps):
        epoch, rows = order.rows(step)
        plan = order.plans[epoch]
        per_row = np.bincount(plan.row, weights=plan.length, minlength=plan.rows)
        total += int(per_row[rows[rows >= 0]].sum())
    return total


def packed(plan: Any, config: Any) -> dict[str, Any]:
    import numpy as np

    length = np.bincount(plan.document, weights=plan.length)
    pieces = np.bincount(plan.document)
    return {
        "kept": 1.0,
        "filled": plan.filled,
        "needless": int(((pieces > 1) & (length <= config.data.sequence_length)).sum()),
    }


def plain(config: Any, prepared: Any, clock: Clock) -> dict[str, Any]:
    """What a person writes who needs nothing else; the rows are made before the clock runs."""
    import torch

    from training.run.batches import MicroBatches
    from training.run.schedules import scheduler

    order, micro = prepared.order, config.micro_batch_size
    batches = [batch for batch in MicroBatches(prepared, micro, 0, 1)]  # noqa: C416
    accumulation = order.accumulation(1, micro)
    model = fresh_model(config, prepared)
    model.train()
    settings = config.optimizer
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=optimizer_name(config, prepared) == "adamw_torch_fused",
    )
    schedule = scheduler(optimizer, settings, config.steps)
    losses = []
    for step in range(config.steps):
        parts = batches[step * accumulation : (step + 1) * accumulation]
        targets = sum(int((part["labels"][:, 1:] != -100).sum()) for part in parts)
        total = 0.0
        for part in parts:
            # The model's own loss: the sum over the labelled tokens, divided by their number in the step.
            loss = model(
                input_ids=part["input_ids"],
                position_ids=part["position_ids"],
                labels=part["labels"],
                num_items_in_batch=targets,
                use_cache=False,
            ).loss
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(total)
    # As Trainer logs it: the mean over the steps since the last line.
    return {
        **packed(prepared.epochs[0].plan, config),
        "loss": sum(losses[-tail(config) :]) / tail(config),
        "tokens": tokens_of(order, config.steps),
    }


def tail(config: Any) -> int:
    """Steps in the last line that Trainer logs: it logs the first step, each `log_every`th and the last."""
    before = (config.steps - 1) // config.log_every * config.log_every
    return config.steps - max(before, 1)


def trl(config: Any, prepared: Any, clock: Clock, strategy: str) -> dict[str, Any]:
    """SFTTrainer on the same documents, already tokenised, packed by TRL."""
    import numpy as np
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    cache, length = prepared.epochs[0].cache, config.data.sequence_length
    ends = np.cumsum(cache.length)
    flat = np.asarray(cache.tokens).astype(np.int64)
    rows = [flat[end - size : end].tolist() for end, size in zip(ends, cache.length, strict=True)]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=prepared.tokenizer.full, eos_token="<|endoftext|>", pad_token="<|pad|>"
    )
    settings = config.optimizer
    arguments = SFTConfig(
        output_dir=str(Path(config.output) / "trl"),
        packing=True,
        packing_strategy=strategy,
        max_length=length,
        max_steps=config.steps,
        per_device_train_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=prepared.order.accumulation(1, config.micro_batch_size),
        learning_rate=settings.learning_rate,
        adam_beta1=settings.beta1,
        adam_beta2=settings.beta2,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        optim=optimizer_name(config, prepared),
        logging_steps=config.log_every,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=config.gradient_checkpointing,
        disable_tqdm=True,
        seed=0,
    )
    trainer = SFTTrainer(
        model=fresh_model(config, prepared),
        args=arguments,
        train_dataset=Dataset.from_dict({"input_ids": rows}),
        processing_class=tokenizer,
    )
    collate, seen = trainer.data_collator, []

    def counting(examples: list[dict[str, Any]]) -> Any:
        seen.append(sum(len(example["input_ids"]) for example in examples))
        return collate(examples)

    trainer.data_collator = counting
    trainer.train()
    packed_rows = trainer.train_dataset
    kept = sum(len(ids) for ids in packed_rows["input_ids"])
    accumulation = arguments.gradient_accumulation_steps
    timed = seen[UNTIMED * accumulation : config.steps * accumulation]
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {
        "kept": kept / int(cache.length.sum()),
        "filled": kept / (len(packed_rows) * length),
        "needless": needless(packed_rows, cache.length, length, strategy),
        "loss": losses[-1],
        "tokens": sum(timed),
    }


def needless(packed_rows: Any, lengths: Any, capacity: int, strategy: str) -> int:
    """Documents that fit into a row and were cut."""
    import numpy as np

    if strategy == "wrapped":  # one after the other, cut at each row's end
        ends = np.cumsum(lengths)
        first, last = (ends - lengths) // capacity, (ends - 1) // capacity
        return int(((first != last) & (lengths <= capacity)).sum())
    pieces = sum(len(sizes) for sizes in packed_rows["seq_lengths"])
    wanted = -(-lengths // capacity) if strategy == "bfd_split" else np.minimum(1, lengths)
    return int(pieces - wanted.sum())


def optimizer_name(config: Any, prepared: Any) -> str:
    from training.run.arguments import arguments

    return str(arguments(config, prepared, 1).optim.value)


def main() -> int:
    name, path = sys.argv[1:3]
    import torch

    from training.prepare import prepare

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    config = load(path)
    prepared = prepare(config, silent)
    if name == "prepare":
        print(json.dumps(facts(prepared)))
        return 0
    clock = Clock()
    if name == "stackmill":
        found = ours(config, prepared, clock)
    elif name == "plain loop":
        found = plain(config, prepared, clock)
    else:
        found = trl(config, prepared, clock, name.removeprefix("trl "))
    assert clock.steps == config.steps, (clock.steps, config.steps)
    wall, cpu = clock.seconds()
    from training.model.build import parameters

    print(
        json.dumps(
            {
                **facts(prepared),
                **found,
                "parameters": parameters(fresh_model(config, prepared))[0],
                "optimizer": optimizer_name(config, prepared),
                "seconds": wall,
                "rate": found["tokens"] / wall,
                "cpu_rate": found["tokens"] / cpu,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
