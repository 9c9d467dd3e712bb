"""Generation with transformers' own `generate`: a key-value cache, many prompts at a time, nothing of the model's own settings.

A model folder may carry a generation configuration (a temperature, a penalty); here only what is asked for counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from training.model.attention import any_input
from training.tokens.tokenizer import CodeTokenizer


def control_ids(tokenizer: CodeTokenizer) -> list[int]:
    """Ids of all control tokens, sorted: those that the tokenizer's file marks as special, and the known ones."""
    marked = {index for index, token in tokenizer.full.get_added_tokens_decoder().items() if token.special}
    return sorted(marked | {index for index in astuple(tokenizer.control) if index is not None})


def text_of(tokenizer: CodeTokenizer, ids: Sequence[int] | np.ndarray) -> str:
    """Text of ids that a model wrote: control tokens are left out, other added tokens are text."""
    return str(tokenizer.full.decode([int(i) for i in ids], skip_special_tokens=True))


@torch.no_grad()
def generate(
    model: Any,
    prompts: Sequence[np.ndarray],
    tokenizer: CodeTokenizer,
    *,
    max_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    **more: Any,
) -> list[np.ndarray]:
    """Ids that the model writes after each prompt (without it and without the control token that ended it).

    A control token of any kind ends a text. Prompts are padded on the left and masked there.

    Args:
        model: a causal language model; put into evaluation mode for the time of the call.
        prompts: ids, each at least one.
        tokenizer: of the model.
        max_tokens: new ids at most.
        temperature: 0 takes the likeliest each time; else samples from PyTorch's generator.
        top_p: sample from the likeliest tokens that have this probability together.
        more: for `generate`, such as a streamer.
    """
    control, device = tokenizer.control, next(model.parameters()).device
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), control.pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.from_numpy(np.asarray(prompt, dtype=np.int64))
        mask[row, width - len(prompt) :] = 1
    ends = control_ids(tokenizer)
    settings = GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=temperature > 0,
        **({"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature > 0 else {}),
        eos_token_id=ends,
        pad_token_id=control.pad,
        use_cache=True,
    )
    was_training = model.training
    model.eval()
    own, model.generation_config = model.generation_config, settings
    try:
        with any_input(model):
            written = model.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=settings, **more
            )
    finally:
        model.generation_config = own
        model.train(was_training)
    result = []
    for row in written[:, width:].cpu().numpy():
        end = np.flatnonzero(np.isin(row, ends))
        result.append(row[: end[0]] if len(end) else row)
    return result
