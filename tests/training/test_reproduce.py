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
        ({"data": {"sequence_length": 320, "packing_window": 7}}, True),
        ({"data": {"sequence_length": 64, "fim": {"rate": 0.0}}, "languages": ["C++", "Shell"]}, False),
    ],
    ids=["plain", "all cut", "window", "languages"],
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
    chosen = [*random.Random(0).sample(range(steps), min(6, steps)), steps - 1]
    for step in chosen:
        assert (reproduced(folder, step, 0, 1, 4, release) == fed(prepared, step, 0, 1, 4)).all()
        for rank in range(2):
            found = reproduced(folder, step, rank, 2, 2, release)
            assert (found == fed(prepared, step, rank, 2, 2)).all()


@pytest.mark.parametrize(
    ("change", "arguments"),
    [
        ({}, (3, 0, 1, 2)),
        ({}, (-1, 0, 1, 2)),
        ({}, (0, 2, 2, 2)),
        ({}, (0, 0, 3, 2)),
        ({"packing": {"method": "concat"}}, (0, 0, 1, 2)),
        ({"repository": {"rate": 0.5}}, (0, 0, 1, 2)),
        ({"mix": {"wanted": {"languages": {}, "sources": {"a": 1.0}}}}, (0, 0, 1, 2)),
        ({"sources": {"kind": "jsonl"}}, (0, 0, 1, 2)),
    ],
    ids=["later", "before", "rank", "shares", "concat", "repositories", "weights", "JSON lines"],
)
def test_what_the_script_does_not_cover_is_refused(settings, release, tmp_path, change, arguments):
    """Breach: rows that nobody was fed."""
    config = TrainConfig.model_validate({**settings, "data": {"sequence_length": 64}, "languages": ["Shell"]})
    prepared = prepare(config, print)
    value = lineage.Recorder(config, prepared, 1).describe(3)
    for key, more in change.items():
        (value[key][0] if isinstance(value[key], list) else value[key]).update(more)
    prepared.tokenizer.save(tmp_path)
    lineage.write(tmp_path, value)
    with pytest.raises(SystemExit, match=r"^Steps 0 to 2, 4 rows each; not repository context, concat"):
        reproduced(tmp_path, *arguments, release)


def _train(config, folder, processes, kill=None):
    """A run in processes of its own; its exit code."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [str(ROOT / "tests/training/fed.py"), str(config), str(folder)]
    command += [] if kill is None else [str(kill)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.slow
def test_what_a_killed_and_resumed_run_was_fed_is_made_again(settings, release, tmp_path):
    """One process, killed; two processes from the checkpoint, killed; one to the end: every step that counts is what the
    script says. Breach: a resume, another number of processes or another epoch changes what a step holds."""
    changes = {
        "data": {"sequence_length": 320},
        "global_batch_tokens": 8 * 320,
        "steps": 24,
        "save_every": 4,
        "evaluation": {"every": 24, "fraction": 0.2},
    }
    config, seen = tmp_path / "train.yaml", tmp_path / "fed"
    config.write_text(json.dumps({**settings, **changes}))
    seen.mkdir()
    code, _ = _train(config, seen, 1, kill=9)
    assert code == -signal.SIGKILL
    code, _ = _train(config, seen, 2, kill=18)
    assert code != 0
    code, message = _train(config, seen, 1)
    assert code == 0, message
    folder = checkpoint.folder_of(Path(settings["output"]) / "checkpoints", 24)
    written = json.loads((folder / "lineage.json").read_text())
    parts = [(part["first_step"], part["steps"], part["processes"]) for part in written["history"]]
    assert parts == [(0, 8, 1), (8, 8, 2), (16, 8, 1)]
    assert len(written["seen"]["epochs"]) > 1
    for step in random.Random(0).sample(range(24), 20):
        processes = 2 if 8 <= step < 16 else 1
        for rank in range(processes):
            found = reproduced(folder, step, rank, processes, 2, release)
            assert (found == torch.load(seen / f"{step}-{rank}.pt").numpy()).all(), (step, rank)
