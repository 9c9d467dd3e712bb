"""Chunked cross-entropy: the same loss and gradients as with all logits, for any chunk; refused where it would be wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from training.errors import TrainingConfigError
from training.model.loss import chunked_cross_entropy, install


def build(kind: str = "llama", **more: Any) -> Any:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 96,
        "tie_word_embeddings": False,
    }
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**sizes, **more})).train()


def batch() -> dict[str, torch.Tensor]:
    ids = torch.arange(60).reshape(2, 30) * 7 % 96
    labels = ids.clone()
    labels[:, :3] = -100
    labels[1, 20:] = -100
    positions = torch.arange(30).remainder(11).expand(2, 30)
    return {"input_ids": ids, "labels": labels, "position_ids": positions}


def gradients(model: Any, **more: Any) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(**batch(), use_cache=False, **more).loss
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@given(st.integers(1, 12), st.integers(1, 14), st.booleans(), st.integers(0, 2**32))
@settings(deadline=None)
def test_any_chunk_gives_the_sum_of_all_token_losses(tokens, chunk, trained, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 5, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(7, 5, generator=generator, dtype=torch.float64).requires_grad_(trained)
    labels = torch.randint(-1, 7, (tokens,), generator=generator)
    wanted = functional.cross_entropy(hidden @ weight.t(), labels, ignore_index=-1, reduction="sum")
    found = chunked_cross_entropy(hidden, weight, labels, chunk, ignore_index=-1)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    inputs = [hidden, weight] if trained else [hidden]
    for one, other in zip(
        torch.autograd.grad(3 * found, inputs), torch.autograd.grad(3 * wanted, inputs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("count", [None, 40], ids=["mean", "global count"])
def test_a_model_learns_the_same(tied, count):
    """Breach: another loss, another gradient, or another division than Trainer's global count."""
    model = build(tie_word_embeddings=tied)
    before, wanted = gradients(model, num_items_in_batch=count)
    names = set(model.state_dict())
    install(model, 16)
    after, found = gradients(model, num_items_in_batch=count)
    assert after == pytest.approx(before, rel=1e-6)
    assert found.keys() == wanted.keys() and set(model.state_dict()) == names
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7)


def test_mixed_precision_is_as_near_as_its_rounding():
    model = build()
    with torch.autocast("cpu", torch.bfloat16):
        before, wanted = gradients(model)
    install(model, 16)
    with torch.autocast("cpu", torch.bfloat16):
        after, found = gradients(model)
    assert after == pytest.approx(before, rel=1e-3)
    for name, gradient in wanted.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=2**-6, atol=2**-6 * float(gradient.abs().max())
        )


def test_adapters_on_a_frozen_base_learn_the_same():
    from training.config import LoraConfig
    from training.model.adapters import add_lora

    model = add_lora(build(), LoraConfig(rank=2, target_modules=("q_proj", "down_proj")), 0)
    _, wanted = gradients(model)
    install(model, 7)
    _, found = gradients(model)
    assert found.keys() == wanted.keys() and not any("lm_head" in name for name in found)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7)


def test_evaluation_and_generation_see_logits():
    """Breach: perplexity of hidden states."""
    model = build()
    model.eval()
    wanted = model(**batch(), use_cache=False)
    install(model, 16)
    found = model(**batch(), use_cache=False)
    assert torch.equal(found.logits, wanted.logits) and torch.equal(found.loss, wanted.loss)
    model.train()
    with torch.no_grad():
        assert model(**batch(), use_cache=False).logits.shape[-1] == 96


def test_a_model_that_changes_its_logits_is_refused():
    """Breach: a soft cap is left out, and the loss is silently another one; or it is told after an evaluation only."""
    with pytest.raises(TrainingConfigError, match="set loss_chunk: null"):
        install(build("gemma2", head_dim=8, final_logit_softcapping=30.0, pad_token_id=0), 16)


def test_a_change_of_the_logits_that_no_setting_tells_is_refused_at_the_first_step():
    model = build("gemma2", head_dim=8, final_logit_softcapping=None, pad_token_id=0)
    install(model, 16)
    model.config.final_logit_softcapping = 30.0  # as if its own code did it
    with pytest.raises(TrainingConfigError, match="set loss_chunk: null"):
        gradients(model)


def test_a_head_that_is_not_one_matrix_is_refused():
    model = build()
    model.lm_head = torch.nn.Linear(32, 96, bias=True)
    with pytest.raises(TrainingConfigError, match="not one plain matrix"):
        install(model, 16)


def test_logits_are_never_there_at_once(monkeypatch):
    """Breach: the memory is not saved after all."""
    model = build()
    install(model, 16)
    largest = [0]
    genuine = functional.linear

    def watched(left: torch.Tensor, right: torch.Tensor, *rest: Any) -> torch.Tensor:
        result = genuine(left, right, *rest)
        if result.shape[-1] == 96:
            largest[0] = max(largest[0], result.numel())
        return result

    monkeypatch.setattr(functional, "linear", watched)
    gradients(model)
    assert 0 < largest[0] <= 16 * 96


def test_a_run_with_chunks_is_the_run_without(settings, tmp_path):
    """Breach: the setting is declared and does nothing, or changes what is learnt. Also: what a run says of its use."""
    from training.config import TrainConfig
    from training.run.train import train

    results = []
    for number, chunk in enumerate((None, 48)):
        output = {
            "output": str(tmp_path / str(number)),
            "steps": 3,
            "evaluation": {"every": 3, "fraction": 0.2},
        }
        lines: list[str] = []
        config = TrainConfig.model_validate({**settings, **output, "loss_chunk": chunk, "peak_tflops": 0.5})
        results.append(train(config, lines.append))
        assert any("MFU" in line for line in lines if line.startswith("step 3/3  loss"))
    whole, chunked = results
    assert chunked["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert chunked["evaluation"]["all"]["loss"] == pytest.approx(whole["evaluation"]["all"]["loss"], rel=1e-5)
    per_device = whole["tokens_per_second_per_device"]
    assert whole["mfu"] == pytest.approx(per_device * whole["flops_per_token"] / 0.5e12)
    assert whole["hfu"] == whole["mfu"] and whole["peak_source"] == "peak_tflops"
