"""Pages of figures: one self-contained HTML file without scripts, from JSON values alone."""
