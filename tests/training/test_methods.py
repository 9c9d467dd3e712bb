"""LoRA and its relatives, 4 bits, gradient checkpointing, rows of new tokens, merging: what is trained, what comes out."""

import copy
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers as tokenizers_library
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from training.after import merge as merging
from training.after.merge import merge
from training.config import LoraConfig, ModelConfig, QuantizationConfig, TrainConfig
from training.errors import CheckpointError, OutputError, TrainingConfigError
from training.model import adapters, build, new_tokens, quantise, start
from training.prepare import prepare
from training.run import checkpoint, lineage
from training.run.train import train
from training.tokens import tokenizer as tokenizers
from training.tokens.tokenizer import CodeTokenizer

ROWS = 64
SIZES = {"hidden_size": 64, "intermediate_size": 128, "layers": 2, "heads": 4}
TEXTS = [f"{n * 2654435761 % 2**32:x}" for n in range(500)]


@pytest.fixture(scope="module")
def tokenizer() -> CodeTokenizer:
    return tokenizers.train(TEXTS, 300)


def with_new_tokens(tokenizer: CodeTokenizer) -> CodeTokenizer:
    """The tokenizer with three control tokens more than the model knows."""
    tree = json.loads(tokenizer.data)
    first = tokenizer.size
    for place, name in enumerate(("<new_a>", "<new_b>", "<new_c>")):
        tree["added_tokens"].append(
            {**tree["added_tokens"][0], "id": first + place, "content": name, "special": True}
        )
    more = CodeTokenizer(json.dumps(tree).encode())
    more.new_ids = (first, first + 1, first + 2)
    assert more.size == first + 3
    return more


