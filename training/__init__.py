"""Train code models on a release, with the release's evidence in every checkpoint.

From the file to the model, one module each:

    config      the YAML file, typed; unknown keys are errors
    select      which rows are trained on, which owners are held out
    tokenizer   byte-level BPE; text can never become a control token
    fim         fill in the middle, per document and character
    data        released text -> token ids on disk, read through `manifests.reader` only
    packing     documents -> rows, nothing lost
    order       (seed, epoch, step) -> rows
    prepare     all of the above, before the first step
    model       Llama-style models, adapters, and the proof that packed documents do not see each other
    evaluate    loss, perplexity, bits per byte per language, from sums
    checkpoint  whole or not there; verified before use
    lineage     what a checkpoint was trained on
    trainer     transformers.Trainer over packed rows
    train       the run, readable top to bottom
    launch      one process of a distributed run

Only `train`, `trainer`, `model`, `evaluate` and what imports them need the `train` extra's torch and
transformers.
"""

from __future__ import annotations

import os

# PyTorch's OpenMP threads spin while they wait by default. Beside any other load that costs more than it brings: a small
# model trained 3.7 times faster with passive waiting on two busy cores (706 against 2,623 tokens/s, measured), with the
# same losses. It must be set before PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
