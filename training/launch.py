"""One process of a distributed run, or a run without the command line:

    torchrun --nproc-per-node 2 -m training.launch configs/train-tiny.yaml --set steps=20

Every process prepares the data (the first under a lock, the others find its caches), then Trainer joins them:
gloo on CPU, NCCL on GPUs. Rank 0 prints the result as one JSON line on stdout; progress goes to stderr. Exit
codes: see `exit_code`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from manifests.errors import ReleaseError
from training.config import load
from training.errors import CheckpointError, OutputError, TrainingError


def _progress(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def exit_code(error: ValueError) -> int:
    """2 for a mistake, 4 for stored bytes that are not what they claim to be, 5 for a disk that refuses."""
    if isinstance(error, (CheckpointError, ReleaseError)):
        return 4
    return 5 if isinstance(error, OutputError) else 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one process; returns the exit code."""
    parser = argparse.ArgumentParser(prog="training.launch", description=__doc__.partition("\n")[0])
    parser.add_argument("config")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    try:
        config = load(options.config, options.overrides)
        from training.run.train import train
        from training.run.trainer import process_place

        rank, world = process_place()
        try:
            result = train(config, _progress)
        finally:
            if world > 1:
                import torch.distributed

                if torch.distributed.is_initialized():
                    torch.distributed.destroy_process_group()
    except (TrainingError, ReleaseError) as error:
        _progress(f"error: {error}")
        return exit_code(error)
    if rank == 0:
        sys.stdout.write(json.dumps(result, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
