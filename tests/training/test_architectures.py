"""Any causal architecture of transformers: built from the same keys, causal, packed documents apart, and it learns."""

from typing import Any

import pytest
import torch

from training.config import LoraConfig, ModelConfig, TrainConfig
from training.errors import LeakyMaskError, TrainingConfigError
from training.model import adapters, architectures, build, start
from training.model.attention import packed_inputs
from training.tokens.tokenizer import CodeTokenizer, train

ROWS = 64
MLA = {
    "q_lora_rank": 24,
    "kv_lora_rank": 24,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
}
MOE = {
    "moe_intermediate_size": 32,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
}

WORKS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": 8},
    "ministral3": {},
    "starcoder2": {},
    "gemma": {},
    "gemma2": {},
    "gemma3_text": {},
    "phi": {"kv_heads": None},
    "phi3": {},
    "gpt2": {"kv_heads": None},
    "gpt_bigcode": {"kv_heads": 1},
    "gpt_neox": {"kv_heads": None},
    "codegen": {"kv_heads": None, "rotary_dim": 8},
    "olmo2": {},
    "olmo3": {},
    "granite": {},
    "cohere": {},
    "cohere2": {},
    "glm4": {},
    "exaone4": {},
    "smollm3": {},
    "seed_oss": {},
    "nemotron": {},
    "stablelm": {},
    "internlm3": {},
    "apertus": {},
    "ernie4_5": {},
    "minicpm3": {"kv_heads": None, **MLA},
    "mixtral": {"num_local_experts": 4},
    "qwen2_moe": {"moe_intermediate_size": 32, "num_experts": 4, "shared_expert_intermediate_size": 32},
    "qwen3_moe": {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "granitemoe": {"num_local_experts": 4},
    "deepseek_v2": {"kv_heads": None, **MLA, **MOE, "topk_method": "greedy", "first_k_dense_replace": 1},
    "deepseek_v3": {"kv_heads": None, **MLA, **MOE, "first_k_dense_replace": 1},
}
"""What worked when it was tried; further keys of `model.config` that make it small."""

LEAKS = ("gpt_oss", "falcon", "bloom", "opt", "recurrent_gemma", "minimax")
"""Architectures whose masks transformers does not derive from position ids, or that carry a state along the row."""


@pytest.fixture(scope="module")
def tokenizer() -> CodeTokenizer:
    return train([f"{n * 2654435761 % 2**32:x}" for n in range(500)], 300)


def settings(name: str, further: dict[str, Any]) -> ModelConfig:
    further = dict(further)
    kv = further.pop("kv_heads", 2)
    return ModelConfig(
        architecture=name,
        hidden_size=64,
        intermediate_size=further.pop("intermediate_size", 96),
        layers=2,
        heads=4,
        kv_heads=kv,
        tie_embeddings=False,
        config=further,
    )


def made(name: str, further: dict[str, Any], tokenizer: CodeTokenizer) -> Any:
    return build.build(settings(name, further), tokenizer, ROWS, 0)


def proven(model: Any, vocab_size: int) -> str:
    names, _ = architectures.attentions("auto", type(model), gpu=False, half=False, sequence_length=ROWS)
    return start._checked(model, model, names, vocab_size, torch.autocast("cpu", enabled=False), print)


