"""After training: what a checkpoint can be used for, and what it can be asked.

generate   completions
merge      an adapter put into its base, read again and compared
export     a plain folder for transformers: weights, tokenizer, notices, lineage
card       its model card
trace      which rows a checkpoint was trained on, and whether something was among them
places     in which step, with which tokens
withdrawn  trained rows that have since been withdrawn
sums       SHA256SUMS of a folder that is no checkpoint
"""
