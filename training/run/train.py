"""One training run, from the configuration to the last checkpoint; readable top to bottom.

    config = training.config.load("configs/train-tiny.yaml")
    result = train(config, report=lambda line: print(line, file=sys.stderr))

Under torchrun every process calls `train` with the same configuration; rank 0 reports and writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from training.config import SourceConfig, TrainConfig
from training.corpus.sources import Report, Source, open_source, silent
from training.prepare import Prepared, prepare

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault(
    "HF_HUB_OFFLINE", "1"
)  # a run reads local files only, but for model.path: training.model.base


RESULT = "result.json"
"""In the output: what `train` returned last."""


def train(
    config: TrainConfig, report: Report = silent, open_: Callable[[SourceConfig], Source] = open_source
) -> dict[str, Any]:
    """Train, or go on where the newest sound checkpoint stopped; a finished run is reported and not repeated.

    Args:
        config: the whole configuration.
        report: takes lines for the user (called on rank 0 only).
        open_: opens a source; for tests.

    Returns:
        What `pipeline train --json` prints: see docs/training.md.

    Raises:
        TrainingError: a subclass, with a message for the user.
    """
    from training.run import host_memory, output
    from training.run.distributed import process_place
    from training.run.interrupted import refused

    rank, world = process_place()
    if rank:
        report = silent
    check(config, world)
    host_memory.check(config, report)
    output.ready(config)
    with nullcontext() if rank else output.alone(Path(config.output), report), refused(config):
        return _train(config, report, open_, rank, world)


def check(config: TrainConfig, world: int) -> None:
    """Refuse what can be refused before any data are read.

    Raises:
        TrainingConfigError: names the key and what to change.
    """
    from training.model.build import precision
    from training.run import callbacks, custom_metrics, loggers, output
    from training.run.distributed import check_processes

    output.check(config)
    check_processes(config, world)
    precision(config)
    loggers.check(config)
    custom_metrics.load(config.evaluation.metrics)
    callbacks.classes(config.callbacks)


def _train(
    config: TrainConfig, report: Report, open_: Callable[[SourceConfig], Source], rank: int, world: int
) -> dict[str, Any]:
    from training.model import summary
    from training.model.start import model_for
    from training.run import checkpoint, deepspeed, lineage, loggers, micro_batch, reproducible, utilisation
    from training.run.arguments import arguments
    from training.run.distributed import agree
    from training.run.interrupted import told
    from training.run.saving import METRICS, checkpoint_bytes, tidy
    from training.run.trainer import PackedTrainer

    output = Path(config.output)
    prepared = prepare(config, report, open_)
    asked, config = config, micro_batch.before(config, world)
    _describe(config, prepared, report)

    checkpoints = output / "checkpoints"
    settings = arguments(config, prepared, world)  # joins the processes
    resume = None if rank else checkpoint.newest_sound(checkpoints, report)
    resume = agree(config, prepared, resume, world)
    if resume is None and checkpoint.all_steps(checkpoints):
        report("WARNING: no sound checkpoint is left; training starts again from the first step")
    if resume is not None:
        lineage.same_run(resume, config, prepared)
    if rank == 0:
        with told(config, checkpoints, report):
            checkpoint.pass_over(checkpoints, resume, report)
            tidy(config, _history(resume) if resume else [])  # what a kill left undone
    if resume is not None:
        if checkpoint.step_of(resume) >= prepared.order.steps or _stopped_early(config, resume):
            report(f"nothing to do: {resume} is this run's last checkpoint")
            result = _result(config, prepared, resume, resumed_from=None, seconds=0.0, rate=0.0)
            if rank == 0 and not _is_told(result):  # killed right after that checkpoint
                with told(config, checkpoints, report):
                    _tell(result)
            return result
        report(f"going on from {resume}")

    with loggers.environment(config), reproducible.algorithms(config), told(config, checkpoints, report):
        reproducible.seed_everything(config.seed)
        if config.parallel.deepspeed is not None:
            deepspeed.build_whole()
        model = model_for(config, prepared, report, resume)
        config = micro_batch.settle(asked, config, prepared, model, world, report)
        settings = arguments(config, prepared, world)
        for line in summary.table(summary.blocks(model)):
            report(line)
        if rank == 0:  # rather now than when the first checkpoint is due
            checkpoint.make_room(checkpoints, checkpoint_bytes(model))
        trainer = PackedTrainer(config, prepared, model, settings, report)
        trainer.progress.flops = utilisation.of_run(config, prepared, model, world)
        if resume is not None:
            trainer.args.eval_on_start = False
            trainer.remember(json.loads((resume / METRICS).read_text()))
            trainer.recorder.go_on_from(resume)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)

    last = trainer.state.global_step
    seconds, rate = trainer.progress.speed(last)
    final = checkpoint.folder_of(checkpoints, last)
    result = _result(config, prepared, final, resumed_from=resume, seconds=seconds, rate=rate)
    result |= utilisation.report(trainer.progress.flops, rate)
    if rank == 0:
        with told(config, checkpoints, report):
            _tell(result)
    return result


def _tell(result: dict[str, Any]) -> None:
    from training.run import checkpoint

    checkpoint.replace(Path(result["output"]) / RESULT, json.dumps(result, indent=2, sort_keys=True) + "\n")


def _is_told(result: dict[str, Any]) -> bool:
    """Whether the file is that of the run's last checkpoint."""
    try:
        found = json.loads((Path(result["output"]) / RESULT).read_bytes())
        return bool(found["checkpoint"] == result["checkpoint"])
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _history(folder: Path) -> list[dict[str, Any]]:
    """What was logged up to a checkpoint."""
    return list(json.loads((folder / "trainer_state.json").read_text())["log_history"])


