"""One training run: the loop, evaluation, checkpoints, lineage. Needs the `train` extra.

train       the run, readable top to bottom
trainer     transformers.Trainer over packed rows; `arguments`, `schedules`, `batches` and `progress` are its parts
evaluation  all that is measured: `evaluate` (losses, by `token_loss`), `fim_score`, `custom_metrics`; `held_out` has the texts
best        which evaluation was the best, and when to stop
loggers     TensorBoard, W&B, MLflow; `callbacks` and `named` find what a configuration names
profile     a trace of some steps
reproducible, interrupted    seeds and deterministic algorithms; full memory, full disk, Ctrl-C
checkpoint  whole or not there; verified before use
lineage     what a checkpoint was trained on
dry_run     what a run would do
"""
