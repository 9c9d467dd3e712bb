"""Train code models on a release, with the release's evidence in every checkpoint.

From the file to the model, one floor each; what a floor holds is said in its `__init__`:

    config      the YAML file, typed; unknown keys are errors
    corpus      which rows of which release are trained on, held out, left aside
    tokens      text -> token ids on disk -> packed rows, in an order that is a pure function
    prepare     all of the above, before the first step
    model       models, adapters, and the proof that packed documents do not see each other
    run         the loop, evaluation, checkpoints, lineage
    after       what a checkpoint can be used for, and what it can be asked
    launch      one process of a distributed run

Only `model`, `run` and `after` need the `train` extra's torch and transformers.
"""

from __future__ import annotations

import os

# PyTorch's OpenMP threads spin while they wait by default. Beside any other load that costs more than it brings: a small
# model trained 3.7 times faster with passive waiting on two busy cores (706 against 2,623 tokens/s, measured), with the
# same losses. It must be set before PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
