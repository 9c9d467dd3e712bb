"""A run that goes on has the weights of its checkpoint: all of them, whatever names they have in the file."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from training.config import ModelConfig, TrainConfig
from training.errors import CheckpointError
from training.model import build
from training.model.restored import restore
from training.run.train import train
from training.tokens import tokenizer as tokenizers

SIZES = {"hidden_size": 32, "intermediate_size": 48, "layers": 2, "heads": 2}
EXPERTS = {**SIZES, "architecture": "mixtral", "config": {"num_local_experts": 4}}


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizers.train([f"{n * 2654435761 % 2**32:x}" for n in range(500)], 300)


def made(tokenizer, seed, **more):
    return build.build(ModelConfig(**{**SIZES, **more}), tokenizer, 64, seed)


KINDS = {
    "llama": {},
    "gpt2": {},
    "gemma3_text": {},
    "mixtral": {"num_local_experts": 3},
    "qwen3_moe": {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2},
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_what_was_saved_is_what_is_restored(name, tied, tokenizer, tmp_path):
    more = {"architecture": name, "tie_embeddings": tied, "config": KINDS[name]}
    written, model = (made(tokenizer, seed, **more) for seed in (1, 2))
    written.save_pretrained(tmp_path, max_shard_size="60KB")  # several files
    restore(model, tmp_path)
    found = model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in written.state_dict().items())


def test_a_mixture_of_experts_goes_on_as_if_it_had_not_stopped(settings, tmp_path):
    """Breach: its experts begin again as they were before the first step, and no one is told."""
    settings = {**settings, "model": EXPERTS, "optimizer": {"learning_rate": 1e-2}}
    whole = train(TrainConfig.model_validate(settings))
    shutil.copytree(settings["output"], tmp_path / "again")
    shutil.rmtree(tmp_path / "again/checkpoints/step-00000006")
    again = train(TrainConfig.model_validate({**settings, "output": str(tmp_path / "again")}))
    assert again["resumed_from"].endswith("step-00000003")
    found, wanted = (load_file(Path(r["checkpoint"]) / "model.safetensors") for r in (again, whole))
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
    assert json.dumps(again["evaluation"]) == json.dumps(whole["evaluation"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("model.norm.weight"), "1 weights are missing, such as model.norm.weight"),
        (lambda state: state.update(other=torch.zeros(2)), "another model, such as other"),
    ],
)
def test_other_weights_are_refused(change, message, tokenizer, tmp_path):
    model = made(tokenizer, 1)
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    change(state)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=message):
        restore(model, tmp_path)
