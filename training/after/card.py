"""The model card, README.md of an exported model: every sentence in it follows from the run that made the model.

What was not measured, counted or chosen is said to be so, or is not said. The card is a function of its facts: no clock,
no machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from manifests.markdown import bullets, code, plain, share, table
from training.after.trace import Run, unknown_base
from training.run.lineage_format import Lineage, Source

MOST_ROWS = 40
"""Lines of a table; the rest is added up."""


@dataclass(frozen=True)
class Facts:
    """What a card is made of.

    Attributes:
        name: of the model.
        license: SPDX id that the publisher gives the weights, or None.
        runs: the chain, the exported checkpoint's first.
        checkpoint_digest: SHA-256 of the checkpoint's seal, or None.
        architecture: class in transformers.
        parameters: of the model (of an adapter: of the adapter).
        dtype: of the weights, as in `torch`.
        adapter: whether only an adapter is in the folder, without its base.
        base_model: name of the base where it is not a run of the chain, or where the folder is an adapter; else None.
        evaluation: as in the checkpoint's metrics.json: step, all, languages; or None.
        licenses: license expression -> rows trained on, over all runs, each row once; of releases.
        unlicensed: rows of files of JSON lines that do not tell a license.
        redactions: kind -> places replaced in the releases' texts, of all their rows.
        notices: names of the NOTICE files in the folder.
        fim: names of the markers, where the model was trained to fill in the middle; else None.
    """

    name: str
    license: str | None
    runs: Sequence[Run]
    checkpoint_digest: str | None
    architecture: str
    parameters: int
    dtype: str
    adapter: bool
    base_model: str | None
    evaluation: dict[str, Any] | None
    licenses: dict[str, int]
    unlicensed: int
    redactions: dict[str, int]
    notices: Sequence[str]
    fim: tuple[str, str, str] | None


def card(facts: Facts) -> str:
    """The text of README.md."""
    front = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True, width=4096)
    sections = [
        f"# {plain(facts.name)}",
        _about(facts),
        "## Training data",
        *_data(facts),
        "## Languages",
        _languages(facts),
        "## Evaluation",
        *_evaluation(facts),
        "## Licenses of what it was trained on",
        *_licenses(facts),
        "## Training",
        *_training(facts),
        "## Use",
        *_use(facts),
        "## Limits",
        bullets(list(_limits(facts))),
        "## Check it",
        *_check(facts),
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def _releases(runs: Sequence[Run]) -> list[Source]:
    """The releases of all runs, each once."""
    found = {s.digest: s for run in runs for s in run.lineage.sources if s.kind == "release"}
    return list(found.values())


def front_matter(facts: Facts) -> dict[str, Any]:
    """The YAML block: what the Hugging Face Hub reads, and under `stackmill` what identifies the data."""
    releases, last = _releases(facts.runs), facts.runs[0].lineage
    tags = [
        "code",
        "stackmill",
        *(["fill-in-the-middle"] if facts.fim else []),
        *(["lora"] if facts.adapter else []),
    ]
    front: dict[str, Any] = {"language": ["code"]}
    if facts.license:
        front["license"] = facts.license
    front |= {
        "library_name": "peft" if facts.adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": tags,
        "datasets": sorted({str(source.dataset) for source in releases}),
    }
    if facts.base_model:
        front["base_model"] = facts.base_model
    front["metrics"] = ["perplexity"] if facts.evaluation else []
    if facts.evaluation:
        front["model-index"] = [{"name": facts.name, "results": list(_results(facts))}]
    front["stackmill"] = {
        "releases": [
            {"name": source.dataset, "version": source.version, "manifest_sha256": source.digest}
            for source in releases
        ],
        "checkpoint_sha256": facts.checkpoint_digest,
        "steps": last.seen.steps,
        "tokens": last.seen.tokens,
        "programming_languages": sorted(_tokens(facts.runs)),
    }
    return {key: value for key, value in front.items() if value != []}


def _results(facts: Facts) -> Iterator[dict[str, Any]]:
    assert facts.evaluation is not None
    source = facts.runs[0].lineage.sources[0]
    name = f"{source.dataset} {source.version}" if source.kind == "release" else source.name
    groups = [("all", facts.evaluation["all"]), *sorted(facts.evaluation["languages"].items())]
    for language, figures in groups:
        yield {
            "task": {"type": "text-generation"},
            "dataset": {"name": f"{name}, held out: {language}", "type": str(source.dataset or source.name)},
            "metrics": [
                {"type": "perplexity", "name": "Perplexity", "value": figures["perplexity"]},
                {"type": "bits_per_byte", "name": "Bits per byte", "value": figures["bits_per_byte"]},
            ],
        }


def _tokens(runs: Sequence[Run]) -> dict[str, int]:
    """Tokens by language, over all runs."""
    counts: dict[str, int] = {}
    for run in runs:
        for language, count in run.lineage.seen.tokens_by_language.items():
            counts[language] = counts.get(language, 0) + count
    return counts


def _about(facts: Facts) -> str:
    tokens = sum(run.lineage.seen.tokens for run in facts.runs)
    what = "An adapter (LoRA) for a causal language model" if facts.adapter else "A causal language model"
    base = f", trained on top of {code(facts.base_model)}" if facts.base_model else ""
    stages = "" if len(facts.runs) == 1 else f" in {len(facts.runs)} runs"
    return (
        f"{what} of code: {facts.parameters:,} parameters ({facts.architecture}, {facts.dtype}){base}, trained on "
        f"{tokens:,} tokens{stages} with Stackmill. `lineage.json` names every row that it was trained on."
    )


def _data(facts: Facts) -> Iterator[str]:
    rows = []
    for run in facts.runs:
        for source in run.lineage.sources:
            name = f"{source.dataset} {source.version}" if source.kind == "release" else source.name
            rows.append(
                [
                    "this run" if run.generation == 0 else f"run {run.generation} before",
                    plain(name),
                    code(source.digest),
                    f"{sum(part.seen.count for part in source.parts):,}",
                    f"{sum(part.held_out.count for part in source.parts):,}",
                ]
            )
    yield table(
        ["run", "data", "SHA-256 (of a release's manifest.json)", "rows trained on", "held out"], rows, left=3
    )
    for run in facts.runs:
        left = {reason: count for reason, count in run.lineage.rows.left_out.items() if count}
        if left:
            each = ", ".join(f"{count:,} {plain(reason)}" for reason, count in sorted(left.items()))
            which = (
                ""
                if len(facts.runs) == 1
                else f" (run {run.generation} before)"
                if run.generation
                else " (this run)"
            )
            yield f"Left out{which}: {each}."
    if base := unknown_base(facts.runs):
        yield f"What {code(base)}, which the first of these runs started from, was trained on is not known here."
    if facts.redactions:
        each = ", ".join(f"{count:,} {plain(kind)}" for kind, count in sorted(facts.redactions.items()))
        yield f"In the releases' texts secrets and personal data were replaced by placeholders: {each}, in all of their rows."


def _languages(facts: Facts) -> str:
    counts = _tokens(facts.runs)
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = [[plain(name), f"{count:,}", share(count, total)] for name, count in ordered[:MOST_ROWS]]
    if rest := ordered[MOST_ROWS:]:
        count = sum(count for _, count in rest)
        rows.append([f"{len(rest)} more", f"{count:,}", share(count, total)])
    return table(["language", "tokens trained on", "share"], rows)


def _evaluation(facts: Facts) -> Iterator[str]:
    last = facts.runs[0].lineage
    if facts.evaluation is None:
        if last.rows.held_out:
            yield "No figures: what this was made from holds none. Those of the run are with its checkpoints."
        else:
            yield "Nothing was held out, and nothing was measured."
        return
    near = last.split.near
    similar = f"; files that agree with a training file to {near:g} or more were left out" if near else ""
    yield (
        f"On files that were held out in whole groups ({plain(last.split.split_by)}: {last.split.groups:,} groups, "
        f"{last.rows.held_out:,} files){similar}. Loss in nats per token; sums over all files of a language, at step "
        f"{facts.evaluation['step']:,} of {last.seen.steps:,}."
    )
    groups = sorted(facts.evaluation["languages"].items(), key=lambda item: (-item[1]["bytes"], item[0]))
    rows = [
        [
            plain(name),
            f"{figures['loss']:.4f}",
            f"{figures['perplexity']:.2f}",
            f"{figures['bits_per_byte']:.4f}",
            f"{figures['bytes']:,}",
        ]
        for name, figures in [("all", facts.evaluation["all"]), *groups]
    ]
    yield table(["language", "loss", "perplexity", "bits per byte", "bytes"], rows)
    if len(facts.runs) > 1:
        yield (
            "The split is that of the last run. Whether earlier runs were trained on files of it can be asked of "
            "`lineage.json`; it is not known from these figures."
        )
    if fim := facts.evaluation.get("fim"):
        figures = fim["all"]
        yield (
            f"Filling in the middle: {figures['exact_match']:.1%} exactly right, edit similarity "
            f"{figures['edit_similarity']:.3f}."
        )


def _licenses(facts: Facts) -> Iterator[str]:
    total = sum(facts.licenses.values())
    ordered = sorted(facts.licenses.items(), key=lambda item: (-item[1], item[0]))
    rows = [[code(name), f"{count:,}", share(count, total)] for name, count in ordered[:MOST_ROWS]]
    if rest := ordered[MOST_ROWS:]:
        count = sum(count for _, count in rest)
        rows.append([f"{len(rest)} more expressions", f"{count:,}", share(count, total)])
    if rows:
        yield f"{total:,} files, each counted once however often it was shown, by the SPDX expression in the release:"
        yield table(["license", "files", "share"], rows)
    if facts.unlicensed:
        yield f"{facts.unlicensed:,} rows came from local files of JSON lines that do not tell their license."
    notices = ", ".join(code(name) for name in facts.notices)
    yield (
        "Each file keeps its license. Many licenses ask that the copyright notice and the license text go with copies of "
        "the code, and a model can repeat code that it was trained on: who publishes such output has that duty. "
        + (f"The notices are in {notices} (of all rows of the release)." if notices else "")
    ).strip()
    if facts.license is None:
        yield "The publisher has not chosen a license for the weights."


def _training(facts: Facts) -> Iterator[str]:
    for run in facts.runs:
        if len(facts.runs) > 1:
            yield "### This run" if run.generation == 0 else f"### Run {run.generation} before"
        yield table(["setting", "value"], [[name, value] for name, value in _settings(run.lineage)], left=2)


def _settings(one: Lineage) -> Iterator[tuple[str, str]]:
    config, seen = one.config, one.seen
    optimizer = config.get("optimizer", {})
    yield "steps", f"{seen.steps:,}" + (f" of {one.order.steps:,}" if seen.steps < one.order.steps else "")
    yield "tokens (with a label)", f"{seen.tokens:,} ({seen.trained_tokens:,})"
    yield "epochs begun", f"{len(seen.epochs)}"
    yield "tokens per step", f"{one.order.rows_per_step * one.packing.sequence_length:,}"
    yield (
        "row length",
        f"{one.packing.sequence_length:,} tokens, packing {plain(one.packing.method)}, none lost",
    )
    yield "fill in the middle", f"rate {one.fim.rate:g}, suffix first in {one.fim.spm_rate:g} of these"
    if one.repository.rate:
        yield "repository context", f"rate {one.repository.rate:g}"
    if config.get("lora"):
        lora = config["lora"]
        yield "adapter", f"rank {lora['rank']}, alpha {lora['alpha']:g}, dropout {lora['dropout']:g}"
    if config.get("quantization"):
        yield "base while training", "weights of 4 bits"
    yield (
        "optimizer",
        f"AdamW, peak rate {optimizer['learning_rate']:g}, {plain(str(optimizer['schedule']))}, warm-up "
        f"{optimizer['warmup_steps']:,} steps, weight decay {optimizer['weight_decay']:g}",
    )
    yield "precision", plain(str(config["precision"]))
    yield "seed", f"{one.order.seed}"
    yield "processes", ", ".join(f"{part.processes} for {part.steps:,} steps" for part in one.history)
    git = one.product.git
    commit = f", commit {git.commit[:12]}{' with changes' if git.dirty else ''}" if git else ""
    yield "code", f"stackmill {plain(one.product.version)}{commit}"
    named = ("torch", "transformers", "peft", "tokenizers")
    yield (
        "libraries",
        ", ".join(f"{name} {plain(one.libraries[name])}" for name in named if name in one.libraries),
    )


def _use(facts: Facts) -> Iterator[str]:
    lines = [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained(".")',
    ]
    if facts.adapter:
        lines = [
            "from peft import PeftModel",
            *lines,
            'base = AutoModelForCausalLM.from_pretrained("PATH OR NAME OF THE BASE")',
            'model = PeftModel.from_pretrained(base, ".")',
        ]
    else:
        lines.append('model = AutoModelForCausalLM.from_pretrained(".")')
    lines += [
        'inputs = tokenizer("def add(a, b):\\n", return_tensors="pt", return_token_type_ids=False)',
        "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=32)[0]))",
    ]
    yield "```python\n" + "\n".join(lines) + "\n```"
    if facts.fim:
        prefix, middle, suffix = facts.fim
        yield (
            f"To fill in a middle, give {code(f'{prefix}BEFORE{suffix}AFTER{middle}')} and read to the end of text."
        )


def _limits(facts: Facts) -> Iterator[str]:
    last = facts.runs[0].lineage
    yield "It was trained here to continue code, not to follow instructions."
    if facts.evaluation is None:
        yield "How well it does that is not said here."
    else:
        missing = sorted(_tokens(facts.runs).keys() - facts.evaluation["languages"].keys())
        yield "Whether code that it writes is right or safe was not measured: only what is said under Evaluation was."
        if missing:
            shown = ", ".join(map(plain, missing[:12])) + (
                f" and {len(missing) - 12} more" if len(missing) > 12 else ""
            )
            yield f"Trained on, but not measured for lack of held-out files: {shown}."
    yield f"It was trained on rows of {last.packing.sequence_length:,} tokens; longer contexts were not tried here."
    yield "It can repeat files that it was trained on; how often was not measured."
    yield (
        "The tokenizer of transformers reads the control tokens' names in text as control tokens; in these runs, text never "
        "became one. For text from strangers pass `split_special_tokens=True`."
    )


def _check(facts: Facts) -> Iterator[str]:
    yield "```console\n$ sha256sum -c SHA256SUMS\n$ pipeline lineage .\n```"
    if facts.checkpoint_digest:
        yield f"Made from the checkpoint whose `checkpoint.json` has the SHA-256 {code(facts.checkpoint_digest)}."
    yield (
        "`pipeline lineage . --origin URL --release DIR` tells whether a repository was trained on, `--removals FILE` which "
        "trained rows have been withdrawn since; DIR is a copy of the release above."
    )