def base(folder: Path, tokenizer: CodeTokenizer, name: str = "llama", tied: bool = False) -> Path:
    """A model folder with random weights."""
    settings = ModelConfig(architecture=name, tie_embeddings=tied, **SIZES)
    build.build(settings, tokenizer, ROWS, 0).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def batch(size: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(0, size, (2, 32), generator=torch.Generator().manual_seed(3))
    positions = torch.cat([torch.arange(20), torch.arange(12)])[None].expand(2, -1)
    return {"input_ids": ids, "position_ids": positions, "labels": ids}


def steps(model: Any, inputs: dict[str, torch.Tensor], number: int, half: bool = False) -> list[float]:
    """Losses of some steps of AdamW on one batch."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    losses = []
    for _ in range(number):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model(**inputs, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs, use_cache=False).logits


METHODS: dict[str, dict[str, Any]] = {
    "lora": {},
    "dora": {"dora": True},
    "rslora": {"rslora": True, "alpha": 8.0},
    "all-linear": {"target_modules": "all-linear"},
    "named": {"target_modules": ["q_proj", "v_proj"]},
}


# --- adapters ------------------------------------------------------------------------------------------------------


def test_the_scale_is_alpha_over_rank_or_its_root(tokenizer, tmp_path):
    folder = base(tmp_path, tokenizer)
    for rslora, scale in ((False, 8.0 / 4), (True, 8.0 / 2)):
        model = adapters.add_lora(
            build.load(folder, ModelConfig(path="x"), tokenizer),
            LoraConfig(rank=4, alpha=8.0, rslora=rslora),
            0,
        )
        scales = {m.scaling["default"] for m in model.modules() if hasattr(m, "lora_A")}
        assert scales == {scale}


def test_dropout_is_in_training_only_and_on_adapters_only(tokenizer, tmp_path):
    model = adapters.add_lora(
        build.load(base(tmp_path, tokenizer), ModelConfig(path="x"), tokenizer),
        LoraConfig(rank=4, dropout=0.5),
        0,
    )
    inputs = batch(tokenizer.size)
    steps(model, inputs, 2)
    assert torch.equal(logits(model, inputs), logits(model, inputs))
    model.train()
    with torch.no_grad():
        assert not torch.equal(model(**inputs).logits, model(**inputs).logits)


def test_a_target_that_is_no_module_is_refused_though_others_are(tokenizer, tmp_path):
    """Breach: a name is misspelt, or of another architecture, and its matrices stay as they are without a word."""
    folder = base(tmp_path, tokenizer)
    for names, message in (
        (("q_proj", "gate_porj"), r"no module 'gate_porj'; did you mean 'gate_proj'\?; there are .*q_proj"),
        (("q_proj", "c_attn"), "no module 'c_attn'"),
        (("nothing",), "lora.target_modules"),
    ):
        with pytest.raises(TrainingConfigError, match=message):
            adapters.add_lora(
                build.load(folder, ModelConfig(path="x"), tokenizer), LoraConfig(target_modules=names), 0
            )
    adapters.add_lora(
        build.load(folder, ModelConfig(path="x"), tokenizer),
        LoraConfig(target_modules=("self_attn.q_proj", "layers.1.mlp.up_proj")),
        0,
    )


@pytest.mark.parametrize("names", [("q_proj", "gate_proj", "up_proj"), ("down_proj",)], ids="-".join)
def test_experts_are_adapted_where_they_are_named(names):
    settings = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 16}
    sizes = {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    about = AutoConfig.for_model("qwen3_moe", **settings, **sizes, num_key_value_heads=2)
    model = adapters.add_lora(
        AutoModelForCausalLM.from_config(about), LoraConfig(rank=2, target_modules=names), 0
    )
    assert any("experts" in name for name, p in model.named_parameters() if p.requires_grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_adapters_are_fp32_over_a_base_of_less(dtype, tokenizer, tmp_path):
    model = build.load(base(tmp_path, tokenizer), ModelConfig(path="x"), tokenizer, None, dtype)
    adapted = adapters.add_lora(model, LoraConfig(rank=4), 0)
    for parameter in adapted.parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else dtype)


@pytest.mark.parametrize("four_bits", [False, True], ids=["lora", "qlora"])
def test_every_adapter_gets_a_gradient_with_checkpointing_and_the_same_loss(four_bits, tokenizer, tmp_path):
    folder, inputs = base(tmp_path, tokenizer), batch(tokenizer.size)
    found = []
    for again in (False, True):
        model = build.load(
            folder,
            ModelConfig(path="x"),
            tokenizer,
            quantization=QuantizationConfig() if four_bits else None,
        )
        adapted = adapters.add_lora(model, LoraConfig(rank=4), 0)
        if again:
            start.checkpoint_activations(model, frozen=True)
            assert any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
        with torch.no_grad():  # B begins at 0: A would get no gradient in the first step
            for name, parameter in adapted.named_parameters():
                if "lora_B" in name:
                    parameter.add_(0.01)
        adapted.train()
        loss = adapted(**inputs, use_cache=False).loss
        loss.backward()
        gradients = {n: p.grad for n, p in adapted.named_parameters() if p.requires_grad}
        assert all(g is not None and g.abs().sum() > 0 for g in gradients.values())
        assert not any(p.grad is not None for p in adapted.parameters() if not p.requires_grad)
        found.append((loss.item(), gradients))
    (plain, first), (checkpointed, second) = found
    assert plain == checkpointed
    for name, gradient in first.items():
        torch.testing.assert_close(second[name], gradient, rtol=1e-5, atol=1e-8)


# --- 4 bits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_loss_falls_over_weights_of_4_bits_that_stay_as_they_are(dtype, tokenizer, tmp_path):
    folder = base(tmp_path, tokenizer)
    model = build.load(folder, ModelConfig(path="x"), tokenizer, None, dtype, QuantizationConfig())
    adapted = adapters.add_lora(model, LoraConfig(rank=8), 0)
    frozen = {n: p.detach().clone() for n, p in adapted.named_parameters() if not p.requires_grad}
    inputs = batch(tokenizer.size)
    losses = steps(adapted, inputs, 2, half=dtype == torch.bfloat16)
    logits(
        adapted, inputs
    )  # an evaluation in between must not change what is trained: see quantise.keep_layout
    losses += steps(adapted, inputs, 6, half=dtype == torch.bfloat16)
    assert losses[-1] < losses[0] - 0.2
    now = dict(adapted.named_parameters())
    assert all(torch.equal(now[n], p) for n, p in frozen.items())
    # norms, embeddings and head were not blown up to fp32
    assert {p.dtype for p in frozen.values() if p.dtype != torch.uint8} == {dtype}


def test_memory_of_a_base_in_4_bits_is_what_the_method_says(tokenizer, tmp_path):
    """4 bits, one 8-bit constant for 64 weights, one of 32 bits for 256 of these (arXiv 2305.14314, section 3)."""
    settings = ModelConfig(hidden_size=256, intermediate_size=512, layers=2, heads=4, tie_embeddings=False)
    build.build(settings, tokenizer, ROWS, 0).save_pretrained(tmp_path)
    held = {}
    for double in (True, False):
        model = build.load(
            tmp_path, ModelConfig(path="x"), tokenizer, quantization=QuantizationConfig(double=double)
        )
        model.requires_grad_(False)
        held[double] = quantise.memory(model)
    layer = 4 * 256 * 256 + 3 * 256 * 512
    tables = 7 * 2 * 4 * 16  # of each matrix: the 16 values that 4 bits can mean, in fp32
    nested = 7 * 2 * 4 * 256  # and, with double quantisation, the 256 of 8 bits
    for parts in held.values():
        assert parts["weights_quantised"] == 2 * layer
        assert parts["quantised"] == 2 * layer / 2
        assert parts["trained"] == 0
        assert parts["other"] == 4 * (2 * tokenizer.size * 256 + 5 * 256)
    assert held[False]["constants"] == 4 * 2 * layer / 64 + tables
    assert held[True]["constants"] == 2 * layer / 64 + 4 * 2 * layer / 64 / 256 + tables + nested
    assert build.parameters(model) == (2 * layer + 2 * tokenizer.size * 256 + 5 * 256, 0)
    assert "% of the base's weights" in quantise.describe(model)


def test_a_missing_bitsandbytes_names_the_extra(tokenizer, tmp_path, monkeypatch):
    base(tmp_path, tokenizer)
    monkeypatch.setattr(quantise.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(TrainingConfigError, match=r"pip install 'stackmill\[train\]'"):
        build.load(tmp_path, ModelConfig(path="x"), tokenizer, quantization=QuantizationConfig())


# --- new tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_new_rows_are_the_mean_and_alone_are_trained(tied, tokenizer, tmp_path):
    folder, more = base(tmp_path, tokenizer, tied=tied), with_new_tokens(tokenizer)
    model = build.load(folder, ModelConfig(path="x"), more)
    before = model.get_input_embeddings().weight.detach().clone()
    head_before = model.get_output_embeddings().weight.detach().clone()
    assert new_tokens.add_rows(model, more) == 3
    assert new_tokens.tied(model) == tied
    rows, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert rows.shape[0] == head.shape[0] == more.size
    assert torch.equal(rows[: tokenizer.size], before)
    for row in rows[tokenizer.size :]:
        torch.testing.assert_close(row, before.mean(0))
    for row in head[tokenizer.size :]:
        torch.testing.assert_close(row, head_before.mean(0))
    adapted = adapters.add_lora(model, LoraConfig(rank=4), 0, new_tokens.ids_of(more))
    trained = [n for n, p in adapted.named_parameters() if p.requires_grad and "trainable_tokens" in n]
    assert len(trained) == (1 if tied else 2)
    assert all(dict(adapted.named_parameters())[n].shape == (3, 64) for n in trained)
    inputs = batch(more.size)
    inputs["input_ids"][:, 4:7] = inputs["labels"][:, 4:7] = torch.arange(tokenizer.size, more.size)
    losses = steps(adapted, inputs, 4)
    assert losses[-1] < losses[0]
    assert not torch.equal(dict(adapted.named_parameters())[trained[0]], rows[tokenizer.size :])
    base_rows = next(
        p for n, p in adapted.named_parameters() if "embed_tokens" in n and p.shape == rows.shape
    )
    assert torch.equal(base_rows[: tokenizer.size], before)


def test_a_padded_vocabulary_is_not_made_larger(tokenizer, tmp_path):
    settings = ModelConfig(tie_embeddings=False, **SIZES)
    model = build.build(settings, tokenizer, ROWS, 0)
    model.resize_token_embeddings(tokenizer.size + 20, mean_resizing=False)
    more = with_new_tokens(tokenizer)
    mean = model.get_input_embeddings().weight[: tokenizer.size].detach().mean(0)
    new_tokens.add_rows(model, more)
    rows = model.get_input_embeddings().weight
    assert rows.shape[0] == tokenizer.size + 20
    torch.testing.assert_close(rows[more.size - 1], mean)


def test_a_vocabulary_that_does_not_fit_is_still_refused(tokenizer, tmp_path):
    folder, more = base(tmp_path, tokenizer), with_new_tokens(tokenizer)
    more.new_ids = more.new_ids[:1]
    with pytest.raises(TrainingConfigError, match="do not belong together"):
        build.load(folder, ModelConfig(path="x"), more)


# --- merging -------------------------------------------------------------------------------------------------------


def adapter(
    folder: Path,
    base_folder: Path,
    tokenizer: CodeTokenizer,
    lora: dict[str, Any],
    four_bits: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Any:
    """A checkpoint of an adapter trained for some steps; the model."""
    model = build.load(
        base_folder,
        ModelConfig(path="x"),
        tokenizer,
        None,
        dtype,
        QuantizationConfig() if four_bits else None,
    )
    new_tokens.add_rows(model, tokenizer)
    adapted = adapters.add_lora(model, LoraConfig(rank=4, **lora), 0, new_tokens.ids_of(tokenizer))
    steps(adapted, batch(tokenizer.size), 4)
    adapted.save_pretrained(str(folder))
    tokenizer.save(folder)
    about = {
        "schema_version": 2,
        "base": {"kind": "folder", "name": "base", "digest": merging.bases.digest_of(base_folder)},
        "config": {
            "model": {"path": str(base_folder)},
            "quantization": {"type": "nf4", "double": True} if four_bits else None,
        },
    }
    (folder / "lineage.json").write_text(json.dumps(about))
    return adapted


@pytest.mark.parametrize(
    ("name", "method"), [*(("llama", method) for method in METHODS), ("gpt2", "lora"), ("gpt2", "dora")]
)
def test_merged_is_base_and_adapter(name, method, tokenizer, tmp_path):
    folder = base(tmp_path / "base", tokenizer, name)
    model = adapter(tmp_path / "adapter", folder, tokenizer, METHODS[method])
    lines: list[str] = []
    done = merge(tmp_path / "adapter", tmp_path / "out", report=lines.append)
    assert done.moved < 1e-4
    assert "logits moved by at most" in lines[-1]
    inputs = batch(tokenizer.size)
    del inputs["labels"]
    merged = build.load(tmp_path / "out", ModelConfig(path="x"), tokenizer)
    torch.testing.assert_close(logits(merged, inputs), logits(model, inputs), rtol=1e-4, atol=1e-5)
    assert not torch.equal(
        logits(merged, inputs), logits(build.load(folder, ModelConfig(path="x"), tokenizer), inputs)
    )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "lineage.json",
    }
    assert not any("adapter" in name for name in names)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "adapter", "out"}


def test_a_base_with_few_positions_of_its_own_is_merged(tokenizer, tmp_path):
    """Breach: 48 tokens are asked of a model that has learnt 16 positions, and it ends in an IndexError."""
    build.build(ModelConfig(architecture="gpt2", **SIZES), tokenizer, 16, 0).save_pretrained(
        tmp_path / "base"
    )
    model = build.load(tmp_path / "base", ModelConfig(path="x"), tokenizer)
    adapters.add_lora(model, LoraConfig(rank=2), 0).save_pretrained(str(tmp_path / "adapter"))
    tokenizer.save(tmp_path / "adapter")
    assert merge(tmp_path / "adapter", tmp_path / "out", base=str(tmp_path / "base")).moved < 1e-4


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_new_tokens_survive_merging_and_reading_again(tied, tokenizer, tmp_path):
    folder, more = base(tmp_path / "base", tokenizer, tied=tied), with_new_tokens(tokenizer)
    model = adapter(tmp_path / "adapter", folder, more, {})
    saved = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert not any(value.shape[0] == more.size for value in saved.values())  # three rows, not all
    merge(tmp_path / "adapter", tmp_path / "out")
    merged = build.load(tmp_path / "out", ModelConfig(path="x"), more)
    assert merged.config.vocab_size == more.size
    assert new_tokens.tied(merged) == tied
    assert CodeTokenizer.load(tmp_path / "out").digest == more.digest
    inputs = batch(more.size)
    inputs["input_ids"][:, 4:7] = torch.arange(tokenizer.size, more.size)
    del inputs["labels"]
    torch.testing.assert_close(logits(merged, inputs), logits(model, inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_an_adapter_over_4_bits_goes_into_the_base_as_it_was_and_says_what_that_costs(
    name, tokenizer, tmp_path
):
    folder = base(tmp_path / "base", tokenizer, name)
    adapter(tmp_path / "adapter", folder, tokenizer, {}, four_bits=True)
    lines: list[str] = []
    done = merge(tmp_path / "adapter", tmp_path / "out", report=lines.append)
    assert done.moved < 1e-4
    assert done.quantised_moved is not None
    assert 0 < done.quantised_moved[1] < done.quantised_moved[0] < 2
    assert any("over a base in 4 bits" in line for line in lines)
    assert "quantization_config" not in json.loads((tmp_path / "out/config.json").read_text())


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_the_precision_written_can_be_chosen(dtype, tokenizer, tmp_path):
    adapter(tmp_path / "adapter", base(tmp_path / "base", tokenizer), tokenizer, {})
    done = merge(tmp_path / "adapter", tmp_path / "out", dtype=dtype)
    assert 0 < done.moved <= done.tolerance / 5
    assert {v.dtype for v in load_file(tmp_path / "out/model.safetensors").values()} == {
        merging.DTYPES[dtype]
    }


def test_what_rounding_takes_from_a_small_adapter_is_said(tokenizer, tmp_path):
    folder = base(tmp_path / "base", tokenizer)
    adapter(tmp_path / "adapter", folder, tokenizer, {})
    saved = load_file(tmp_path / "adapter/adapter_model.safetensors")
    small = {name: value * 1e-3 if "lora_B" in name else value for name, value in saved.items()}
    save_file(small, tmp_path / "adapter/adapter_model.safetensors", {"format": "pt"})
    for dtype in ("bf16", "fp32"):
        lines: list[str] = []
        merge(tmp_path / "adapter", tmp_path / dtype, dtype=dtype, report=lines.append)
        assert any("merge with --dtype fp32" in line for line in lines) == (dtype == "bf16")


def test_a_merge_that_does_not_hold_leaves_nothing_behind(tokenizer, tmp_path, monkeypatch):
    adapter(tmp_path / "adapter", base(tmp_path / "base", tokenizer), tokenizer, {})
    genuine = merging._merged

    def wrong(*arguments):
        merged = genuine(*arguments)
        with torch.no_grad():
            merged.model.layers[0].mlp.up_proj.weight[0] += 0.5
        return merged

    monkeypatch.setattr(merging, "_merged", wrong)
    with pytest.raises(CheckpointError, match="a logit moves by"):
        merge(tmp_path / "adapter", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"base", "adapter"}


def test_what_cannot_be_merged_is_told_plainly(tokenizer, tmp_path):
    folder = base(tmp_path / "base", tokenizer)
    adapter(tmp_path / "adapter", folder, tokenizer, {})
    with pytest.raises(TrainingConfigError, match="a whole model and no adapter"):
        merge(folder, tmp_path / "out")
    with pytest.raises(TrainingConfigError, match="neither a checkpoint with an adapter"):
        merge(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(TrainingConfigError, match="exists already"):
        merge(tmp_path / "adapter", folder)
    with pytest.raises(OutputError, match="cannot be written"):
        merge(tmp_path / "adapter", "/proc/nowhere/out")
    # another base
    shutil.copytree(folder, tmp_path / "other")
    weights = load_file(tmp_path / "other/model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, tmp_path / "other/model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"base with digest .* is not at .*found instead.*--base"):
        merge(tmp_path / "adapter", tmp_path / "out", base=str(tmp_path / "other"))
    # moved: found again with --base
    folder.rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match="Say where it is with --base"):
        merge(tmp_path / "adapter", tmp_path / "out")
    assert merge(tmp_path / "adapter", tmp_path / "out", base=str(tmp_path / "moved")).moved < 1e-4
    shutil.rmtree(tmp_path / "out")
    # an adapter that is torn or of other shapes
    (tmp_path / "adapter/lineage.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"lineage\.json: cannot be read"):
        merge(tmp_path / "adapter", tmp_path / "out", base=str(tmp_path / "moved"))
    (tmp_path / "adapter/lineage.json").unlink()
    saved = load_file(tmp_path / "adapter/adapter_model.safetensors")
    name = next(iter(saved))
    saved[name] = torch.full((4, 3), 0.5)
    save_file(saved, tmp_path / "adapter/adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        merge(tmp_path / "adapter", tmp_path / "out", base=str(tmp_path / "moved"))
    assert not (tmp_path / "out").exists()


# --- whole runs ----------------------------------------------------------------------------------------------------


def run(settings: dict[str, Any], lines: list[str] | None = None, **more: Any) -> dict[str, Any]:
    report = (lines if lines is not None else []).append
    return train(TrainConfig.model_validate({**copy.deepcopy(settings), **more}), report)


def plain_tokenizer(folder: Path) -> Path:
    """A folder with a byte-level tokenizer that knows the end of text and no other control token."""
    tool = tokenizers_library.Tokenizer(tokenizers_library.models.BPE())
    tool.pre_tokenizer = tokenizers_library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tool.decoder = tokenizers_library.decoders.ByteLevel()
    trainer = tokenizers_library.trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(tokenizers_library.pre_tokenizers.ByteLevel.alphabet()),
    )
    tool.train_from_iterator(TEXTS, trainer)
    folder.mkdir()
    (folder / "tokenizer.json").write_text(tool.to_str())
    return folder


def test_a_base_without_fill_in_the_middle_learns_it_over_4_bits_is_merged_and_goes_on(settings, tmp_path):
    """A run; on its output adapters over 4 bits with new tokens, killed and resumed; one model; training on that."""
    small = {k: v for k, v in settings.items() if k != "tokenizer"} | {
        "data": {"sequence_length": 64, "max_train_bytes": 20_000},
        "evaluation": {"every": 4, "fraction": 0.2, "near": None, "max_bytes": 2_000},
        "save_every": 2,
    }
    nothing_held_out = {"fraction": 0.0}
    plain = {**small["data"], "fim": {"rate": 0.0}}
    with pytest.raises(TrainingConfigError, match=r"tokenizer\.add_missing: true"):
        run(small, tokenizer={"path": str(plain_tokenizer(tmp_path / "tokenizer"))})
    first = run(
        small,
        steps=1,
        data=plain,
        evaluation=nothing_held_out,
        tokenizer={"path": str(tmp_path / "tokenizer")},
    )
    lines: list[str] = []
    second = {
        **small,
        "output": str(tmp_path / "qlora"),
        "model": {"path": settings["output"]},
        "tokenizer": {"add_missing": True},
        "lora": {"rank": 4},
        "quantization": {},
        "gradient_checkpointing": True,
        "optimizer": {"learning_rate": 2e-2},
        "steps": 4,
    }
    checkpoint_folder = Path(run(second, lines)["checkpoint"])
    assert any("quantised: " in line for line in lines)
    assert any("new tokens: " in line for line in lines)
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines if "held-out loss" in line]
    assert losses[-1] < losses[0]
    about = json.loads((checkpoint_folder / "lineage.json").read_text())
    assert about["base"] == {
        "kind": "checkpoint",
        "name": Path(first["checkpoint"]).name,
        "digest": checkpoint.digest(Path(first["checkpoint"])),
    }
    # never over another base, though it has the same name
    config = TrainConfig.model_validate(second)
    prepared = prepare(config, lines.append)
    lineage.same_run(checkpoint_folder, config, prepared)
    other = dataclasses.replace(prepared, base_facts={**prepared.base_facts, "digest": "0" * 64})
    with pytest.raises(CheckpointError, match=r"another run \(base model differ"):
        lineage.same_run(checkpoint_folder, config, other)
    # resumed to the same bits
    adapter_bytes = (checkpoint_folder / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(checkpoint_folder)
    assert run(second)["resumed_from"].endswith("step-00000002")
    assert (checkpoint_folder / "adapter_model.safetensors").read_bytes() == adapter_bytes
    # one model
    done = merge(tmp_path / "qlora", tmp_path / "merged")
    assert done.base == first["checkpoint"]
    merged = CodeTokenizer.load(tmp_path / "merged")
    assert merged.control.prefix is not None
    assert build.load(tmp_path / "merged", ModelConfig(path="x"), merged).config.vocab_size == merged.size
    parent = json.loads((tmp_path / "merged/lineage.json").read_text())["parent"]
    assert parent["checkpoint_digest"] == checkpoint.digest(checkpoint_folder)
    assert parent["lineage"] == json.loads((checkpoint_folder / "lineage.json").read_text())
    # which can fill in the middle, and go on
    third = run(
        small,
        output=str(tmp_path / "more"),
        model={"path": str(tmp_path / "merged")},
        evaluation=nothing_held_out,
        steps=1,
    )
    about = json.loads((Path(third["checkpoint"]) / "lineage.json").read_text())
    assert about["base"]["digest"] == merging.bases.digest_of(tmp_path / "merged")
    assert about["parent"]["lineage"]["parent"]["checkpoint_digest"] == parent["checkpoint_digest"]


@pytest.mark.parametrize("attention", ["flex_attention", "flash_attention_2", "flash_attention_3"])
def test_attention_that_a_processor_cannot_train_with_is_refused(attention, settings):
    settings["model"]["attention"] = attention
    config = TrainConfig.model_validate(settings)
    with pytest.raises(TrainingConfigError, match=f"{attention} .* on a processor"):
        start.model_for(config, prepare(config, [].append), [].append)


def test_the_command(tokenizer, tmp_path):
    import typer
    from typer.testing import CliRunner

    from pipeline.cli import merge as command
    from pipeline.errors import ConfigError, IntegrityError, SourceError

    folder = base(tmp_path / "base", tokenizer)
    adapter(tmp_path / "adapter", folder, tokenizer, {})
    app = typer.Typer()
    command.register(app)
    app.command("other")(lambda: None)

    def invoke(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["merge", *map(str, arguments)])

    done = invoke(tmp_path / "adapter", "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["folder"] == str(tmp_path / "out")
    assert "read again" in done.stderr
    assert isinstance(invoke(tmp_path / "adapter", "--out", tmp_path / "out").exception, ConfigError)
    assert isinstance(
        invoke(tmp_path / "adapter", "--out", tmp_path / "x", "--dtype", "x").exception, ConfigError
    )
    assert isinstance(invoke(tmp_path / "adapter", "--out", "/proc/x/y").exception, SourceError)
    folder.rename(tmp_path / "gone")
    error = invoke(tmp_path / "adapter", "--out", tmp_path / "x").exception
    assert isinstance(error, IntegrityError)
