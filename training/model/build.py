"""The model: built from sizes, or loaded from a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from training.config import ModelConfig
from training.errors import TrainingConfigError
from training.tokens.tokenizer import CodeTokenizer


def implementation(model: ModelConfig) -> str:
    """The attention that `model.attention` means on this machine."""
    return "sdpa" if model.attention == "auto" else model.attention


def llama_config(model: ModelConfig, tokenizer: CodeTokenizer, sequence_length: int) -> LlamaConfig:
    """The transformers configuration of a model built from sizes."""
    control = tokenizer.control
    return LlamaConfig(
        vocab_size=tokenizer.size,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.kv_heads,
        max_position_embeddings=sequence_length,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_theta},
        tie_word_embeddings=model.tie_embeddings,
        bos_token_id=None,
        eos_token_id=control.end_of_text,
        # The embedding of the padding id is never trained: where it is also the end of text, it is not told.
        pad_token_id=control.pad if control.pad != control.end_of_text else None,
        use_cache=False,
        attn_implementation=implementation(model),
    )


def build(model: ModelConfig, tokenizer: CodeTokenizer, sequence_length: int, seed: int) -> PreTrainedModel:
    """A freshly initialised model in fp32: the same seed gives the same weights."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(llama_config(model, tokenizer, sequence_length))


def load(folder: Path, settings: ModelConfig, tokenizer: CodeTokenizer) -> PreTrainedModel:
    """A trained model from a local folder, in fp32.

    Raises:
        TrainingConfigError: no model there, or a vocabulary that the tokenizer does not fit.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=implementation(settings), local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise TrainingConfigError(f"{folder}: no model that can be loaded: {error}") from error
    model.config.use_cache = False
    entries = model.get_input_embeddings().weight.shape[0]
    if tokenizer.size > entries:
        raise TrainingConfigError(
            f"the tokenizer has {tokenizer.size} entries, the model at {folder} only {entries}: they "
            "do not belong "
            "together; leave tokenizer.path out to use the model's own"
        )
    return model


def parameters(model: torch.nn.Module) -> tuple[int, int]:
    """(all, trainable) parameters; tied ones are counted once."""
    known = {id(p): p for p in model.parameters()}
    return sum(p.numel() for p in known.values()), sum(p.numel() for p in known.values() if p.requires_grad)
