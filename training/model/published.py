"""Sizes of well-known models, as their own config.json says: for planning without a download, and for measuring.

A dry run of `model.path: Qwen/Qwen2.5-Coder-7B` needs sizes only. Where the model's folder or the Hub client's cache has
its config.json, that is read; these are for when it is not there. Each is held to the number of parameters that its
authors publish (tests/training/test_memory.py).
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any


def _sizes(  # noqa: PLR0917
    hidden: int, layers: int, heads: int, kv: int, feed_forward: int, entries: int, tied: bool, **more: Any
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": feed_forward,
        "vocab_size": entries,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 32_768,
        **more,
    }


# name without its organisation -> (model_type, keys of its configuration, parameters in 10^9 as published, source)
MODELS: dict[str, tuple[str, dict[str, Any], float, str]] = {
    "Qwen2.5-0.5B": ("qwen2", _sizes(896, 24, 14, 2, 4864, 151_936, True), 0.49, "arXiv 2412.15115"),
    "Qwen2.5-1.5B": ("qwen2", _sizes(1536, 28, 12, 2, 8960, 151_936, True), 1.54, "arXiv 2412.15115"),
    "Qwen2.5-3B": ("qwen2", _sizes(2048, 36, 16, 2, 11_008, 151_936, True), 3.09, "arXiv 2412.15115"),
    "Qwen2.5-7B": ("qwen2", _sizes(3584, 28, 28, 4, 18_944, 152_064, False), 7.61, "arXiv 2412.15115"),
    "Qwen2.5-14B": ("qwen2", _sizes(5120, 48, 40, 8, 13_824, 152_064, False), 14.7, "arXiv 2412.15115"),
    "Qwen2.5-32B": ("qwen2", _sizes(5120, 64, 40, 8, 27_648, 152_064, False), 32.5, "arXiv 2412.15115"),
    "Qwen3-8B": (
        "qwen3",
        _sizes(4096, 36, 32, 8, 12_288, 151_936, False, head_dim=128),
        8.2,
        "arXiv 2505.09388",
    ),
    "Qwen3-Coder-30B-A3B": (
        "qwen3_moe",
        _sizes(
            2048,
            48,
            32,
            4,
            6144,
            151_936,
            False,
            head_dim=128,
            num_experts=128,
            num_experts_per_tok=8,
            moe_intermediate_size=768,
        ),
        30.5,
        "arXiv 2505.09388",
    ),
    "Llama-3.1-8B": ("llama", _sizes(4096, 32, 32, 8, 14_336, 128_256, False), 8.03, "arXiv 2407.21783"),
    "Llama-3.2-1B": (
        "llama",
        _sizes(2048, 16, 32, 8, 8192, 128_256, True, head_dim=64),
        1.23,
        "model card of Llama 3.2",
    ),
    "Llama-3.2-3B": (
        "llama",
        _sizes(3072, 28, 24, 8, 8192, 128_256, True, head_dim=128),
        3.21,
        "model card of Llama 3.2",
    ),
    "starcoder2-3b": ("starcoder2", _sizes(3072, 30, 24, 2, 12_288, 49_152, True), 3.03, "arXiv 2402.19173"),
    "starcoder2-7b": ("starcoder2", _sizes(4608, 32, 36, 4, 18_432, 49_152, True), 7.17, "arXiv 2402.19173"),
    "starcoder2-15b": (
        "starcoder2",
        _sizes(6144, 40, 48, 4, 24_576, 49_152, False),
        15.96,
        "arXiv 2402.19173",
    ),
}


def find(name: str) -> tuple[str, dict[str, Any]] | None:
    """(model_type, keys) of a model by its name on the Hub, or None: `Qwen/Qwen2.5-Coder-7B-Instruct` is a Qwen2.5-7B."""
    last = PurePosixPath(name).name
    plain = last.removesuffix("-Instruct").removesuffix("-Base")
    for known in (plain, plain.replace("-Coder", ""), plain.replace("-Meta", "").removeprefix("Meta-")):
        if known in MODELS:
            kind, sizes, _, _ = MODELS[known]
            return kind, dict(sizes)
    return None


def config_of(name: str) -> Any | None:
    """The transformers configuration of a well-known model, or None."""
    found = find(name)
    if found is None:
        return None
    from transformers import AutoConfig

    kind, sizes = found
    no_ids = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    return AutoConfig.for_model(kind, **sizes, **no_ids, use_cache=False)
