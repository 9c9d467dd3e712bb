"""The processes of a run as Ray Train workers on a cluster [1], instead of torchrun's.

    result = train_on_ray(config, processes=8, address="auto", report=print)

Ray places the workers and makes the process group; each then runs `training.run.train`, as under torchrun, and the
weights are the same to the bit. Data are prepared by one task before the workers exist. Folders of the configuration
must mean the same on every node (a shared file system): each worker checks that it sees what the task wrote.

[1] https://docs.ray.io/en/latest/train/getting-started-pytorch.html
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import uuid
from pathlib import Path
from typing import Any

from manifests.names import visible
from training.config import TrainConfig
from training.corpus.sources import Report
from training.errors import OutputError, ProcessError, TrainingConfigError, TrainingError


def train_on_ray(config: TrainConfig, processes: int, address: str, report: Report) -> dict[str, Any]:
    """Train with so many workers on the cluster at `address` (`auto`, HOST:PORT, `ray://HOST:PORT`, or `local`).

    Returns:
        As `training.run.train.train`.

    Raises:
        TrainingError: what a worker refused; too few processors or GPUs; a node that does not see the folders.
    """
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # Ray replaces an environment variable that it would otherwise set by itself with a warning.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    mine = not ray.is_initialized()
    if mine:
        _reachable(address)
        try:
            ray.init(address=address, log_to_driver=True, logging_level=logging.WARNING)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ProcessError(f"no Ray cluster at {address}: {str(error).partition(chr(10))[0]}") from error
    try:
        have = ray.cluster_resources()
        gpu = config.device != "cpu" and have.get("GPU", 0) > 0
        kind = "GPU" if gpu else "CPU"
        if have.get(kind, 0) < processes:
            raise TrainingConfigError(
                f"{processes} workers need a {kind} each, and the cluster has {have.get(kind, 0):.0f}: lower --nproc"
            )
        report(f"Ray: {processes} workers with a {kind} each on {len(ray.nodes())} node(s)")
        # In the cluster, so that an address ray:// works from a machine that sees none of the folders.
        answer = ray.get(
            ray.remote(num_cpus=0, max_retries=0)(_drive).remote(config.model_dump(), processes, gpu)
        )
    finally:
        if mine:
            ray.shutdown()
    if isinstance(answer, TrainingError):
        raise answer
    return answer


def _reachable(address: str) -> None:
    """Ray itself goes on trying for minutes.

    Raises:
        ProcessError: nothing answers at HOST:PORT.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=10):
            pass
    except OSError as error:
        raise ProcessError(f"no Ray cluster at {address}: {error.strerror or error}") from error


def _say(line: str) -> None:
    sys.stderr.write(visible(line) + "\n")
    sys.stderr.flush()


def _drive(settings: dict[str, Any], processes: int, gpu: bool) -> dict[str, Any] | TrainingError:
    """Prepare, run the workers, return the result or the first error that is for the user."""
    config = TrainConfig.model_validate(settings)
    output = Path(config.output).resolve()
    mark = output / f".seen-{uuid.uuid4().hex}"
    answer = output / f".result-{uuid.uuid4().hex}"
    try:
        from training.prepare import prepare
        from training.run import output as outputs
        from training.run.distributed import check_processes

        outputs.check(config)
        check_processes(config, processes)
        outputs.ready(config)
        prepare(config, _say)
        mark.write_text(mark.name)
        _fit(config, settings, processes, gpu, mark, answer)
        result: dict[str, Any] = json.loads(answer.read_text())
        return result
    except TrainingError as error:
        return error
    finally:
        for file in (mark, answer):
            file.unlink(missing_ok=True)


def _fit(  # noqa: PLR0917
    config: TrainConfig, settings: dict[str, Any], processes: int, gpu: bool, mark: Path, answer: Path
) -> None:
    from ray.train import RunConfig, ScalingConfig, WorkerGroupError
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        _work,
        train_loop_config={"config": settings, "mark": str(mark), "answer": str(answer)},
        scaling_config=ScalingConfig(num_workers=processes, use_gpu=gpu),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        # What Ray itself notes down; checkpoints are ours.
        run_config=RunConfig(name="train", storage_path=str(Path(config.output).resolve() / "ray")),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        failures = sorted(error.worker_failures.items())
        for rank, failure in failures:
            cause: BaseException = failure
            while cause is not None and not isinstance(cause, TrainingError):
                cause = getattr(cause, "cause", None) or cause.__cause__  # type: ignore[assignment]
            if cause is not None and not isinstance(cause, ProcessError):
                raise type(cause)(f"worker {rank} of {processes}: {cause}") from error
        rank, failure = failures[0]
        raise ProcessError(
            f"worker {rank} of {processes} ended: {str(failure).strip().rpartition(chr(10))[2][:500]}; repeat the "
            "command to go on from the newest checkpoint"
        ) from error


def _work(given: dict[str, Any]) -> None:
    """One worker; its process group exists already."""
    from training.launch import lost_connection
    from training.run.train import train

    config = TrainConfig.model_validate(given["config"])
    mark = Path(given["mark"])
    if not mark.is_file():
        raise OutputError(
            f"{mark.parent}: a node of the cluster does not see what another one wrote there; `output` and "
            "`data.cache` must lie on a file system that all nodes share"
        )
    for source in config.all_sources:
        place = Path(source.release or source.jsonl or "")
        if not place.exists():
            raise TrainingConfigError(
                f"{place}: a node of the cluster does not see it; use a shared file system"
            )
    try:
        result = train(config, _say)
    except RuntimeError as error:
        lost = lost_connection(error)
        if lost is None:
            raise
        raise lost from error
    if os.environ["RANK"] == "0":
        Path(given["answer"]).write_text(json.dumps(result))
