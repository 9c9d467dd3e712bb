"""SIGKILL at any moment, then the same command again: it ends as a run that was never killed, to the bit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.run import checkpoint

BASE = {
    "tokenizer": {"vocab_size": 400},
    "model": {"hidden_size": 32, "intermediate_size": 64, "layers": 2, "heads": 2, "kv_heads": 1},
    "data": {"sequence_length": 64},
    "optimizer": {"learning_rate": 1e-3, "warmup_steps": 1},
    "steps": 5,
    "micro_batch_size": 2,
    "global_batch_tokens": 512,
    "log_every": 3,  # not in step with the checkpoints: what lies between two lines must not be lost
    "evaluation": {"every": 2, "fraction": 0.2},
    "save_every": 2,
    "keep_checkpoints": 2,
    "device": "cpu",
}
RUN = "training.run."
MOMENTS = {
    # name: (what is called, at which call, before it or after it, and what its arguments hold)
    "in the first step": (RUN + "trainer:PackedTrainer.training_step", 1, False),
    "in the last step": (RUN + "trainer:PackedTrainer.training_step", 18, False),
    "before the folder is made": (RUN + "checkpoint:make_room", 1, True),
    "between weights and tokenizer": ("training.tokens.tokenizer:CodeTokenizer.save", 1, False),
    "between optimizer and scheduler": ("torch:save", 4, True),
    "before the lineage": (RUN + "lineage:write", 1, False),
    "before the hashes": (RUN + "checkpoint:seal", 1, False),
    "while it is synced": ("os:fsync", 20, False),
    "before the rename": ("os:rename", 1, False, "tmp-save"),
    "after the rename": ("os:rename", 1, True, "tmp-save"),
    "before the best is named": ("os:rename", 1, False, "best.json"),
    "sealed, the old ones not yet removed": (RUN + "checkpoint:prune", 3, False),
    "before an old one is removed": ("shutil:rmtree", 0, False, "tmp-gone"),
    "while an old one is removed": ("os:unlink", 0, False, "optimizer.pt"),
    "before a line of the metrics": (RUN + "progress:Progress.record", 4, False),
    "after the last checkpoint": (RUN + "checkpoint:prune", 3, True),
    "before the result is written": ("os:rename", 0, False, "result.json"),
}


@pytest.fixture(scope="module")
def place(release, tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    settings = {**BASE, "release": str(release)}
    settings["data"] = {**BASE["data"], "cache": str(folder / "cache")}
    return folder, settings


@pytest.fixture(scope="module")
def uninterrupted(ranks, place):
    """`uninterrupted(world)`: what a run that was never killed leaves behind."""
    folder, settings = place
    known = {}

    def run(world):
        if world not in known:
            output = folder / f"whole-{world}" / "run"
            ranks.train({**settings, "output": str(output)}, world)
            known[world] = left_behind(output)
        return known[world]

    return run


def left_behind(output):
    """Bytes of what the last checkpoint holds, the metrics and results without times, and the names of checkpoints."""
    last = output / "checkpoints" / "step-00000005"
    checkpoint.verify(last)
    parts = {path.name: path.read_bytes() for path in last.iterdir() if path.name != checkpoint.SEAL}
    written = json.loads(parts.pop("lineage.json"))
    del written["config"]["output"], written["product"]  # whoever edits the checkout meanwhile makes it dirty
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((output / "result.json").read_text())
    assert result.pop("best") == json.loads((output / "best.json").read_text())
    metrics += [written, {key: result[key] for key in ("steps", "seen", "loss", "evaluation")}]
    return parts, metrics, sorted(path.name for path in (output / "checkpoints").iterdir())


def killed_and_repeated(ranks, place, name, world, moment, then=None, rank=0, more=None):
    """The output of a run that was killed at the moment and begun again until it ended."""
    folder, settings = place
    output = folder / f"{name}-{world}-{then}-{rank}".replace(" ", "-") / "run"
    settings = {**settings, **(more or {}), "output": str(output)}
    from training_ranks import configuration

    kill = {"rank": rank, **dict(zip(("target", "call", "after", "about"), moment, strict=False))}
    exits = ranks.run([configuration(settings)], world, kill=kill)
    assert exits[rank].code == -9, exits[rank].err
    if not checkpoint.folder_of(output / "checkpoints", settings["steps"]).exists():
        with (output / "metrics.jsonl").open("a") as file:
            file.write('{"step": 1, "lo')  # a line that was being written
    result = ranks.train(settings, then or world)
    assert not list((output / "checkpoints").glob("*.tmp*"))
    return output, result


def check_the_same(output, wanted):
    found, metrics, steps = left_behind(output)
    assert found == wanted[0]
    assert metrics == wanted[1]
    assert steps == wanted[2]


QUICK = ["while it is synced"]


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MOMENTS]
)
def test_killed_in_one_process(ranks, place, uninterrupted, name):
    output, _ = killed_and_repeated(ranks, place, name, 1, MOMENTS[name])
    check_the_same(output, uninterrupted(1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("before the rename", 0),
        ("in the last step", 0),
        ("in the last step", 1),
        ("between optimizer and scheduler", 0),
        ("while it is synced", 0),
        ("sealed, the old ones not yet removed", 0),
    ],
)
def test_killed_in_two_processes(ranks, place, uninterrupted, name, rank):
    """One dies, the others are killed with it; both begin again."""
    target, call, *more = MOMENTS[name]
    moment = (target, call // 2 if "step" in name else call, *more)
    output, _ = killed_and_repeated(ranks, place, name, 2, moment, rank=rank)
    check_the_same(output, uninterrupted(2))


@pytest.mark.slow
@pytest.mark.parametrize(("world", "then"), [(1, 2), (2, 1), (2, 4)])
def test_killed_and_gone_on_with_another_number_of_processes(ranks, place, uninterrupted, world, then):
    output, result = killed_and_repeated(
        ranks, place, "in the last step", world, (RUN + "checkpoint:seal", 1, False), then
    )
    assert result["resumed_from"].endswith("step-00000002")
    wanted = (
        load_file(place[0] / "whole-1" / "run/checkpoints/step-00000005/model.safetensors")
        if uninterrupted(1)
        else {}
    )
    found = load_file(output / "checkpoints/step-00000005/model.safetensors")
    for key, value in wanted.items():
        assert torch.allclose(found[key], value, atol=1e-5, rtol=0), key
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    for line, other in zip(lines, uninterrupted(1)[1][:-2], strict=True):
        assert line.get("loss", 0) == pytest.approx(other.get("loss", 0), abs=1e-5)


@pytest.mark.slow
def test_killed_with_fsdp(ranks, place):
    more = {"parallel": {"strategy": "fsdp"}}
    folder, settings = place
    whole = folder / "whole-fsdp" / "run"
    ranks.train({**settings, **more, "output": str(whole)}, 2)
    output, _ = killed_and_repeated(ranks, place, "fsdp", 2, MOMENTS["while it is synced"], more=more)
    check_the_same(output, left_behind(whole))


PARTS = (
    "checkpoint.json",
    "config.json",
    "generation_config.json",
    "lineage.json",
    "metrics.json",
    "model.safetensors",
    "optimizer.pt",
    "rng_state.pth",
    "scheduler.pt",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
)


def test_the_parts_of_a_checkpoint_are_all_tried_below(uninterrupted, place):
    uninterrupted(1)
    folder = place[0] / "whole-1" / "run/checkpoints/step-00000005"
    assert sorted(path.name for path in folder.iterdir()) == sorted(PARTS)


@pytest.mark.parametrize("damage", ["missing", "shortened", "one bit"])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_missing_or_altered_is_never_used(uninterrupted, place, tmp_path, part, damage):
    """The newest checkpoint is refused by name and the one before it taken, said loudly."""
    uninterrupted(1)
    for step in (4, 5):
        name = f"step-{step:08d}"
        shutil.copytree(place[0] / "whole-1" / "run/checkpoints" / name, tmp_path / name)
    file = tmp_path / "step-00000005" / part
    data = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "shortened":
        file.write_bytes(data[:-1])
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    said: list[str] = []
    found = checkpoint.newest_sound(tmp_path, said.append)
    assert found == tmp_path / "step-00000004"
    assert len(said) == 1
    assert "NOT used" in said[0]
    assert part in said[0] or part == checkpoint.SEAL  # a changed hash looks like a changed file


def test_a_disk_that_refuses_leaves_the_earlier_checkpoints(ranks, place, uninterrupted):
    folder, settings = place
    output = folder / "full" / "run"
    settings = {**settings, "output": str(output)}
    from training_ranks import configuration

    probe = f"{Path(__file__).parent / 'probes.py'}:limit_file_size"
    argument = {"after": 1, "bytes": len(uninterrupted(1)[0]["optimizer.pt"]) // 2}
    (end,) = ranks.run([configuration(settings)], 1, probe=probe, probe_argument=argument)
    assert end.code == 5, end.err
    assert "the checkpoint cannot be written" in end.err
    assert "Earlier checkpoints are untouched" in end.err
    assert [path.name for path in (output / "checkpoints").iterdir()] == ["step-00000002"]
    ranks.train(settings)
    check_the_same(output, uninterrupted(1))
