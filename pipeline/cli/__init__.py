"""One file per command group; main.py strings them together."""
