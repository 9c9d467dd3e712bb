"""From text to packed rows of token ids: tokenised once, memory-mapped after that. No torch here.

tokenizer   byte-level BPE; text can never become a control token
cache       released text -> token ids on disk
packing     documents -> rows, nothing lost
order       (seed, epoch, step) -> rows
"""