def _stopped_early(config: TrainConfig, folder: Path) -> bool:
    """Whether the evaluations up to a checkpoint say that the run is over."""
    from training.run import best

    return best.judge(config.evaluation, _history(folder)).stop


def _describe(config: TrainConfig, prepared: Prepared, report: Report) -> None:
    corpus, order = prepared.corpus, prepared.order
    for source in corpus.sources:
        about = source.about()
        report(
            f"{about['kind']} {about.get('dataset', source.name)} {about.get('version', '')} ({source.digest[:12]})"
        )
    left = ", ".join(f"{count} left out ({reason})" for reason, count in corpus.left_out.items() if count)
    report(
        f"{int(corpus.train.sum())} files to train on, {int(corpus.held_out.sum())} held out of "
        f"{corpus.held_out_groups} of {corpus.groups} groups (owners and their networks), "
        f"{len(corpus.languages)} languages{'; ' + left if left else ''}"
    )
    plan, blank = order.plans[0], sum(order.remainders())
    report(
        f"packing: {plan.rows} rows of {plan.capacity} tokens, {plan.filled:.3%} filled, no token lost; "
        f"{order.steps} steps of {config.global_batch_tokens} tokens, {len(order.plans)} epoch(s) begun"
        f"{f'; {blank} rows of padding fill the last steps of epochs' if blank else ''}"
    )
    if prepared.held_out is None:
        report("nothing is held out: there will be no evaluation (evaluation.fraction)")
        return
    missing = set(corpus.languages) - {
        corpus.languages[i] for i in set(prepared.held_out.cache.language.tolist())
    }
    if missing:
        report(f"no held-out file of: {', '.join(sorted(missing))}")


def _result(
    config: TrainConfig,
    prepared: Prepared,
    final: Path,
    *,
    resumed_from: Path | None,
    seconds: float,
    rate: float,
) -> dict[str, Any]:
    from training.run import best, checkpoint, lineage
    from training.run.saving import METRICS

    metrics = json.loads((final / METRICS).read_text())
    steps = checkpoint.step_of(final)
    plan = prepared.order.plans[0]
    return {
        "output": config.output,
        "checkpoint": str(final),
        "sources": [source.about() for source in prepared.corpus.sources],
        "best": best.described(config, _history(final)),
        "steps": steps,
        "stopped_early": steps < prepared.order.steps,
        "seen": lineage.seen(config, prepared, steps),
        "loss": metrics["loss"],
        "evaluation": metrics.get("evaluation"),
        "packing": {"rows": plan.rows, "filled": plan.filled},
        "tokenizer": {"size": prepared.tokenizer.size, "digest": prepared.tokenizer.digest},
        "resumed_from": str(resumed_from) if resumed_from else None,
        "seconds": seconds,
        "tokens_per_second": rate,
        "micro_batch_size": config.micro_batch_size,
    }
