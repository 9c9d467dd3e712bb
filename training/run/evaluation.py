"""One evaluation of a run: losses per language, fill in the middle, metrics of the user's own; one report."""

from __future__ import annotations

from functools import partial
from typing import Any

from training.config import TrainConfig
from training.corpus.sources import Report
from training.model.attention import any_input
from training.prepare import Prepared
from training.run import custom_metrics, fim_score, held_out
from training.run.evaluate import evaluate, evaluation_report


class Evaluation:
    """What is measured, made ready once per run.

    Raises:
        TrainingConfigError: a metric of the user's own that cannot be found.
    """

    def __init__(self, config: TrainConfig, prepared: Prepared, report: Report) -> None:
        self.config, self.prepared = config, prepared
        self.custom = custom_metrics.load(config.evaluation.metrics)
        self.tasks: list[fim_score.Task] | None = None
        if prepared.held_out is not None and config.evaluation.fim_documents:
            self.tasks = self._fim_tasks(report)

    def _fim_tasks(self, report: Report) -> list[fim_score.Task] | None:
        settings, tokenizer = self.config.evaluation, self.prepared.tokenizer
        control = tokenizer.control
        if None in (control.prefix, control.middle, control.suffix):
            report(
                "fill in the middle is not measured: the tokenizer has no tokens for it (tokenizer.add_missing)"
            )
            return None
        chosen = held_out.some(list(held_out.documents(self.prepared.corpus)), settings.fim_documents)
        made, passed_over = fim_score.tasks(
            chosen,
            tokenizer,
            max_tokens=settings.fim_max_tokens,
            context=self.config.data.sequence_length,
            order="spm" if self.config.data.fim.spm_rate == 1 else "psm",
        )
        report(
            f"fill in the middle is measured on {len(made)} held-out documents of "
            f"{len({task.language for task in made})} languages"
            + (
                f"; {passed_over} have no middle of at most {settings.fim_max_tokens} tokens"
                if passed_over
                else ""
            )
        )
        return made

    def measure(self, model: Any, rows_per_batch: int, rank: int, world: int, *, cut: bool) -> dict[str, Any]:
        """The report: `all` and `languages`, `fim` and `custom` where they are measured. The same in every process.

        Args:
            model: not wrapped by DDP.
            rows_per_batch: packed rows per forward pass.
            rank, world: of this process.
            cut: whether the model is cut over the processes, so that each must take part in every pass.
        """
        prepared = self.prepared
        assert prepared.held_out is not None
        total, languages = evaluate(
            model,
            prepared.held_out.plan,
            prepared.held_out.cache,
            prepared.tokenizer.token_bytes(),
            prepared.corpus.languages,
            pad=prepared.tokenizer.control.pad,
            rows_per_batch=rows_per_batch,
            rank=rank,
            world=world,
        )
        report = evaluation_report(total, languages)
        if self.tasks:
            share = (0, 1) if cut else (rank, world)
            most = self.config.evaluation.fim_max_tokens
            report["fim"] = fim_score.score(model, self.tasks, prepared.tokenizer, most, *share)
        if self.custom:
            documents = partial(held_out.documents, prepared.corpus)
            with any_input(model):
                report["custom"] = custom_metrics.measure(
                    self.custom, model, prepared.tokenizer, documents, world
                )
        return report
