"""A script of 60 lines makes any step again, from lineage.json, tokenizer.json and the releases alone."""

import ast
import contextlib
import io
import json
import os
import random
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from training.config import TrainConfig
from training.prepare import prepare
from training.run import checkpoint, lineage
from training.run.batches import MicroBatches
from training.run.train import train

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/reproduce_step.py"


def reproduced(folder, step, rank, processes, micro, *releases):
    """What the script prints: int64 of shape (rows, 3, tokens): ids, positions, labels."""
    arguments = [str(SCRIPT), str(folder), *map(str, (step, rank, processes, micro)), *map(str, releases)]
    text, before = io.StringIO(), sys.argv
    try:
        sys.argv = arguments
        with contextlib.redirect_stdout(text):
            runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        sys.argv = before
    return np.array([json.loads(line) for line in text.getvalue().splitlines()])


def fed(prepared, step, rank, processes, micro):
    """What the product feeds: as `reproduced`."""
    batches = MicroBatches(prepared, micro, rank, processes)
    parts = [batches[step * batches.accumulation + part] for part in range(batches.accumulation)]
    names = ("input_ids", "position_ids", "labels")
    rows = [torch.stack([part[name] for name in names], dim=1) for part in parts]
    return torch.cat(rows).numpy()


def test_the_script_is_short_and_stands_alone():
    """Breach: it says what it must not need, or grows."""
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= 110
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {getattr(node, "module", None) or node.names[0].name for node in imported}
    own = {name for name in modules if name.split(".")[0] in ("training", "manifests", "pipeline", "dedup")}
    assert own == {"training.tokens.tokenizer"}


@pytest.mark.parametrize(
    ("change", "cut"),
    [
        ({"data": {"sequence_length": 320}}, True),
        ({"data": {"sequence_length": 512, "fim": {"rate": 1.0, "spm_rate": 0.2}}, "seed": 7}, True),
        ({"data": {"sequence_length": 64, "fim": {"rate": 0.0}}, "languages": ["C++", "Shell"]}, False),
    ],
    ids=["plain", "all cut", "languages"],
)
def test_every_step_of_several_epochs_is_made_again(settings, release, tmp_path, change, cut):
    """Breach: lineage.json does not say all that the batches depend on."""
    rows = 8 * change["data"]["sequence_length"]
    changed = {"steps": None, "epochs": 3, "global_batch_tokens": rows, "micro_batch_size": 8}
    config = TrainConfig.model_validate({**settings, **changed, **change})
    prepared = prepare(config, print)
    steps = prepared.order.steps
    assert (prepared.epochs[1].cache.fim > 5) is cut
    folder = tmp_path / "checkpoint"
    prepared.tokenizer.save(folder)
    lineage.write(folder, lineage.Recorder(config, prepared, 1).describe(steps))
    assert len({prepared.order.epoch_of(step)[0] for step in range(steps)}) == 3
    chosen = random.Random(0).sample(range(steps), min(6, steps)) + [steps - 1]
    for step in chosen:
        assert (reproduced(folder, step, 0, 1, 4, release) == fed(prepared, step, 0, 1, 4)).all()
        for rank in range(2):
            found = reproduced(folder, step, rank, 2, 2, release)
            assert (found == fed(prepared, step, rank, 2, 2)).all()
