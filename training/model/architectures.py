"""What differs from one architecture to the next: names of sizes, rotary positions, attention, target modules.

Any `model_type` for which transformers has a causal language model can be built or loaded. Nothing here is a list of
architectures: names are read from the configuration class (a dataclass since transformers 5, with an `attribute_map`
where its own names differ), modules from the model. Code that comes with a model is never run
(`trust_remote_code` stays off).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM, PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, RopeParameters
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils.import_utils import is_flash_attn_2_available, is_flash_attn_3_available

from training.config import ModelConfig
from training.errors import TrainingConfigError
from training.model import varlen
from training.model.attention import ROUTED, attention_of, distance, half, on, packed_inputs
from training.tokens.tokenizer import CodeTokenizer

UNUSABLE = (
    AssertionError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
    ZeroDivisionError,
)
"""What architectures raise for sizes or keys that they cannot be built from: each in its own way."""

NAMES: dict[str, tuple[str, ...]] = {
    "hidden_size": ("hidden_size", "d_model", "n_embd", "dim"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads"),
}
"""Sizes of `ModelConfig`, and the names that configuration classes have for them."""

DECIDED = {
    "vocab_size": "the tokenizer",
    "bos_token_id": "the tokenizer",
    "eos_token_id": "the tokenizer",
    "pad_token_id": "the tokenizer",
    "use_cache": "packing",
    "tie_word_embeddings": "model.tie_embeddings",
    "rope_parameters": "model.rope_scaling and model.rope_theta",
    "dtype": "precision",
    "model_type": "model.architecture",
    **{name: f"model.{size}" for size, names in NAMES.items() for name in names},
}
"""Keys that `model.config` may not have, because something else decides them."""

ROW_DEPENDENT = ("dynamic", "longrope")
"""Rotary scalings whose angles depend on the longest document of the row once it is longer than the original
positions: a document would then change the ones beside it (`dynamic_rope_update` in transformers)."""


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for a word that is close to one of the known ones, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _keys(kind: type[PreTrainedConfig]) -> set[str]:
    """Keys of an architecture: its own, not those that every configuration of transformers has."""
    general = {field.name for field in fields(PreTrainedConfig)}
    own = {field.name for field in fields(kind)} - general | {"tie_word_embeddings", "vocab_size"}
    return {name for name in own | set(kind.attribute_map) if not name.startswith("_")}


def configuration_class(architecture: str) -> type[PreTrainedConfig]:
    """The configuration class of a `model_type`.

    Raises:
        TrainingConfigError: transformers has no causal language model of that name.
    """
    if architecture not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise TrainingConfigError(
            f"model.architecture: transformers has no causal language model {architecture!r}"
            f"{suggest(architecture, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)}"
        )
    kind: type[PreTrainedConfig] = CONFIG_MAPPING[architecture]
    if _name(kind, "hidden_size") is None:
        text = f"{architecture}_text"
        hint = f"; use {text!r}" if text in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else ""
        raise TrainingConfigError(
            f"model.architecture: {architecture!r} is put together from several models and cannot be built from "
            f"sizes{hint}"
        )
    return kind


def model_class(config: PreTrainedConfig) -> type:
    """The class of model that `AutoModelForCausalLM` takes for a configuration.

    Raises:
        TrainingConfigError: there is none, or it needs code that comes with the model.
    """
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise TrainingConfigError(f"transformers has no causal language model for {config.model_type!r}")
    return cast(type, MODEL_FOR_CAUSAL_LM_MAPPING[type(config)])  # of other mappings, some are tuples


def _name(kind: type[PreTrainedConfig], size: str) -> str | None:
    """How an architecture calls a size, or None where it has none."""
    own = {field.name for field in fields(kind)}
    mapped = (kind.attribute_map.get(name, name) for name in NAMES[size])
    return next((name for name in mapped if name in own), None)


def _sizes(kind: type[PreTrainedConfig], model: ModelConfig) -> dict[str, Any]:
    """Sizes under the architecture's own names.

    Raises:
        TrainingConfigError: a size is given that the architecture does not have.
    """
    result: dict[str, Any] = {}
    wanted: dict[str, int | None] = {size: getattr(model, size) for size in NAMES}
    own = {field.name: field for field in fields(kind)}
    if (
        "multi_query" in own
    ):  # GPT-BigCode, Falcon: one head of keys and values, or as many as attention heads
        kv = wanted.pop("kv_heads") or model.heads
        result["multi_query"] = kv == 1
        if kv not in {1, model.heads}:
            if "new_decoder_architecture" not in own:
                raise TrainingConfigError(
                    f"model.kv_heads: {kind.model_type} can have 1 or as many as heads ({model.heads}), not {kv}"
                )
            result.update(new_decoder_architecture=True, num_kv_heads=kv)
    for size, value in wanted.items():
        name = _name(kind, size)
        if name is None:
            if size in {"layers", "heads"}:
                raise TrainingConfigError(
                    f"model.architecture: {kind.model_type} has no number of {size}: models without attention, or with "
                    "a list of layers of several kinds, cannot be built from sizes"
                )
            if value is not None and not (size == "kv_heads" and value == model.heads):
                raise TrainingConfigError(f"model.{size}: {kind.model_type} has no such size; set it to null")
            continue
        if value is not None:
            result[name] = value
        elif size == "kv_heads":
            result[name] = model.heads
        elif own[name].default is not None:
            result[name] = 4 * model.hidden_size
    if "head_dim" in own and "qk_rope_head_dim" not in own:  # multi-head latent attention has its own
        result["head_dim"] = model.hidden_size // model.heads
    return result


def built_config(model: ModelConfig, tokenizer: CodeTokenizer, sequence_length: int) -> PreTrainedConfig:
    """The transformers configuration of a model that is built from sizes.

    Raises:
        TrainingConfigError: names the key that this architecture does not have or cannot take.
    """
    kind = configuration_class(model.architecture)
    known = _keys(kind)
    for key in model.config:
        if key in DECIDED:
            raise TrainingConfigError(f"model.config: {key!r} is decided by {DECIDED[key]}")
        if key not in known:
            raise TrainingConfigError(
                f"model.config: {model.architecture} has no key {key!r}{suggest(key, known - set(DECIDED))}"
            )
    control = tokenizer.control
    given: dict[str, Any] = {
        **_sizes(kind, model),
        "vocab_size": tokenizer.size,
        "tie_word_embeddings": model.tie_embeddings,
        "bos_token_id": None,
        "eos_token_id": control.end_of_text,
        # The embedding of the padding id is never trained: where it is also the end of text, it is not told.
        "pad_token_id": control.pad if control.pad != control.end_of_text else None,
    }
    positions = kind.attribute_map.get("max_position_embeddings", "max_position_embeddings")
    if positions in {field.name for field in fields(kind)}:
        given[positions] = sequence_length
    given |= {kind.attribute_map.get(key, key): value for key, value in model.config.items()}
    try:
        config = kind(**given)
        config.use_cache = False
    except UNUSABLE as error:
        raise TrainingConfigError(f"model: {model.architecture} cannot be built so: {error}") from error
    scale_rope(config, model, built=True)
    check_length(config, sequence_length)
    return config


def changed_config(config: PreTrainedConfig, model: ModelConfig, sequence_length: int) -> PreTrainedConfig:
    """The configuration of a loaded model with `model.config` and `model.rope_scaling` applied.

    Raises:
        TrainingConfigError: names the key that this architecture does not have, or rows longer than its positions.
    """
    known = _keys(type(config))
    for key, value in model.config.items():
        if key in DECIDED:
            raise TrainingConfigError(f"model.config: {key!r} is decided by the model at model.path")
        if key not in known:
            raise TrainingConfigError(
                f"model.config: {config.model_type} has no key {key!r}{suggest(key, known - set(DECIDED))}"
            )
        setattr(config, key, value)
    config.use_cache = False
    scale_rope(config, model, built=False)
    check_length(config, sequence_length)
    return config


def scale_rope(config: PreTrainedConfig, model: ModelConfig, *, built: bool) -> None:
    """Set `model.rope_theta` and `model.rope_scaling` on a configuration, in the form of transformers 5.

    A scaling by `factor` makes the positions of a loaded model that many times as many; those of a built model are
    the row, of which the original positions are the `factor`th part.

    Raises:
        TrainingConfigError: no rotary positions, a type or key that transformers does not know, a key that is missing.
    """
    given, theta = model.rope_scaling, model.rope_theta if built else None
    if theta is None and given is None:
        return
    current = getattr(config, "rope_parameters", None)
    if not current:
        raise TrainingConfigError(
            f"model.rope_scaling, model.rope_theta: {config.model_type} has no rotary positions; set them to null"
        )
    kinds = [name for name, value in current.items() if isinstance(value, dict)]
    wanted: Mapping[str, Any] = given or {}
    if kinds and given is not None and not set(given) <= set(kinds):
        raise TrainingConfigError(
            f"model.rope_scaling: {config.model_type} has one for each kind of layer: give them under "
            f"{', '.join(kinds)}"
        )
    parts = {name: wanted.get(name) or {} for name in kinds} if kinds else {"": wanted}
    result = {name: _rope(config, name, part, current, theta, built) for name, part in parts.items()}
    try:
        config.rope_parameters = {**current, **result} if kinds else result[""]
        config.validate_rope()
    except UNUSABLE as error:
        raise TrainingConfigError(f"model.rope_scaling: {error}") from error


def _rope(  # noqa: PLR0917
    config: PreTrainedConfig,
    name: str,
    part: Mapping[str, Any],
    current: Mapping[str, Any],
    theta: float | None,
    built: bool,
) -> dict[str, Any]:
    """The rotary parameters of one kind of layer; raises the positions of the configuration."""
    before = current[name] if name else current
    for key in part:
        if key not in RopeParameters.__annotations__:
            hint = suggest(key, RopeParameters.__annotations__)
            raise TrainingConfigError(f"model.rope_scaling: no key {key!r}{hint}")
    new = {**({"rope_theta": before.get("rope_theta")} if part else before), **part}
    if "partial_rotary_factor" in before:
        new.setdefault("partial_rotary_factor", before["partial_rotary_factor"])
    if theta is not None:
        new["rope_theta"] = theta
    kind = new.setdefault("rope_type", "default")
    if kind != "default" and kind not in ROPE_INIT_FUNCTIONS:
        raise TrainingConfigError(
            f"model.rope_scaling: no rope_type {kind!r}{suggest(kind, ROPE_INIT_FUNCTIONS)}"
        )
    factor = part.get("factor")
    if factor is not None and kind not in ROW_DEPENDENT:
        if not isinstance(factor, (int, float)) or factor < 1:
            raise TrainingConfigError(
                f"model.rope_scaling: factor must be a number of at least 1, not {factor!r}"
            )
        original = new.get("original_max_position_embeddings")
        if original is None:
            whole = config.max_position_embeddings
            original = math.ceil(whole / factor) if built else whole
        if kind != "linear":
            new["original_max_position_embeddings"] = original
        if not built:
            config.max_position_embeddings = int(original * factor)
    return new


def check_length(config: PreTrainedConfig, sequence_length: int) -> None:
    """Refuse rows that are longer than the model's positions.

    Raises:
        TrainingConfigError: names both lengths and what to set.
    """
    limit = getattr(config, "max_position_embeddings", None)
    if isinstance(limit, int) and 0 < limit < sequence_length:
        raise TrainingConfigError(
            f"data.sequence_length: {sequence_length} tokens, but this {config.model_type} has {limit} positions; "
            f"use at most {limit}, or set model.rope_scaling, such as "
            f"{{rope_type: yarn, factor: {math.ceil(sequence_length / limit)}.0}}, if it has rotary positions"
        )
    parameters = getattr(config, "rope_parameters", None) or {}
    for part in (parameters, *(value for value in parameters.values() if isinstance(value, dict))):
        if part.get("rope_type") not in ROW_DEPENDENT:
            continue
        original = part.get("original_max_position_embeddings") or getattr(
            config, "original_max_position_embeddings", limit
        )
        if part["rope_type"] == "dynamic":
            original = limit
        if original is not None and sequence_length > original:
            raise TrainingConfigError(
                f"data.sequence_length: {sequence_length} tokens, but with rope_type {part['rope_type']} the angles "
                f"of a row depend on its longest document beyond {original} positions, so documents packed together "
                f"would change each other; use at most {original}, or model.rope_scaling of rope_type yarn"
            )


def attentions(
    wanted: str, kind: type, *, gpu: bool, half: bool, sequence_length: int
) -> tuple[list[str], dict[str, str]]:
    """Implementations of attention to try, the fastest first, and why the others are not among them.

    Args:
        wanted: `model.attention`; anything but auto is tried alone.
        kind: class of the model; it says what it can.
        gpu: whether the model runs on one.
        half: whether activations are bf16 or fp16, which flash attention needs.
        sequence_length: of a row.
    """
    if wanted != "auto":
        return [wanted], {}
    no: dict[str, str] = {}
    hopper = gpu and torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9
    for name, there in (
        ("flash_attention_3", hopper and is_flash_attn_3_available()),
        ("flash_attention_2", gpu and is_flash_attn_2_available()),
        (varlen.NAME, gpu and torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)),
    ):
        if not gpu:
            no[name] = "no GPU"
        elif not half:
            no[name] = "precision is fp32"
        elif not getattr(kind, "_supports_flash_attn", False):
            no[name] = "not for this architecture"
        elif not there:
            no[name] = "the package is not installed or not for this GPU"
    if not gpu:
        no["flex_attention"] = "no backward pass without a GPU"
    elif not getattr(kind, "_supports_flex_attn", False):
        no["flex_attention"] = "not for this architecture"
    elif sequence_length <= DENSE_MASK:
        no["flex_attention"] = f"sdpa's mask is small up to {DENSE_MASK} tokens"
    if not getattr(kind, "_supports_sdpa", False):
        no["sdpa"] = "not for this architecture"
    order = ("flash_attention_3", "flash_attention_2", varlen.NAME, "flex_attention", "sdpa", "eager")
    return [name for name in order if name not in no], no


DENSE_MASK = 8192
"""Tokens of a row up to which sdpa's mask of sequence length squared is preferred to compiling flex attention."""

