"""After training: what a checkpoint can be used for, and what it can be asked.

generate   completions
merge      an adapter put into its base, read again and compared
"""
