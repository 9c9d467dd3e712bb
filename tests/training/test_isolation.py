"""THE MASK TRAP: packed documents must not see each other; settings with which they do are refused."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from training.errors import LeakyMaskError
from training.model.attention import check_isolation, packed_inputs
from training.tokens.packing import plan

LENGTHS = [40, 17, 1, 61, 9]
VOCABULARY = 300


def model_with(attention: str) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            attn_implementation=attention,
        )
    ).eval()


def packed_row() -> tuple[np.ndarray, dict[str, torch.Tensor], np.ndarray]:
    """(flat tokens, forward arguments of the one packed row, document of each place)."""
    flat = np.random.default_rng(1).integers(10, VOCABULARY, sum(LENGTHS)).astype(np.uint16)
    packed = plan(np.array(LENGTHS), 160)
    assert packed.rows == 1
    rows = packed.fill(flat, np.array([0]), 1)
    inputs = {"input_ids": torch.from_numpy(rows.ids), "position_ids": torch.from_numpy(rows.positions)}
    return flat, inputs, rows.document[0]


@torch.no_grad()
def farthest(model, arguments, flat, documents) -> float:
    """The largest difference between the packed logits of a document and those of the document alone."""
    packed = model(**arguments).logits[0]
    worst, starts = 0.0, np.cumsum(LENGTHS) - LENGTHS
    for number, (start, length) in enumerate(zip(starts, LENGTHS, strict=True)):
        alone = model(
            input_ids=torch.tensor(flat[start : start + length].astype(np.int64))[None], use_cache=False
        ).logits[0]
        worst = max(worst, float((packed[documents == number] - alone).abs().max()))
    return worst


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_logits_are_those_of_the_document_alone(attention):
    flat, inputs, documents = packed_row()
    model = model_with(attention)
    assert farthest(model, packed_inputs(inputs), flat, documents) < 1e-5
    check_isolation(model, VOCABULARY)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("leak", ["attention_mask", "use_cache", "no positions", "boolean mask"])
def test_each_leaky_setting_leaks_and_is_refused(attention, leak):
    flat, inputs, documents = packed_row()
    model = model_with(attention)
    same = torch.from_numpy(documents[:, None] == documents[None]) & torch.ones(160, 160).tril().bool()
    probe = {
        "attention_mask": {"attention_mask": torch.ones(1, 19, dtype=torch.long), "use_cache": False},
        "use_cache": {"use_cache": True},
    }
    arguments = {
        "attention_mask": {
            **inputs,
            "attention_mask": torch.ones_like(inputs["input_ids"]),
            "use_cache": False,
        },
        "use_cache": {**inputs, "use_cache": True},
        "no positions": {"input_ids": inputs["input_ids"], "use_cache": False},
        "boolean mask": {**inputs, "attention_mask": same[None, None], "use_cache": False},
    }[leak]
    if (leak, attention) != ("boolean mask", "sdpa"):  # the one combination that sdpa honours
        assert farthest(model, arguments, flat, documents) > 0.05, (
            "the setting is no longer leaky: revise the refusal"
        )
    with pytest.raises(LeakyMaskError):
        packed_inputs(arguments)
    if leak in probe:
        with pytest.raises(LeakyMaskError, match="see each other"):
            check_isolation(model, VOCABULARY, **probe[leak])


def test_a_model_that_ignores_positions_is_found_before_training():
    class Deaf(torch.nn.Module):
        """Attends to everything before, whatever the positions say."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model_with("sdpa")

        def forward(self, input_ids, position_ids, **kwargs):
            return self.model(input_ids=input_ids, use_cache=False)

    with pytest.raises(LeakyMaskError, match="see each other"):
        check_isolation(Deaf(), VOCABULARY)


def test_other_refusals():
    _, inputs, _ = packed_row()
    with pytest.raises(LeakyMaskError, match="past_key_values"):
        packed_inputs({**inputs, "past_key_values": object()})
    with pytest.raises(LeakyMaskError, match="must start at 0"):
        packed_inputs({**inputs, "position_ids": inputs["position_ids"] + 1})
    assert packed_inputs(inputs)["use_cache"] is False


def test_the_probe_leaves_the_model_as_it_was():
    model = model_with("sdpa").train()
    before = torch.get_rng_state()
    check_isolation(model, VOCABULARY)
    assert model.training
    assert torch.equal(before, torch.get_rng_state())


def test_padding_gives_no_nan():
    packed = plan(np.array([3]), 16)
    rows = packed.fill(np.array([5, 6, 7], dtype=np.uint16), np.array([0, -1]), 1)
    inputs = {"input_ids": torch.from_numpy(rows.ids), "position_ids": torch.from_numpy(rows.positions)}
    for attention in ("sdpa", "eager"):
        assert torch.isfinite(model_with(attention)(**packed_inputs(inputs)).logits).all()
