"""One process of a distributed run, or a run without the command line:

    torchrun --nproc-per-node 2 -m training.launch configs/train-small.yaml --set steps=20

Every process prepares the data (the first under a lock, the others find its caches), then Trainer joins them:
gloo on CPU, NCCL on GPUs. Rank 0 prints the result as one JSON line on stdout; progress goes to stderr. Exit
codes: see `exit_code`.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from manifests.errors import ReleaseError
from manifests.names import visible
from training.config import load
from training.errors import CheckpointError, OutputError, ProcessError, TrainingError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell gives it."""

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
"""Where torchrun's agent looks for the message of a process that failed."""


def _progress(line: str) -> None:
    sys.stderr.write("\n".join(map(visible, line.split("\n"))) + "\n")
    sys.stderr.flush()


def exit_code(error: ValueError) -> int:
    """2 for a mistake, 4 for stored bytes that are not what they claim to be, 5 for a disk or a network that refuses."""
    if isinstance(error, (CheckpointError, ReleaseError)):
        return 4
    return 5 if isinstance(error, (OutputError, ProcessError)) else 2


def lost_connection(error: RuntimeError) -> ProcessError | None:
    """What an error of torch.distributed means for the user, or None for any other error."""
    from torch.distributed import DistError

    text = str(error)
    if not isinstance(error, DistError) and "gloo" not in text:
        return None
    return ProcessError(
        "the connection to another process is lost: it ended (its own message says why), or the processes waited for "
        f"each other longer than trainer.ddp_timeout ({text.partition(chr(10))[0][:300]})"
    )


def _end_with_the_agent() -> None:
    """Let the kernel end this process when torchrun's agent is gone, killed perhaps: nobody would stop it any more, and
    the command, begun again, would write to the same output. Linux only.
    """
    if ERROR_FILE in os.environ and sys.platform == "linux":
        pr_set_pdeathsig = 1  # prctl(2)
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one process; returns the exit code."""
    _end_with_the_agent()
    parser = argparse.ArgumentParser(prog="training.launch", description=__doc__.partition("\n")[0])
    parser.add_argument("config")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--result", metavar="FILE", help="write the result there instead of on stdout")
    options = parser.parse_args(arguments)
    rank, world = 0, 1
    try:
        config = load(options.config, options.overrides)
        from training.run.distributed import process_place
        from training.run.train import train

        rank, world = process_place()
        try:
            result = train(config, _progress)
        except RuntimeError as error:
            lost = lost_connection(error) if world > 1 else None
            if lost is None:
                raise
            raise lost from error
    except (TrainingError, ReleaseError) as error:
        return _failed(error)
    except (
        KeyboardInterrupt
    ):  # told already (training.run.interrupted); every process of the terminal gets it
        return INTERRUPTED
    if world > 1:  # only now: after an error the others cannot be waited for
        import torch.distributed

        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    if rank == 0:
        text = json.dumps(result, sort_keys=True) + "\n"
        if options.result:
            Path(options.result).write_text(text)
        else:
            sys.stdout.write(text)
    return 0


def _failed(error: ValueError) -> int:
    file = os.environ.get(ERROR_FILE)
    if file:  # the agent tells what failed first
        Path(file).write_text(json.dumps({"message": str(error), "timestamp": int(time.time())}))
    else:
        _progress(f"error: {error}")
    return exit_code(error)


if __name__ == "__main__":
    sys.exit(main())