ROUTERS = frozenset({"gate", "router", "shared_expert_gate", "gate_score"})
"""Names of the small matrices that choose experts; an adapter there changes the choice."""


EXPERTS = frozenset({"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"})
"""Names that peft takes for the experts of a mixture, which are one three-dimensional parameter since transformers 5:
with them every expert would get an adapter of its own."""


def target_modules(model: torch.nn.Module) -> list[str]:
    """Names of the attention and feed-forward matrices of a model: every linear module inside its layers, but routers.

    Of a mixture of experts the attention alone: experts and the feed-forward layers beside them stay as they are.

    Raises:
        TrainingConfigError: there is none.
    """
    linear = (torch.nn.Linear, Conv1D)
    inside: set[str] = set()
    outside: set[str] = set()
    for path, module in model.named_modules():
        if isinstance(module, linear):
            name = path.rpartition(".")[2]
            (inside if any(part.isdigit() for part in path.split(".")) else outside).add(name)
    found = sorted(inside - outside - ROUTERS - (EXPERTS if routed(model) else frozenset()))
    if not found:
        raise TrainingConfigError(
            "lora.target_modules: auto finds no linear module in the layers of this architecture; give a list of names"
        )
    return found


def routed(model: torch.nn.Module) -> bool:
    """Whether tokens are routed to experts."""
    return any("expert" in type(module).__name__.lower() for module in model.modules())


