"""Evaluation per language: loss, perplexity and bits per byte, from sums, never from means of means.

Every held-out token that has a label is counted exactly once, on one rank; padding and boundaries never. Bits
per byte divide by the bytes of the tokens that were predicted (the first token of a document, or of a
fragment of one longer than a row, is not), so that models with other tokenizers can be compared. Logits are
computed for a few hundred tokens at a time (`training.run.token_loss`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed

from training.run.token_loss import TokenLoss
from training.tokens.cache import TokenCache
from training.tokens.packing import IGNORE, PackingPlan


@dataclass(frozen=True)
class LanguageLoss:
    """Sums over the predicted tokens of one language, or of all."""

    nll: float
    """Negative log-likelihood in nats, summed."""
    tokens: int
    bytes: int

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nll / self.tokens if self.tokens else math.nan

    @property
    def perplexity(self) -> float:
        """`exp(loss)`; infinite where that does not fit into a float."""
        return math.exp(self.loss) if self.loss < 709 else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of source text."""
        return self.nll / math.log(2) / self.bytes if self.bytes else math.nan

    def report(self) -> dict[str, Any]:
        """The sums and what follows from them, for JSON."""
        return {
            **asdict(self),
            "loss": self.loss,
            "perplexity": self.perplexity,
            "bits_per_byte": self.bits_per_byte,
        }


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    plan: PackingPlan,
    cache: TokenCache,
    token_bytes: np.ndarray,
    languages: Sequence[str],
    *,
    pad: int,
    rows_per_batch: int,
    rank: int = 0,
    world: int = 1,
) -> tuple[LanguageLoss, dict[str, LanguageLoss]]:
    """Loss over all held-out rows, and per language (those that have predicted tokens).

    Rank r takes rows r, r + world, ...; the sums are added up over the ranks, so every rank returns the same.

    Args:
        model: not wrapped; put into evaluation mode for the time of the call.
        plan, cache: the held-out documents.
        token_bytes: bytes of each id (`CodeTokenizer.token_bytes`).
        languages: names for the language numbers of `cache`.
        pad: id of the padding.
        rows_per_batch: rows per forward pass.
        rank, world: of this process.
    """
    sums = np.zeros((3, len(languages)), dtype=np.float64)  # nats, tokens, bytes
    was_training = model.training
    model.eval()
    losses = TokenLoss(model, plan.fill(cache.tokens, np.zeros(1, dtype=np.int64), pad))
    mine = np.arange(rank, plan.rows, world)
    # As many passes in every process: those of a model cut over them run together. -1 is a row of padding.
    mine = np.append(mine, np.full(-(-plan.rows // world) - len(mine), -1, dtype=mine.dtype))
    for first in range(0, len(mine), rows_per_batch):
        rows = plan.fill(cache.tokens, mine[first : first + rows_per_batch], pad)
        values = losses(rows).cpu().numpy().astype(np.float64)
        labelled = rows.labels[:, 1:] != IGNORE
        language = cache.language[rows.document[:, 1:][labelled]]
        ids = rows.labels[:, 1:][labelled]
        for line, weights in enumerate((values, np.ones(len(ids)), token_bytes[ids])):
            sums[line] += np.bincount(language, weights=weights, minlength=len(languages))
    model.train(was_training)
    if world > 1:
        shared = torch.from_numpy(sums).to(losses.device)
        torch.distributed.all_reduce(shared)
        sums = shared.cpu().numpy()
    each = [LanguageLoss(float(nll), int(tokens), int(size)) for nll, tokens, size in sums.T]
    total = LanguageLoss(float(sums[0].sum()), int(sums[1].sum()), int(sums[2].sum()))
    return total, {name: loss for name, loss in zip(languages, each, strict=True) if loss.tokens}


def evaluation_report(total: LanguageLoss, languages: dict[str, LanguageLoss]) -> dict[str, Any]:
    """An evaluation as JSON."""
    return {"all": total.report(), "languages": {name: loss.report() for name, loss in languages.items()}}
