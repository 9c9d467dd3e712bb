"""The micro-batches of one process, from the plan."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, Dataset

from training.prepare import Prepared


class MicroBatches(Dataset[dict[str, torch.Tensor]]):
    """All micro-batches of one rank, from the first step of the run to the last, as a list.

    Item `step * accumulation + part` is built when it is asked for, so a resume starts in the middle at no
    cost. Each is `{input_ids, position_ids, labels}` of shape (micro-batch, sequence length); never an
    attention mask.
    """

    def __init__(self, prepared: Prepared, micro: int, rank: int, world: int) -> None:
        self.prepared, self.micro, self.rank, self.world = prepared, micro, rank, world
        self.accumulation = prepared.order.accumulation(world, micro)

    def __len__(self) -> int:
        return self.prepared.order.steps * self.accumulation

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        step, part = divmod(index, self.accumulation)
        order = self.prepared.order
        epoch, rows = order.micro_batch(step, part, self.rank, self.world, self.micro)
        filled = order.plans[epoch].fill(
            self.prepared.epochs[epoch].cache.tokens, rows, self.prepared.tokenizer.control.pad
        )
        return {
            "input_ids": torch.from_numpy(filled.ids),
            "position_ids": torch.from_numpy(filled.positions),
            "labels": torch.from_numpy(filled.labels),
        }


def _only(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return items[0]


def loader(batches: MicroBatches) -> DataLoader[dict[str, torch.Tensor]]:
    """A loader that draws nothing: not handed to accelerate, which would shard and pad the batches again."""
    # An own generator: the loader's draw of a worker seed must not move the global random state.
    return DataLoader(batches, batch_size=1, shuffle=False, collate_fn=_only, generator=torch.Generator())
