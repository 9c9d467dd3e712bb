"""One step is one step: whatever the micro-batches, processes and strategy, the same gradients, losses and weights."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training.config import TrainConfig
from training.errors import ProcessError, TrainingConfigError
from training.run.distributed import agree, check_processes
from training.run.seeds import step_seed
from training.run.train import train

PROBES = f"{Path(__file__).parent / 'probes.py'}:note"
BASE = {
    "tokenizer": {"vocab_size": 400},
    "model": {"hidden_size": 32, "intermediate_size": 64, "layers": 2, "heads": 2, "kv_heads": 1},
    "data": {"sequence_length": 64},
    # Rows of padding fill the last of the three steps: the processes have very different numbers of labels there.
    "optimizer": {"learning_rate": 1e-3, "max_grad_norm": 0.0},
    "epochs": 1,
    "global_batch_tokens": 64 * 96,
    "log_every": 1,
    "evaluation": {"every": 2, "fraction": 0.2},
    "save_every": 2,
    "device": "cpu",
}
WAYS = {
    "one batch": (1, {"micro_batch_size": 96}),
    "accumulated": (1, {"micro_batch_size": 4}),
    "two processes": (2, {"micro_batch_size": 16}),
    "two processes, fsdp": (2, {"micro_batch_size": 16, "parallel": {"strategy": "fsdp"}}),
}
OTHERS = list(WAYS)[1:]


class Way:
    """A finished run: its result, what each process noted, gradients, metrics and weights."""

    def __init__(self, result, folder):
        self.result = result
        self.notes = [json.loads(file.read_text()) for file in sorted(folder.glob("?.json"))]
        self.gradients = dict(np.load(folder / "0.npz"))
        lines = (Path(result["output"]) / "metrics.jsonl").read_text().splitlines()
        self.metrics = [json.loads(line) for line in lines]
        self.losses = [line["loss"] for line in self.metrics if "loss" in line]
        self.weights = load_file(Path(result["checkpoint"]) / "model.safetensors")


@pytest.fixture(scope="module")
def place(release, tmp_path_factory):
    """(folder, settings with a token cache that all runs share)."""
    folder = tmp_path_factory.mktemp("parallel")
    settings = {**copy.deepcopy(BASE), "release": str(release)}
    settings["data"]["cache"] = str(folder / "cache")
    return folder, settings


@pytest.fixture(scope="module")
def ways(ranks, place):
    folder, settings = place
    runs = {}
    for name, (world, more) in WAYS.items():
        probe = {"probe": PROBES, "probe_argument": {"folder": str(folder / name / "notes")}}
        result = ranks.train({**settings, **more, "output": str(folder / name / "run")}, world, **probe)
        runs[name] = Way(result, folder / name / "notes")
    return runs


def largest(found, wanted):
    assert found.keys() == wanted.keys()
    return max(float(np.abs(np.asarray(found[name]) - np.asarray(wanted[name])).max()) for name in wanted)


def test_the_processes_of_the_test_have_uneven_numbers_of_labels(ways):
    """Else the tests below could not see a wrong weight; and all processes take the same number of micro-batches."""
    first, second = (note["labels"] for note in ways["two processes"].notes)
    assert len(first) == len(second) == 3 * 3
    last = [sum(labels[-3:]) for labels in (first, second)]
    assert abs(last[0] - last[1]) > 0.15 * sum(last)
    for name, way in ways.items():
        total = sum(sum(note["labels"]) for note in way.notes)
        assert total == way.result["seen"]["trained_tokens"], name


@pytest.mark.parametrize("way", OTHERS)
def test_gradients_are_those_of_one_batch(ways, way):
    assert largest(ways[way].gradients, ways["one batch"].gradients) < 1e-6


@pytest.mark.parametrize("way", OTHERS)
def test_losses_evaluation_and_weights_are_those_of_one_batch(ways, way):
    found, wanted = ways[way], ways["one batch"]
    assert found.losses == pytest.approx(wanted.losses, abs=1e-5)
    assert largest(found.weights, wanted.weights) < 1e-5
    for language, figures in wanted.result["evaluation"]["languages"].items():
        other = found.result["evaluation"]["languages"][language]
        assert (other["tokens"], other["bytes"]) == (figures["tokens"], figures["bytes"])
        assert other["nll"] == pytest.approx(figures["nll"], rel=1e-5)


def test_the_setting_that_is_known_to_be_wrong_would_be_caught(ranks, place, ways, monkeypatch):
    folder, settings = place
    argument = {"folder": str(folder / "wrong" / "notes"), "local_averages": True}
    wrong = {**settings, **WAYS["two processes"][1], "output": str(folder / "wrong" / "run")}
    way = Way(ranks.train(wrong, 2, probe=PROBES, probe_argument=argument), folder / "wrong" / "notes")
    assert largest(way.gradients, ways["one batch"].gradients) > 1e-3
    # and it is refused where Trainer's settings are put together
    from training.run.arguments import arguments

    def local(*given):
        result = arguments(*given)
        result.average_tokens_across_devices = False
        return result

    monkeypatch.setattr("training.run.arguments.arguments", local)
    with pytest.raises(TrainingConfigError, match="average_tokens_across_devices"):
        train(
            TrainConfig.model_validate(
                {**settings, "output": str(folder / "refused"), "micro_batch_size": 16}
            )
        )


def test_fsdp_holds_half_of_the_model_in_each_of_two_processes(ways):
    whole = ways["two processes"].notes[0]["held"]
    halves = [note["held"] for note in ways["two processes, fsdp"].notes]
    assert sum(halves) == whole
    assert max(halves) < 0.55 * whole


def test_rank_0_alone_has_the_whole_model_at_the_start(ways):
    """Breach: a model beyond one GPU runs out of memory when it is checked, and a host holds it once per process."""
    notes = ways["two processes, fsdp"].notes
    assert [note["weights"] for note in notes] == [True, False]
    assert [note["held_at_check"] for note in notes] == [note["held"] for note in notes]
    assert [note["weights"] for note in ways["two processes"].notes] == [True, True]


def test_every_process_refuses_a_model_that_leaks(ranks, settings):
    leaks = f"{Path(__file__).parent / 'probes.py'}:see_each_other"
    file = _file(settings, parallel={"strategy": "fsdp"}, micro_batch_size=1)
    for each in ranks.run([file], 2, probe=leaks, probe_argument={}):
        assert each.code == 2
        assert "documents in a packed row see each other" in each.err


CUT = {
    "gpt2, tied": {"model": {"architecture": "gpt2", "kv_heads": None}},
    "untied by its files": {"model": {"architecture": "llama"}, "untie": True},
    "not tied": {"model": {"architecture": "llama", "tie_embeddings": False}},
    "buffers of two kinds of layer": {"model": {"architecture": "gemma3_text"}},
    "experts": {"model": {"architecture": "mixtral", "config": {"num_local_experts": 3}}},
    "lora": {"model": {"architecture": "llama"}, "lora": {"rank": 2, "alpha": 4.0}},
    "dora": {"model": {"architecture": "qwen2"}, "lora": {"rank": 2, "alpha": 4.0, "dora": True}},
}


def test_what_is_cut_is_what_rank_0_made(ranks, tmp_path):
    """Weights, also tied ones and adapters, and buffers, which no file has."""
    sizes = {"hidden_size": 24, "intermediate_size": 40, "layers": 2, "heads": 2}
    models = {name: {**about, "model": {**sizes, **about["model"]}} for name, about in CUT.items()}
    probe = f"{Path(__file__).parent / 'probes.py'}:cut"
    ranks.run(["none"], 3, probe=probe, probe_argument={"folder": str(tmp_path), "models": models})
    for rank in range(3):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == dict.fromkeys(CUT), rank


def test_a_checkpoint_of_fsdp_has_the_files_of_any_other(ways):
    from training.config import ModelConfig
    from training.model import build
    from training.tokens.tokenizer import CodeTokenizer

    ddp, fsdp = (Path(ways[name].result["checkpoint"]) for name in OTHERS[1:])
    files = {path.name: path for path in fsdp.iterdir()}
    assert files.keys() == {path.name for path in ddp.iterdir()}
    assert files["model.safetensors"].stat().st_size == (ddp / "model.safetensors").stat().st_size
    build.load(fsdp, ModelConfig(), CodeTokenizer.load(fsdp))
    found, wanted = (torch.load(folder / "optimizer.pt", weights_only=True) for folder in (fsdp, ddp))
    assert found["param_groups"] == wanted["param_groups"]
    for index, entry in wanted["state"].items():
        assert largest(found["state"][index], entry) < 1e-6


def go_on(ranks, place, source, world, **more):
    """Resume a copy of a finished run whose last checkpoint is lost."""
    folder, settings = place
    output = folder / f"resumed-{source}-{world}-{more['parallel']['strategy']}" / "run"
    shutil.copytree(folder / source / "run", output)
    shutil.rmtree(output / "checkpoints" / "step-00000003")
    result = ranks.train({**settings, **more, "output": str(output)}, world)
    assert result["resumed_from"].endswith("step-00000002")
    return load_file(Path(result["checkpoint"]) / "model.safetensors"), result


def test_resumed_with_fsdp_is_bitwise_the_same(ranks, place, ways):
    weights, _ = go_on(
        ranks, place, "two processes, fsdp", 2, parallel={"strategy": "fsdp"}, micro_batch_size=16
    )
    assert largest(weights, ways["two processes, fsdp"].weights) == 0


@pytest.mark.parametrize(
    ("source", "world", "strategy"),
    [
        ("two processes, fsdp", 1, "ddp"),
        pytest.param("two processes", 1, "ddp", marks=pytest.mark.slow),
        pytest.param("two processes, fsdp", 4, "fsdp", marks=pytest.mark.slow),
        pytest.param("two processes, fsdp", 2, "ddp", marks=pytest.mark.slow),
        pytest.param("accumulated", 2, "fsdp", marks=pytest.mark.slow),
        pytest.param("two processes", 4, "ddp", marks=pytest.mark.slow),
        pytest.param("accumulated", 2, "ddp", marks=pytest.mark.slow),
    ],
)
def test_resumed_with_another_number_of_processes_or_strategy(ranks, place, ways, source, world, strategy):
    weights, result = go_on(ranks, place, source, world, parallel={"strategy": strategy}, micro_batch_size=8)
    assert largest(weights, ways["one batch"].weights) < 1e-5
    assert result["loss"] == pytest.approx(ways["one batch"].result["loss"], abs=1e-5)


@pytest.fixture(scope="module")
def adapter(ranks, place, ways):
    """(settings, result) of LoRA in one process."""
    folder, settings = place
    settings = {
        **settings,
        "model": {"path": ways["one batch"].result["output"]},
        "lora": {"rank": 4, "alpha": 8.0},
        "micro_batch_size": 16,
        "evaluation": {"fraction": 0.0},
        "save_every": 9,
    }
    del settings["tokenizer"]
    return settings, ranks.train({**settings, "output": str(folder / "lora" / "run")})


@pytest.mark.parametrize("strategy", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp"])
def test_adapters(ranks, place, adapter, strategy):
    """LoRA in two processes is LoRA in one, and only the adapter is written."""
    settings, alone = adapter
    output = str(place[0] / f"lora-{strategy}" / "run")
    both = ranks.train({**settings, "output": output, "parallel": {"strategy": strategy}}, 2)
    found, wanted = (load_file(Path(r["checkpoint"]) / "adapter_model.safetensors") for r in (both, alone))
    assert largest(found, wanted) < 1e-5
    assert not (Path(both["checkpoint"]) / "model.safetensors").exists()


def test_random_draws_differ_between_processes_and_steps_and_are_repeated(ways, ranks, place):
    draws = [note["draws"] for note in ways["two processes"].notes]
    assert len({*draws[0], *draws[1]}) == 6
    assert [note["draws"] for note in ways["two processes, fsdp"].notes] == draws
    assert ways["accumulated"].notes[0]["draws"] == draws[0]  # process 0 of any number draws the same
    seeds = {step_seed(seed, step, rank) for seed in range(3) for step in range(20) for rank in range(4)}
    assert len(seeds) == 240
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the processes would use the GPUs")
def test_processes_join_where_there_is_no_gpu(ranks, place, ways):
    """`device: auto`: left to Trainer, each process would train by itself, without a word."""
    folder, settings = place
    auto = {**settings, **WAYS["two processes"][1], "device": "auto", "output": str(folder / "auto" / "run")}
    result = ranks.train(auto, 2)
    weights = load_file(Path(result["checkpoint"]) / "model.safetensors")
    assert largest(weights, ways["two processes"].weights) == 0


def test_processes_that_did_not_join_are_refused(settings):
    with pytest.raises(ProcessError, match=r"one of 2 processes .* they did not join"):
        agree(TrainConfig.model_validate(settings), None, None, 2)


def test_fsdp_needs_several_processes(settings):
    config = TrainConfig.model_validate({**settings, "parallel": {"strategy": "fsdp"}})
    with pytest.raises(TrainingConfigError, match=r"fsdp cuts the model over several processes.*--nproc"):
        train(config)
    check_processes(config, 2)


def test_rows_that_do_not_divide_are_refused_by_every_process(ranks, settings):
    exits = ranks.run([_file(settings, micro_batch_size=4)], 3)
    assert [each.code for each in exits] == [2, 2, 2]
    assert "cannot be divided among 3 processes" in exits[0].err


def _file(settings, **more):
    file = Path(settings["output"]).with_suffix(".yaml")
    file.write_text(json.dumps({**settings, **more}))
    return str(file)
