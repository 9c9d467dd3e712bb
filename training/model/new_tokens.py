"""Rows for tokens that a model did not have: control tokens that `tokenizer.add_missing` gave new ids.

Their rows begin as the mean of the rows that the model knows, in the output head, too: a new token is then neither
likely nor unlikely beforehand. With adapters only these rows are trained; see `training.model.adapters`.
"""

from __future__ import annotations

from typing import Any

import torch

from training.tokens.tokenizer import CodeTokenizer


def ids_of(tokenizer: CodeTokenizer) -> list[int]:
    """Ids that the model does not know yet, in order."""
    return sorted(int(i) for i in getattr(tokenizer, "new_ids", ()))


def tied(model: Any) -> bool:
    """Whether input and output embeddings are one matrix."""
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


def make_room(model: Any, size: int) -> None:
    """Give the embeddings at least `size` rows; what new ones hold is not said."""
    if size > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(size, mean_resizing=False)


@torch.no_grad()
def add_rows(model: Any, tokenizer: CodeTokenizer) -> int:
    """Make room for the tokenizer's new ids and set their rows to the mean; returns how many rows that are.

    A vocabulary that is padded beyond its tokenizer is not made larger; its rows are set in the same way.
    """
    new = ids_of(tokenizer)
    if not new:
        return 0
    rows = model.get_input_embeddings().weight.shape[0]
    known = torch.ones(rows, dtype=torch.bool)
    known[tokenizer.size :] = False
    known[[i for i in new if i < rows]] = False
    make_room(model, tokenizer.size)
    places = [model.get_input_embeddings()]
    if model.get_output_embeddings() is not None and not tied(model):
        places.append(model.get_output_embeddings())
    for place in places:
        for name in ("weight", "bias"):
            values = getattr(place, name, None)
            if values is not None:
                values[new] = values[:rows][known.to(values.device)].float().mean(0).to(values.dtype)
    return len(new)
