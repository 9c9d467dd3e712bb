"""After training: what a checkpoint can be used for, and what it can be asked.

generate   completions
"""
