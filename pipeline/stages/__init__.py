"""The stages, one file per step of the flow; pipeline/release.py strings them together.

graph.py       the graph tables, bucketed
selections.py  the user's files that choose origins and contents, bucketed
choose.py      which origins take part
resolve.py     origin -> latest full visit -> snapshot -> branch -> revision -> root directory
networks.py    fork networks
origins.py     the origin ledger; roots
reach.py       the part of the graph that the roots lead to: its directories, and their entries once
walk.py        root -> every path: directories level by level, then what lies in them
expand.py      the join of the walk, in bounded chunks
listed.py      what the graph knows of each content that the walk found
files.py       wave W0: what can be decided from the graph alone
earliest.py    the earliest known occurrence of each content
fetch.py       bodies of wanted contents, verified, kept in a store
licenses.py    wave W1: license-like files -> evidence -> attribution to directories -> survivors
judge.py       wave W2: decoding, language, generated, quality, license headers
secrets.py     findings and released text
sketches.py    sketches of released texts
elect.py       wave W3: one occurrence per content, one content per released text
rank.py        the place of each elected content in the election order
near.py        wave W4: near-duplicates, from sketches to what is dropped; its parts are
near_pairs.py  sketches -> band keys -> candidate pairs
near_verify.py exact similarities of the pairs
near_settle.py which contents stay, decided by one task
near_rounds.py the same in rounds over buckets, where there are many pairs
ledger.py      one decision per occurrence, counted; look-ups for explain
emit.py        rows, placement in shards, shards
changes.py     the rows that are not the same in the release and in its parent
removed.py     why rows of the parent are gone; tombstones
"""
