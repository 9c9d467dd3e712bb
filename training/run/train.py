"""One training run, from the configuration to the last checkpoint; readable top to bottom.

    config = training.config.load("configs/train-tiny.yaml")
    result = train(config, report=lambda line: print(line, file=sys.stderr))

Under torchrun every process calls `train` with the same configuration; rank 0 reports and writes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.config import SourceConfig, TrainConfig
from training.corpus.sources import Source, open_source
from training.errors import OutputError
from training.prepare import Prepared, prepare
from training.tokens.cache import Report

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault(
    "HF_HUB_OFFLINE", "1"
)  # a run reads local files only, but for model.path: training.model.base


def _silent(_: str) -> None:
    return None


def train(
    config: TrainConfig, report: Report = _silent, open_: Callable[[SourceConfig], Source] = open_source
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
    from training.model import summary
    from training.model.start import model_for
    from training.run import checkpoint, deepspeed, lineage, loggers, micro_batch, reproducible, utilisation
    from training.run.arguments import arguments
    from training.run.distributed import agree, check_processes, process_place
    from training.run.interrupted import told
    from training.run.saving import METRICS
    from training.run.trainer import PackedTrainer

    rank, world = process_place()
    if rank:
        report = _silent
    output = Path(config.output)
    writable(output)
    prepared = prepare(config, report, open_)
    prepared.order.accumulation(world, config.micro_batch_size)  # refused before anything heavy starts
    check_processes(config, world)
    loggers.check(config)
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
        if checkpoint.step_of(resume) >= prepared.order.steps or _stopped_early(config, resume):
            report(f"nothing to do: {resume} is this run's last checkpoint")
            return _result(config, prepared, resume, resumed_from=None, seconds=0.0, rate=0.0)
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
        temporary = output / "result.json.tmp"
        temporary.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
        temporary.rename(output / "result.json")
    return result


def _stopped_early(config: TrainConfig, folder: Path) -> bool:
    """Whether the evaluations up to a checkpoint say that the run is over."""
    from training.run import best

    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return best.judge(config.evaluation, history).stop


def writable(output: Path) -> None:
    """Make the folder and write to it.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / f".writable.tmp-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be written: {error.strerror or error}; change `output`"
        ) from error


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
    from training.run import checkpoint, lineage
    from training.run.progress import BEST
    from training.run.saving import METRICS

    metrics = json.loads((final / METRICS).read_text())
    steps, best = checkpoint.step_of(final), Path(config.output) / BEST
    plan = prepared.order.plans[0]
    return {
        "output": config.output,
        "checkpoint": str(final),
        "sources": [source.about() for source in prepared.corpus.sources],
        "best": json.loads(best.read_text()) if best.exists() else None,
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


def start_over(output: Path) -> None:
    """Remove a run's checkpoints and metrics; the token cache stays."""
    for name in ("checkpoints", "metrics.jsonl", "best.json", "result.json"):
        path = output / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
