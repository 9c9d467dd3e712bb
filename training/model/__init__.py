"""The model: built or loaded, adapted, and proven to keep packed documents apart. Needs the `train` extra.

build      from sizes or from a folder
attention  what a forward pass of packed rows may be called with, and the proof on the actual model
adapters   low-rank adapters
"""