@pytest.mark.parametrize("name", WORKS)
def test_an_architecture_is_built_proven_and_learns(name, tokenizer):
    model = made(name, WORKS[name], tokenizer)
    assert proven(model, tokenizer.size) in {"sdpa", "eager"}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not model.config.use_cache
    ids = torch.randint(0, tokenizer.size, (2, 32), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([torch.arange(20), torch.arange(12)])[None].expand(2, -1)
    inputs = packed_inputs({"input_ids": ids, "position_ids": positions, "labels": ids})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    model.train()
    for _ in range(2):
        loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    # adapters find its matrices, and change nothing until they are trained
    model.eval()
    before = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    adapted = adapters.add_lora(model, LoraConfig(rank=2), 0).eval()
    assert torch.equal(adapted(input_ids=ids, position_ids=positions, use_cache=False).logits, before)
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert len(trained) >= 2 * 2 * 2
    assert not any("lm_head" in name or "gate.lora" in name or "router" in name for name in trained)


@pytest.mark.parametrize("name", LEAKS)
def test_one_that_does_not_keep_documents_apart_is_refused(name, tokenizer):
    further: dict[str, Any] = {"kv_heads": None} if name in {"bloom", "opt", "falcon"} else {}
    if name == "bloom":
        further["intermediate_size"] = None
    if name == "opt":
        further["word_embed_proj_dim"] = 64
    model = made(name, further, tokenizer)
    with pytest.raises(LeakyMaskError, match="see each other"):
        proven(model, tokenizer.size)


def test_one_that_sees_later_tokens_is_refused_until_it_is_a_decoder(tokenizer):
    with pytest.raises(TrainingConfigError, match=r"sees later tokens.*is_decoder: true"):
        proven(made("bert", {"kv_heads": None}, tokenizer), tokenizer.size)
    with pytest.raises(LeakyMaskError):  # causal then, but not made for packed rows
        proven(made("bert", {"kv_heads": None, "is_decoder": True}, tokenizer), tokenizer.size)


def test_sizes_are_the_same_under_every_name(tokenizer):
    for name in ("llama", "gpt2", "gpt_bigcode", "starcoder2", "codegen"):
        config = made(name, WORKS[name], tokenizer).config
        assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (64, 2, 4)
        assert config.max_position_embeddings == ROWS
        assert config.vocab_size == tokenizer.size
    assert made("gpt_bigcode", {"kv_heads": 1}, tokenizer).config.multi_query
    assert not made("gpt_bigcode", {"kv_heads": 4}, tokenizer).config.multi_query


@pytest.mark.parametrize(
    ("name", "further", "message"),
    [
        ("lama", {}, "no causal language model 'lama'; did you mean 'llama'"),
        ("gemma3", {}, "several models.*use 'gemma3_text'"),
        ("mamba", {"kv_heads": None, "intermediate_size": None}, "mamba has no number of heads"),
        ("llama", {"atention_bias": True}, "llama has no key 'atention_bias'; did you mean 'attention_bias'"),
        ("llama", {"hidden_size": 8}, "'hidden_size' is decided by model.hidden_size"),
        ("gpt2", {"n_layer": 8}, "'n_layer' is decided by model.layers"),
        ("llama", {"vocab_size": 8}, "'vocab_size' is decided by the tokenizer"),
        ("llama", {"attention_bias": "x"}, "llama cannot be built so.*attention_bias"),
        ("gpt2", {"kv_heads": 2}, "model.kv_heads: gpt2 has no such size; set it to null"),
        ("gpt_bigcode", {"kv_heads": 2}, r"can have 1 or as many as heads \(4\), not 2"),
        ("bloom", {"kv_heads": None}, "model.intermediate_size: bloom has no such size"),
        ("llama", {"max_position_embeddings": 32}, "64 tokens, but this llama has 32 positions"),
    ],
)
def test_mistakes_are_told_plainly(name, further, message, tokenizer):
    with pytest.raises(TrainingConfigError, match=message):
        made(name, further, tokenizer)


def test_a_forward_pass_that_fails_is_told_plainly(tokenizer):
    model = made("codegen", {"kv_heads": None}, tokenizer)  # its rotary_dim of 64 is more than a head of 16
    with pytest.raises(TrainingConfigError, match="forward pass of this codegen fails"):
        proven(model, tokenizer.size)


def test_what_does_not_hold_is_said_and_the_next_attention_tried(tokenizer, monkeypatch):
    model = made("llama", {}, tokenizer)
    genuine, lines = start.attention.check_isolation, []

    def check(model, vocab_size, **more):
        if model.config._attn_implementation == "sdpa":
            raise LeakyMaskError("documents in a packed row see each other")
        genuine(model, vocab_size, **more)

    monkeypatch.setattr(start.attention, "check_isolation", check)
    used = start._checked(
        model, model, ["sdpa", "eager"], 300, torch.autocast("cpu", enabled=False), lines.append
    )
    assert used == "eager"
    assert model.config._attn_implementation == "eager"
    assert lines == ["attention sdpa is not used (documents in a packed row see each other); eager is tried"]
    model.set_attn_implementation("sdpa")
    with pytest.raises(LeakyMaskError):
        start._checked(model, model, ["sdpa"], 300, torch.autocast("cpu", enabled=False), lines.append)


def test_the_fastest_attention_that_can_be_is_first(monkeypatch):
    llama = architectures.MODEL_FOR_CAUSAL_LM_MAPPING[architectures.configuration_class("llama")]
    choose = architectures.attentions
    assert choose("eager", llama, gpu=False, half=False, sequence_length=64) == (["eager"], {})
    names, no = choose("auto", llama, gpu=False, half=False, sequence_length=64)
    assert names == ["sdpa", "eager"]
    assert no["flash_attention_2"] == "no GPU"
    monkeypatch.setattr(architectures, "is_flash_attn_2_available", lambda: True)
    names, no = choose("auto", llama, gpu=True, half=True, sequence_length=64)
    assert names == ["flash_attention_2", "sdpa", "eager"]
    names, no = choose("auto", llama, gpu=True, half=False, sequence_length=9000)
    assert names == ["flex_attention", "sdpa", "eager"]
    assert no["flash_attention_2"] == "precision is fp32"


def test_rope_scaling_of_a_built_and_a_loaded_model(tokenizer, tmp_path):
    yarn = {"rope_type": "yarn", "factor": 4.0}
    built = build.build(ModelConfig(rope_scaling=yarn, rope_theta=5000.0), tokenizer, ROWS, 0)
    assert built.config.rope_parameters == {
        "rope_type": "yarn",
        "factor": 4.0,
        "rope_theta": 5000.0,
        "original_max_position_embeddings": 16,
    }
    assert built.config.max_position_embeddings == ROWS
    build.build(ModelConfig(rope_theta=5000.0), tokenizer, ROWS, 0).save_pretrained(tmp_path)
    with pytest.raises(
        TrainingConfigError, match=r"200 tokens, but this llama has 64 positions.*factor: 4\.0"
    ):
        build.load(tmp_path, ModelConfig(path="x"), tokenizer, 200)
    loaded = build.load(tmp_path, ModelConfig(path="x", rope_scaling=yarn), tokenizer, 200)
    assert loaded.config.rope_parameters["rope_theta"] == 5000.0  # its own
    assert loaded.config.rope_parameters["original_max_position_embeddings"] == 64
    assert loaded.config.max_position_embeddings == 256
    linear = build.load(
        tmp_path, ModelConfig(path="x", rope_scaling={"rope_type": "linear", "factor": 2.0}), tokenizer, 128
    )
    start.attention.check_isolation(linear, tokenizer.size)


@pytest.mark.parametrize(
    ("name", "scaling", "message"),
    [
        ("llama", {"rope_type": "yran", "factor": 2.0}, "no rope_type 'yran'; did you mean 'yarn'"),
        ("llama", {"rope_type": "yarn", "facter": 2.0}, "no key 'facter'; did you mean 'factor'"),
        ("llama", {"rope_type": "yarn"}, "factor"),
        ("llama", {"rope_type": "yarn", "factor": 0.5}, "at least 1, not 0.5"),
        ("llama", {"rope_type": "yarn", "factor": "4"}, "at least 1, not '4'"),
        ("gpt2", {"rope_type": "yarn", "factor": 2.0}, "gpt2 has no rotary positions"),
        ("gemma3_text", {"rope_type": "yarn", "factor": 2.0}, "give them under .*full_attention"),
    ],
)
def test_mistakes_in_rope_scaling_are_told_plainly(name, scaling, message, tokenizer):
    model = settings(name, WORKS[name]).model_copy(update={"rope_scaling": scaling})
    with pytest.raises(TrainingConfigError, match=message):
        build.build(model, tokenizer, ROWS, 0)


def test_a_scaling_that_depends_on_the_row_is_refused_beyond_the_original_positions(tokenizer, tmp_path):
    """One long document would change the angles of all that are packed beside it."""
    build.build(ModelConfig(), tokenizer, ROWS, 0).save_pretrained(tmp_path)
    dynamic = ModelConfig(
        path="x", rope_scaling={"rope_type": "dynamic", "factor": 4.0}, config={"max_position_embeddings": 64}
    )
    with pytest.raises(TrainingConfigError, match=r"64 positions"):
        build.load(tmp_path, dynamic, tokenizer, 128)
    build.load(tmp_path, dynamic, tokenizer, 64)
    longrope = {
        "rope_type": "longrope",
        "factor": 4.0,
        "short_factor": [1.0] * 16,
        "long_factor": [4.0] * 16,
        "original_max_position_embeddings": 32,
    }
    model = ModelConfig(path="x", rope_scaling=longrope)
    with pytest.raises(TrainingConfigError, match="longest document beyond 32 positions"):
        build.load(tmp_path, model, tokenizer, 64)
    build.load(tmp_path, model, tokenizer, 32)


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "code.Model"}}'
    )
    (tmp_path / "code.py").write_text("raise SystemExit('was run')")
    with pytest.raises(TrainingConfigError, match="no architecture 'mine'; it brings its own code"):
        build.read_config(tmp_path, ModelConfig(path="x"))


