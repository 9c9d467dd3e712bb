"""The frozen base in 4 bits (QLoRA, arXiv 2305.14314) with bitsandbytes, on GPUs and processors.

NF4 keeps each weight as one of 16 quantiles of a normal distribution, scaled by a constant for every 64 weights; double
quantisation keeps these constants in 8 bits. Only the matrices of the layers are quantised: embeddings, norms and the
output head stay in the precision of the computation (peft's `prepare_model_for_kbit_training` would turn them into
fp32, which costs memory where the vocabulary is large and is not needed with adapters in fp32).
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import torch

from training.config import QuantizationConfig
from training.errors import TrainingConfigError

# It says on import that a kernel which it would fetch from the Hub is not there; none is wanted.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def available() -> bool:
    """Whether bitsandbytes is installed."""
    return importlib.util.find_spec("bitsandbytes") is not None


def arguments(quantization: QuantizationConfig, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """What `from_pretrained` is told in order to read a base in 4 bits, matrix by matrix.

    Raises:
        TrainingConfigError: bitsandbytes is not installed.
    """
    if not available():
        raise TrainingConfigError(
            "quantization needs the package bitsandbytes: pip install 'stackmill[train]'"
        )
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.type,
        bnb_4bit_use_double_quant=quantization.double,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": settings, "device_map": {"": str(device)}}


def keep_layout(model: torch.nn.Module) -> None:
    """Keep bitsandbytes from laying out the weights anew in the first evaluation on a CPU with AVX-512 bf16.

    It would round their constants to bf16 for good, fail for heights that are no multiple of 32, and give no gradients
    to anything below in the training after it (bitsandbytes 0.50, `Linear4bit.forward` and `matmul_4bit`).
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def elements(parameter: torch.nn.Parameter) -> int:
    """Weights that a parameter stands for; two of 4 bits lie in one byte."""
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else parameter.numel()


def memory(model: torch.nn.Module) -> dict[str, int]:
    """Bytes of the weights by part: `quantised`, `constants` of the quantisation, `trained`, and `other` frozen ones.

    Also `weights_quantised` and `weights_frozen`: how many of the frozen weights are in 4 bits.
    """
    parts = dict.fromkeys(
        ("quantised", "constants", "trained", "other", "weights_quantised", "weights_frozen"), 0
    )
    for parameter in {id(p): p for p in model.parameters()}.values():
        size = parameter.numel() * parameter.element_size()
        state = getattr(parameter, "quant_state", None)
        if not parameter.requires_grad:
            parts["weights_frozen"] += elements(parameter)
        if state is not None:
            parts["quantised"] += size
            parts["weights_quantised"] += elements(parameter)
            nested = state.state2
            held = [state.absmax, state.code, *((nested.absmax, nested.code) if nested is not None else ())]
            parts["constants"] += sum(t.numel() * t.element_size() for t in held)
        else:
            parts["trained" if parameter.requires_grad else "other"] += size
    return parts


def describe(model: torch.nn.Module) -> str:
    """One line on what is in 4 bits and what the base takes."""
    parts = memory(model)
    share = parts["weights_quantised"] / max(1, parts["weights_frozen"])
    bits = 8 * (parts["quantised"] + parts["constants"]) / max(1, parts["weights_quantised"])
    base = parts["quantised"] + parts["constants"] + parts["other"]
    text = f"quantised: {share:.1%} of the base's weights at {bits:.2f} bits; the base takes {base / 1e6:,.1f} MB"
    if share < 0.5:
        text += (
            ". NOTE: the rest is not in 4 bits: embeddings, the output head, and experts that are one "
            "three-dimensional parameter"
        )
    return text
