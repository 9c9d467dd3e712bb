"""bf16: adapters compute the same without a cast more; rounding is not taken for a leak, and a leak not for rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from training.config import LoraConfig, TrainConfig
from training.errors import LeakyMaskError
from training.model import adapters, start
from training.model.attention import LENGTHS, check_isolation
from training.run.train import train

SIZE = 300


def build(kind: str = "llama", **more: Any) -> Any:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": SIZE,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    config = AutoConfig.for_model(kind, **sizes, **more)
    return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")


def test_a_run_in_bf16_needs_no_word_on_the_device(settings):
    """Breach: with `device: auto` and no GPU, transformers refuses bf16 with a stack trace."""
    result = train(
        TrainConfig.model_validate(
            {
                **settings,
                "device": "auto",
                "precision": "bf16",
                "steps": 1,
                "evaluation": {"fraction": 0.0},
            }
        )
    )
    assert result["loss"] > 0


def gradients(model: Any) -> tuple[float, dict[str, torch.Tensor], int]:
    """(loss, gradients, bytes kept for the backward pass beside the weights) under autocast."""
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, Any] = {}  # storages, which stay alive: no other gets their number

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    ids = torch.arange(60).reshape(2, 30) * 7 % SIZE
    model.zero_grad()
    with (
        torch.autocast("cpu", torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return loss.item(), found, sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_adapters_give_the_same_bits_without_a_cast_of_their_input_and_keep_less(dora):
    model = adapters.add_lora(build(), LoraConfig(rank=4, dora=dora), 0).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.01)
    loss, found, kept = gradients(model)
    for module in model.modules():
        vars(module).pop("_cast_input_dtype", None)  # peft's own again
    loss_of_peft, wanted, kept_by_peft = gradients(model)
    assert loss == loss_of_peft and found.keys() == wanted.keys()
    assert all(torch.equal(found[name], gradient) for name, gradient in wanted.items())
    assert kept == kept_by_peft if dora else kept < kept_by_peft


def test_outside_of_autocast_adapters_in_fp32_take_what_the_base_gives():
    model = adapters.add_lora(build(), LoraConfig(rank=4), 0).eval()
    with torch.no_grad():
        assert model(input_ids=torch.ones(1, 4, dtype=torch.long)).logits.dtype == torch.bfloat16


def test_one_logit_of_many_that_rounds_otherwise_is_no_leak():
    """Breach: a sound run on a GPU is refused, since of a million logits one is five deviations off."""

    def other_kernels(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if output.shape[1] < sum(LENGTHS[0]):
            output[..., 7] += 0.4 * output.float().std()
        return output

    model = build()
    model.lm_head.register_forward_hook(other_kernels)
    check_isolation(model, SIZE)
    with pytest.raises(LeakyMaskError, match="not what it is alone"):
        check_isolation(model.float(), SIZE)


class Absolute(torch.nn.Module):
    """Gives each token the position that it has in the row."""

    def __init__(self) -> None:
        super().__init__()
        self.model = build("gpt2", n_positions=64)

    def forward(self, input_ids: Any, position_ids: Any, **_: Any) -> Any:
        places = self.model.transformer.wpe.weight[: input_ids.shape[1]]
        embedded = self.model.get_input_embeddings()(input_ids) + 20 * places
        return self.model(inputs_embeds=embedded, position_ids=position_ids, use_cache=False)


def test_positions_that_do_not_restart_are_found_in_bf16():
    with pytest.raises(LeakyMaskError, match="not what it is alone"):
        check_isolation(Absolute(), SIZE)


def test_rounding_between_experts_is_no_leak_and_a_leak_is_none_of_rounding():
    """Breach: a mixture of experts in bf16 is refused where the kernels of an expert depend on how many tokens it gets."""
    model = build("mixtral", num_local_experts=4)

    def by_load(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        load = torch.bincount(inputs[1].flatten(), minlength=4)[inputs[1]].sum(-1)
        return output * (1 + 2**-8 * (-1.0) ** load)[:, None].to(output.dtype)

    for module in model.modules():
        if type(module).__name__.endswith("Experts"):
            module.register_forward_hook(by_load)
    lines: list[str] = []
    precision = torch.autocast("cpu", torch.bfloat16)
    assert start._checked(model, model, ["sdpa"], SIZE, precision, lines.append) == "sdpa"
    with pytest.raises(LeakyMaskError, match="see each other"):
        check_isolation(model, SIZE, tolerance=start.ROUTED_TOLERANCE, use_cache=True)
