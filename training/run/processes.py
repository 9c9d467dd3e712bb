"""Several processes on this machine, perhaps together with other machines: torchrun's agent, with one plain message.

    start(["configs/train-tiny.yaml"], Processes(2))

Every process is `python -m training.launch`, as `torchrun -m training.launch CONFIG` would start it. When one ends with
an error the agent ends the others; what the first one said becomes the error here.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from training.errors import CheckpointError, OutputError, ProcessError, TrainingConfigError, TrainingError

MEETING_TIMEOUT = 1800
"""Seconds that a machine waits for the others. All prepare the data before they meet, from the same cache."""

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_ERRORS: dict[int, type[TrainingError]] = {2: TrainingConfigError, 4: CheckpointError, 5: OutputError}


@dataclass(frozen=True)
class Processes:
    """Which processes of a run this machine starts.

    Attributes:
        per_node: processes on each machine.
        nodes: machines; each starts its own processes with the same configuration.
        node: number of this machine, from 0; the process with rank 0 is on machine 0.
        rendezvous: HOST:PORT of machine 0, where the machines meet; None with one machine.
    """

    per_node: int
    nodes: int = 1
    node: int = 0
    rendezvous: str | None = None

    def __post_init__(self) -> None:
        if self.nodes > 1 and self.rendezvous is None:
            raise TrainingConfigError(
                "--nodes needs --rendezvous HOST:PORT: where the machines meet, on machine 0"
            )
        if self.nodes == 1 and (self.rendezvous is not None or self.node):
            raise TrainingConfigError(
                "--rendezvous and --node-rank belong to --nodes: how many machines are there?"
            )
        if self.rendezvous is not None and not re.fullmatch(r".+:\d{1,5}", self.rendezvous):
            raise TrainingConfigError(f"--rendezvous {self.rendezvous}: not HOST:PORT")
        if not 0 <= self.node < self.nodes:
            raise TrainingConfigError(f"--node-rank {self.node}: must be 0 to {self.nodes - 1}")

    @property
    def world(self) -> int:
        """Processes on all machines."""
        return self.per_node * self.nodes


def threads_per_process(per_node: int) -> int:
    """The processors that this process may use, shared out between the processes of this machine."""
    return max(1, len(os.sched_getaffinity(0)) // per_node)


def check_devices(per_node: int, device: str) -> None:
    """Refuse more processes than GPUs, where GPUs are used.

    Raises:
        TrainingConfigError: how many there are.
    """
    import torch

    if device != "cpu" and torch.cuda.is_available() and per_node > torch.cuda.device_count():
        raise TrainingConfigError(
            f"{per_node} processes for {torch.cuda.device_count()} GPUs: each process takes one; lower --nproc"
        )


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _quiet_agent() -> Iterator[None]:
    """Without the agent's log, which repeats failures as tables and traces; they are told in one line instead."""
    prefix = "torch.distributed.elastic"
    loggers = [
        logging.getLogger(n) for n in (prefix, *logging.root.manager.loggerDict) if n.startswith(prefix)
    ]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:  # each has a level of its own
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


@contextmanager
def _signals() -> Iterator[None]:
    """The agent leaves handlers behind that are of use while it runs."""
    before = {number: signal.getsignal(number) for number in _HANDLED}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # others may not, nor does the agent there
            for number, handler in before.items():
                signal.signal(number, handler)


def start(arguments: Sequence[str], processes: Processes) -> None:
    """Run `training.launch` with these arguments in every process, until all have ended.

    Raises:
        TrainingError: the class that belongs to the exit code of the process that ended first (see
            `training.launch.exit_code`), with its message.
        ProcessError: it was killed or ended otherwise, or the machines did not meet.
        KeyboardInterrupt: Ctrl-C; the process with rank 0 has said which checkpoint is the newest.
    """
    from torch.distributed import DistNetworkError, DistStoreError
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    alone = processes.nodes == 1
    threads = str(threads_per_process(processes.per_node))
    values = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": threads}
    with (
        tempfile.TemporaryDirectory(prefix="training-") as logs,
        _environment(values),
        _quiet_agent(),
        _signals(),
    ):
        launch = elastic_launch(
            LaunchConfig(
                min_nodes=processes.nodes,
                max_nodes=processes.nodes,
                nproc_per_node=processes.per_node,
                run_id=uuid.uuid4().hex if alone else "training",
                rdzv_backend="c10d" if alone else "static",
                rdzv_endpoint="127.0.0.1:0" if alone else str(processes.rendezvous),
                rdzv_configs={"timeout": MEETING_TIMEOUT, **({} if alone else {"rank": processes.node})},
                local_addr="127.0.0.1" if alone else None,
                max_restarts=0,
                logs_specs=DefaultLogsSpecs(log_dir=logs),
            ),
            sys.executable,
        )
        try:
            launch("-m", "training.launch", *arguments)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise _failed(rank, processes.world, failure.exitcode, failure.error_file_data) from error
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from error
            name = signal.Signals(error.sigval).name
            raise ProcessError(
                f"stopped by {name}; repeat the command to go on from the newest checkpoint"
            ) from error
        except (DistNetworkError, DistStoreError, RendezvousError) as error:
            raise ProcessError(_not_met(processes, str(error))) from error


def _failed(rank: int, world: int, code: int, data: object) -> TrainingError:
    who = f"process {rank} of {world}"
    again = "the others were stopped; repeat the command to go on from the newest checkpoint"
    if code < 0:
        reason = " (out of memory is the usual reason)" if -code == signal.SIGKILL else ""
        return ProcessError(f"{who} was ended by {signal.Signals(-code).name}{reason}; {again}")
    message = data.get("message") if isinstance(data, dict) else None
    if isinstance(message, str) and message and code in _ERRORS:
        return _ERRORS[code](f"{who}: {message}")
    return ProcessError(f"{who} ended with exit code {code}; its message is above; {again}")


def _not_met(processes: Processes, text: str) -> str:
    if "EADDRINUSE" in text or "address already in use" in text.lower():
        return f"{processes.rendezvous}: the port is in use on this machine; choose another one with --rendezvous"
    first = text.partition("\n")[0]
    return (
        f"the {processes.nodes} machines did not meet at {processes.rendezvous} ({first}); is machine 0 running, "
        "and does it let the others reach that port?"
    )