@torch.no_grad()
def check_causal(model: torch.nn.Module, vocab_size: int) -> None:
    """Prove on this model that no place sees a later one: models made for masked words are refused so.

    Raises:
        TrainingConfigError: a later token changed an earlier logit.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocab_size, (1, 12), generator=generator)
    other = ids.clone()
    other[:, -1] = (ids[:, -1] + 1 + vocab_size // 3) % vocab_size
    was_training = model.training
    model.eval()
    first, second = (
        model(
            **on(
                device,
                packed_inputs(
                    {"input_ids": row, "position_ids": torch.arange(12)[None]}, attention_of(model)
                ),
            )
        )
        .logits[:, :-1]
        .float()
        for row in (ids, other)
    )
    model.train(was_training)
    # Rounding alone may send a token to another expert when others go elsewhere.
    rough = routed(model) and half(model)
    moved, spread = distance(first - second, rough=rough), first.std().item()
    if (
        moved > (ROUTED if rough else 1e-3) * spread
    ):  # values that are not finite are for the check of isolation
        raise TrainingConfigError(
            "the model sees later tokens (the logits of a place moved when one after it was changed): it does not "
            "predict the next token. Some architectures become causal with model.config: {is_decoder: true}"
        )


def built(
    config: PreTrainedConfig, attention: str, seed: int, dtype: torch.dtype = torch.float32
) -> torch.nn.Module:
    """A freshly initialised model: the same seed gives the same weights.

    Raises:
        TrainingConfigError: the architecture cannot be built from this configuration.
    """
    model_class(config)
    torch.manual_seed(seed)
    make: Callable[..., torch.nn.Module] = AutoModelForCausalLM.from_config
    try:
        return make(config, attn_implementation=attention, dtype=dtype, trust_remote_code=False)
    except UNUSABLE as error:
        raise TrainingConfigError(f"model: {config.model_type} cannot be built so: {error}") from error
