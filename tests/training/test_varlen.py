"""Attention with PyTorch's own kernels of flash attention: that of sdpa, forward and backward; nothing but packed rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import varlen as kernels
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from training.config import LoraConfig
from training.errors import LeakyMaskError, TrainingConfigError
from training.model import adapters, architectures, decoding, start, varlen
from training.model.attention import any_input, attention_of, check_backward, check_isolation, packed_inputs
from training.tokens.tokenizer import train

SIZE = 300
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"head_dim": 16},
    "mistral": {"sliding_window": 5},
    "starcoder2": {"sliding_window": None},
    "gpt_neox": {},
}


def one(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: Any, window: int) -> torch.Tensor:
    """Causal attention in one document; (tokens, heads, width)."""
    query, key, value = (part.transpose(0, 1) for part in (query, key, value))
    key, value = (part.repeat_interleave(len(query) // len(part), 0) for part in (key, value))
    far = torch.arange(query.shape[1])[:, None] - torch.arange(query.shape[1])[None]
    seen = (far >= 0) & ((far <= window) if window >= 0 else True)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale).transpose(0, 1)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Plain arithmetic of the same contract in place of the kernels; the types that it was called with."""
    types: list[torch.dtype] = []

    def varlen_attn(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        first: torch.Tensor,
        also: torch.Tensor,
        most: int,
        most_keys: int,
        *,
        scale: float | None,
        window_size: tuple[int, int],
        enable_gqa: bool,
    ) -> torch.Tensor:
        assert first is also and first.dtype == torch.int32 and enable_gqa and window_size[1] == 0
        assert most == most_keys >= int(first.diff().max()) and (int(first[0]), int(first[-1])) == (
            0,
            len(query),
        )
        assert query.ndim == key.ndim == 3 and query.dtype == key.dtype == value.dtype
        types.append(query.dtype)
        ends = zip(first[:-1].tolist(), first[1:].tolist(), strict=True)
        parts = [one(query[a:b], key[a:b], value[a:b], scale, window_size[0]) for a, b in ends if b > a]
        return torch.cat(parts)

    monkeypatch.setattr(kernels, "varlen_attn", varlen_attn)
    return types


def model_with(attention: str, family: str = "llama", **more: Any) -> Any:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": SIZE,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    config = CONFIG_MAPPING[family](**sizes, **FAMILIES.get(family, {}), **more)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention)


def batch() -> dict[str, torch.Tensor]:
    lengths = ((20, 1, 11), (7, 25))
    ids = torch.randint(3, SIZE, (2, 32), generator=torch.Generator().manual_seed(1))
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in lengths])
    return {"input_ids": ids, "position_ids": positions, "labels": torch.where(positions == 0, -100, ids)}


def step(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    out = model(**packed_inputs(batch(), attention_of(model)))
    out.loss.backward()
    return out.logits.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_attention_of_sdpa_forward_and_backward(kernel, family):
    wanted, gradients = step(model_with("sdpa", family))
    model = model_with(varlen.NAME, family)
    found, own = step(model)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert own.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name], gradient, rtol=1e-4, atol=1e-7)
    check_isolation(model, SIZE)
    assert kernel


def test_under_autocast_it_gets_what_the_kernels_take(kernel):
    """Breach: norms with weights in fp32 make queries and keys fp32, which flash attention refuses."""
    with torch.autocast("cpu", torch.bfloat16):
        step(model_with(varlen.NAME, "qwen3"))
    assert set(kernel) == {torch.bfloat16}


@pytest.mark.parametrize(
    ("family", "more", "why"),
    [
        ("gemma2", {"head_dim": 16}, "softcap"),
        ("llama", {"attention_dropout": 0.1}, "dropout"),
    ],
)
def test_what_the_kernels_cannot_do_is_left_to_the_next(kernel, family, more, why):
    model, lines = model_with(varlen.NAME, family, **more).train(), []
    with pytest.raises(NotImplementedError, match=why):
        step(model)
    if family == "gemma2":
        names = [varlen.NAME, "eager"]
        exact = torch.autocast("cpu", enabled=False)
        assert start._checked(model, model, names, SIZE, exact, lines.append) == "eager"
        assert "softcap" in lines[0] and "eager is tried" in lines[0]


