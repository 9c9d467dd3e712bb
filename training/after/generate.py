"""Completions, greedily."""

from __future__ import annotations

import torch

from training.tokens.tokenizer import CodeTokenizer


@torch.no_grad()
def complete(model: torch.nn.Module, tokenizer: CodeTokenizer, prompt: str, max_tokens: int) -> str:
    """Greedy continuation of a prompt (without it), to the end of text or `max_tokens`.

    Recomputes the row for every token: meant for a look at a small model, not for serving.
    """
    model.eval()
    device = next(model.parameters()).device
    ids = [int(i) for i in tokenizer.encode([prompt])[0]] or [tokenizer.control.end_of_text]
    start = len(ids) if prompt else 0
    for _ in range(max_tokens):
        row = torch.tensor([ids], device=device)
        token = int(model(input_ids=row, use_cache=False).logits[0, -1].argmax())
        if token == tokenizer.control.end_of_text:
            break
        ids.append(token)
    return tokenizer.decode(ids[start:])
