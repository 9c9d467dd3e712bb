"""The negative log-likelihood of each token, without the logits of a whole batch in memory.

The logits of one row of 8,192 tokens and a vocabulary of 150,000 take 4.9 GB. Here the model's output layer is
called for a few hundred positions at a time, inside the model's own forward pass (so that whatever wraps the model
works as it does in training), and only for positions with a label. Models that change the logits after the output
layer (a soft cap, a scale) are noticed by comparison with the whole logits on a few tokens, each time, and get
the slow way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from training.model.attention import attention_of, on, packed_inputs
from training.model.loss import changes_logits
from training.tokens.packing import IGNORE, Rows

LOGIT_BYTES = 128 * 2**20
"""Of the logits that exist at the same time (fp32)."""

_CHECKED_TOKENS = 64


def _inputs(rows: Rows, model: torch.nn.Module, device: torch.device) -> dict[str, Any]:
    inputs = {"input_ids": torch.from_numpy(rows.ids), "position_ids": torch.from_numpy(rows.positions)}
    return on(device, packed_inputs(inputs, attention_of(model)))


class TokenLoss:
    """`losses(rows)`: nats of each token with a label, in the order of the rows.

    Attributes:
        in_head: whether the short way is taken.

    Args:
        model: not wrapped by a distributed strategy; in evaluation mode.
        sample: a row, the same in every process, on which the short way is tried.
    """

    def __init__(self, model: torch.nn.Module, sample: Rows) -> None:
        self.model = model
        self.head = model.get_output_embeddings()  # type: ignore[operator]
        self.device, self.dtype = next(model.parameters()).device, torch.float32
        table = model.get_input_embeddings().weight  # type: ignore[operator]
        entries = getattr(table, "ds_shape", table.shape)[
            0
        ]  # DeepSpeed's ZeRO 3 leaves no shape where it was
        self.tokens_at_once = max(1, LOGIT_BYTES // (4 * entries))
        changed = changes_logits(getattr(model, "config", None))
        self.in_head = self.head is not None and not changed and self._same(sample)

    def __call__(self, rows: Rows) -> torch.Tensor:
        """Nats (fp32, on the model's device) of each label in `rows` but those in the first column."""
        if self.in_head:
            return self._chunked(rows)
        parts = [self._whole(_cut(rows, slice(n, n + 1), rows.ids.shape[1])) for n in range(len(rows.ids))]
        return torch.cat(parts)

    def _same(self, rows: Rows) -> bool:
        """Whether the short way gives what the long way gives."""
        some = _cut(rows, slice(0, 1), _CHECKED_TOKENS)
        short, long = self._chunked(some), self._whole(some)
        if self.dtype in (torch.bfloat16, torch.float16):
            # Of 8 bits of a logit the last may fall otherwise for other shapes, and move one loss by a tenth; a cap or
            # a scale moves them all.
            return float((short - long).abs().mean()) <= 0.05
        return torch.allclose(short, long, rtol=1e-4, atol=1e-4)

    def _whole(self, rows: Rows) -> torch.Tensor:
        logits = self.model(**_inputs(rows, self.model, self.device)).logits
        place, target = _labelled(rows, self.device)
        return F.cross_entropy(logits.flatten(0, 1)[place].float(), target, reduction="none")

    def _chunked(self, rows: Rows) -> torch.Tensor:
        place, target = _labelled(rows, self.device)
        result = torch.empty(len(target), dtype=torch.float32, device=self.device)
        head, forward = self.head, self.head.forward
        own = "forward" in vars(head)

        def losses(hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            states = hidden.flatten(0, -2)
            for first in range(0, len(target), self.tokens_at_once):
                part = slice(first, first + self.tokens_at_once)
                logits = forward(states[place[part]], *args, **kwargs)
                self.dtype = logits.dtype
                result[part] = F.cross_entropy(logits.float(), target[part], reduction="none")
            return hidden.new_zeros((*hidden.shape[:-1], 1))

        head.forward = losses
        try:
            self.model(**_inputs(rows, self.model, self.device))
        finally:
            if own:
                head.forward = forward
            else:
                del head.forward
        return result


def _cut(rows: Rows, which: slice, columns: int) -> Rows:
    return Rows(*(part[which, :columns] for part in (rows.ids, rows.positions, rows.labels, rows.document)))


def _labelled(rows: Rows, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(flat places whose next token has a label, those labels)."""
    follows = np.zeros(rows.labels.shape, dtype=bool)
    follows[:, :-1] = rows.labels[:, 1:] != IGNORE
    place = torch.from_numpy(np.flatnonzero(follows)).to(device)
    target = torch.from_numpy(rows.labels[:, 1:][follows[:, :-1]]).to(device)
    return place, target