def test_keys_of_a_loaded_model_can_be_changed(tokenizer, tmp_path):
    build.build(ModelConfig(), tokenizer, ROWS, 0).save_pretrained(tmp_path)
    loaded = build.load(tmp_path, ModelConfig(path="x", config={"attention_dropout": 0.1}), tokenizer)
    assert loaded.config.attention_dropout == 0.1
    with pytest.raises(TrainingConfigError, match="did you mean 'attention_dropout'"):
        build.load(tmp_path, ModelConfig(path="x", config={"atention_dropout": 0.1}), tokenizer)
    with pytest.raises(TrainingConfigError, match=r"decided by the model at model\.path"):
        build.load(tmp_path, ModelConfig(path="x", config={"num_hidden_layers": 1}), tokenizer)


def test_a_quantised_base_is_refused(tokenizer, tmp_path):
    build.build(ModelConfig(), tokenizer, ROWS, 0).save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(
        text.replace(
            "{", '{"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true},', 1
        )
    )
    with pytest.raises(TrainingConfigError, match="quantised already"):
        build.load(tmp_path, ModelConfig(path="x"), tokenizer)


@pytest.mark.parametrize(
    ("wanted", "gpu", "bf16", "found"),
    [
        ("auto", False, False, "fp32"),
        ("auto", True, True, "bf16"),
        ("auto", True, False, "fp32"),
        ("bf16", False, False, "bf16"),
        ("bf16", True, False, None),
        ("fp16", True, False, "fp16"),
        ("fp16", False, False, None),
    ],
)
def test_precision_is_what_the_machine_has(wanted, gpu, bf16, found, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
    config = TrainConfig.model_validate({"release": "r", "output": "o", "steps": 1, "precision": wanted})
    if found is None:
        with pytest.raises(TrainingConfigError, match="precision"):
            build.precision(config)
    else:
        assert build.precision(config) == found


def test_the_list_in_the_documentation_is_what_is_tried():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs/training-methods.md").read_text()
    for name in (*WORKS, *LEAKS):
        assert f"`{name}`" in page, name
