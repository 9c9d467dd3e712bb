"""The model: built or loaded, adapted, and proven to keep packed documents apart. Needs the `train` extra.

start          all of the below: the model of a run before its first step
base           a folder, another run's checkpoint, or a name on the Hub (imports no torch)
build          from sizes or from a folder; precision
architectures  what differs between them: names of sizes, rotary positions, attention, target modules
attention      what a forward pass of packed rows may be called with, and the proof on the actual model
new_tokens     rows for tokens that the model did not have
quantise       the frozen base in 4 bits
adapters       low-rank adapters
summary        the blocks as a table
decoding       generation
"""
