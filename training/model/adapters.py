"""Low-rank adapters on a frozen base: LoRA (arXiv 2106.09685), DoRA (2402.09353), rsLoRA (2312.03732)."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from training.config import LoraConfig
from training.errors import TrainingConfigError
from training.model import architectures, new_tokens


@contextmanager
def quiet() -> Iterator[None]:
    """What a user can do nothing about: peft 0.21 asks transformers 5 under a name that is going away, and sets
    `fan_in_fan_out` by itself where an adapter over 4 bits goes into the base as it was."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False but the target module is `Conv1D`")
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        # Said of experts' matrices, to which they are applied.
        warnings.filterwarnings(
            "ignore", "The following (rank|alpha)_pattern keys did not match", RuntimeWarning
        )
        yield


def _path(model: torch.nn.Module, wanted: torch.nn.Module) -> str:
    return str(next(path for path, module in model.named_modules() if module is wanted))


def _new_rows(model: Any, ids: list[int]) -> dict[str, Any]:
    """peft's settings with which only these rows of the embeddings are trained; peft itself ties those of a tied head."""
    if not ids:
        return {}
    rows = {_path(model, model.get_input_embeddings()): ids}
    if not new_tokens.tied(model) and model.get_output_embeddings() is not None:
        rows[_path(model, model.get_output_embeddings())] = ids
    return {"trainable_token_indices": rows}


def _cast(layer: Any, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return x if torch.is_autocast_enabled(x.device.type) else type(layer)._cast_input_dtype(layer, x, dtype)


def _spare_casts(model: torch.nn.Module) -> None:
    """Let autocast alone choose the type that adapters compute in.

    peft 0.21 first makes their input fp32, as their matrices are, and autocast makes it bf16 again: the same numbers,
    but two more passes over it, and a copy kept for each adapter where all that read one input could share it. (Its
    own layers of 4 bits do as here on a GPU.) DoRA computes norms in the type of the input, and keeps the cast.
    """
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer) and not module.lora_variant:
            setattr(module, "_cast_input_dtype", functools.partial(_cast, module))  # noqa: B010 - for mypy


def _refuse_unknown(model: Any, known: list[str]) -> None:
    """Refuse targets that name no module; those of experts' matrices are not in `target_modules` any more.

    Raises:
        TrainingConfigError: suggests another name.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = {
        path.split(".base_layer")[0]
        for path, module in model.named_modules()
        if isinstance(module, BaseTunerLayer)
    }
    for name in sorted(model.peft_config["default"].target_modules):
        if not any(f".{path}".endswith(f".{name}") for path in layers):
            raise TrainingConfigError(
                f"lora.target_modules: this model has no module {name!r}{architectures.suggest(name, known)}; "
                f"there are {', '.join(known)}"
            )


def add_lora(
    model: PreTrainedModel, lora: LoraConfig, seed: int, new_ids: list[int] | None = None
) -> torch.nn.Module:
    """The model with its weights frozen and low-rank adapters on the target modules.

    Adapters are in fp32 over a base of less (AdamW would lose small updates, and fp16 needs it for loss scaling).

    Args:
        model: the base.
        lora: rank, scale, targets.
        seed: of the adapters' first values.
        new_ids: rows of the embeddings to train, too.

    Raises:
        TrainingConfigError: a target is the name of no module.
    """
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model

    torch.manual_seed(seed)
    known = sorted(
        {
            path.rpartition(".")[2]
            for path, m in model.named_modules()
            if isinstance(m, (torch.nn.Linear, Conv1D))
        }
    )
    targets: str | list[str]
    if lora.target_modules == "auto":
        targets = architectures.target_modules(model)
    elif isinstance(lora.target_modules, str):
        targets = lora.target_modules
    else:
        targets = list(lora.target_modules)
    settings = PeftLora(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # it only divides it
        lora_dropout=lora.dropout,
        target_modules=targets,
        use_dora=lora.dora,
        use_rslora=lora.rslora,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        task_type="CAUSAL_LM",
        **_new_rows(model, new_ids or []),
    )
    try:
        with quiet():
            adapted = get_peft_model(model, settings)
    except ValueError as error:
        raise TrainingConfigError(f"lora.target_modules: {error}") from error
    if isinstance(lora.target_modules, tuple):
        _refuse_unknown(adapted, known)
    _spare_casts(adapted)
    # Rows of new tokens are saved by themselves; peft would add all embeddings where there are more than in the base.
    adapted.save_pretrained = functools.partial(adapted.save_pretrained, save_embedding_layers=False)  # type: ignore[method-assign]
    return adapted
