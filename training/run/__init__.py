"""One training run: the loop, evaluation, checkpoints, lineage. Needs the `train` extra.

train       the run, readable top to bottom
trainer     transformers.Trainer over packed rows
evaluate    loss, perplexity, bits per byte per language, from sums
checkpoint  whole or not there; verified before use
lineage     what a checkpoint was trained on
dry_run     what a run would do
"""