def test_without_boundaries_or_with_a_mask_it_is_refused(kernel):
    model = model_with(varlen.NAME)
    for inputs in (
        {"input_ids": batch()["input_ids"], "use_cache": False},
        {**batch(), "use_cache": False},
        {"input_ids": torch.ones(1, 4, dtype=torch.long)},
    ):
        with pytest.raises(NotImplementedError, match="where documents begin"):
            model(**inputs)
    with pytest.raises(LeakyMaskError):
        packed_inputs({**batch(), "attention_mask": torch.ones(2, 32)}, varlen.NAME)


def test_a_backward_pass_that_fails_is_found_before_training(kernel, monkeypatch):
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> Any:
            raise RuntimeError("no kernel for heads of this width")

    forward_alone = kernels.varlen_attn
    monkeypatch.setattr(kernels, "varlen_attn", lambda *a, **k: Fails.apply(forward_alone(*a, **k)))
    model, lines = model_with(varlen.NAME), []
    used = start._checked(
        model, model, [varlen.NAME, "sdpa"], SIZE, torch.autocast("cpu", enabled=False), lines.append
    )
    assert used == attention_of(model) == "sdpa"
    assert lines == ["attention varlen is not used (no kernel for heads of this width); sdpa is tried"]
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:flex_attention called without")
def test_shapes_of_the_check_do_not_count_for_flex_attention(monkeypatch):
    """Breach: after eight shapes PyTorch compiles flex attention no more, and the check alone had that many."""
    forgotten: list[bool] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: forgotten.append(True))
    monkeypatch.setattr(start.attention, "check_backward", lambda *_: None)  # there is none on a processor
    model = model_with("flex_attention")
    with torch.compiler.set_stance("force_eager"):
        start._checked(model, model, ["flex_attention"], SIZE, torch.autocast("cpu", enabled=False), print)
    assert forgotten == [True]


def test_the_trial_of_the_backward_pass_leaves_nothing(kernel):
    model = adapters.add_lora(model_with(varlen.NAME), LoraConfig(rank=2, dropout=0.5), 0).train()
    before, values = torch.get_rng_state(), [p.clone() for p in model.parameters()]
    check_backward(model, SIZE)
    assert model.training and torch.equal(before, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(values, model.parameters(), strict=True))


@pytest.mark.parametrize("adapted", [False, True], ids=["whole", "adapter"])
def test_generation_goes_through_an_attention_that_takes_padding_and_a_cache(kernel, adapted):
    tokenizer = train(["def f(x):\n    return x + 1\n"] * 3, SIZE)
    prompts = [tokenizer.encode([text])[0] for text in ("def", "return x", "    ")]
    written = []
    for name in ("sdpa", varlen.NAME):
        model = model_with(name)
        if adapted:
            model = adapters.add_lora(model, LoraConfig(rank=2), 0)
        written.append(decoding.generate(model, prompts, tokenizer, max_tokens=6))
        assert attention_of(model) == name
    assert all(np.array_equal(a, b) for a, b in zip(*written, strict=True))
    with pytest.raises(TrainingConfigError), any_input(model):
        assert attention_of(model) == "sdpa"
        raise TrainingConfigError("anything")
    assert attention_of(model) == varlen.NAME


def test_it_comes_after_flash_attentions_own_package_on_a_gpu_that_has_it(monkeypatch):
    llama = architectures.MODEL_FOR_CAUSAL_LM_MAPPING[architectures.configuration_class("llama")]

    def names(half: bool = True) -> list[str]:
        return architectures.attentions("auto", llama, gpu=True, half=half, sequence_length=64)[0]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for capability, there in (((7, 5), False), ((8, 0), True), ((9, 0), True), ((12, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda c=capability: c)
        assert (varlen.NAME in names()) == there
        assert varlen.NAME not in names(half=False)
    monkeypatch.setattr(architectures, "is_flash_attn_2_available", lambda: True)
    assert names() == ["flash_attention_2", varlen.NAME, "sdpa", "eager"]
