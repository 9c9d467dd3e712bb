"""What a process was fed in a step, made again from a checkpoint's lineage.json and the releases alone.
Not covered: repository context, packing `concat`, JSON lines, weights. Steps and ranks count from 0.

    python examples/reproduce_step.py CHECKPOINT STEP RANK PROCESSES MICRO_BATCH RELEASE..."""

import codecs
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from training.tokens.tokenizer import CodeTokenizer

folder, (step, rank, processes, micro), releases = sys.argv[1], map(int, sys.argv[2:6]), sys.argv[6:]
lineage, tokenizer = json.loads(Path(folder, "lineage.json").read_text()), CodeTokenizer.load(folder)
fim, packing, size = lineage["fim"], lineage["packing"], lineage["order"]["rows_per_step"]
capacity, window = packing["sequence_length"], packing["window"] or 2**62
epoch = [epoch for epoch in lineage["seen"]["epochs"] if epoch["first_step"] <= step][-1]
drawn, control = f"{lineage['order']['seed']}|{epoch['epoch']}", tokenizer.control
documents, rows, sources = [], [], zip(releases, lineage["sources"], strict=True)
# The files as token ids: cut for fill in the middle where a hash says so, else plain.
for file, part in [(Path(release, p["path"]), p) for release, source in sources for p in source["parts"]]:
    assert hashlib.sha256(file.read_bytes()).hexdigest() == part["sha256"], f"{file} is another"
    bits = codecs.decode(codecs.decode(part["train"]["bits"].encode(), "base64"), "zlib")
    train = np.unpackbits(np.frombuffer(bits, np.uint8), count=part["rows"]).astype(bool)
    table = pq.ParquetFile(file).read(["content_sha256", "content"]).filter(train)
    for name, text in zip(*table.to_pydict().values(), strict=True):
        draw = hashlib.sha256(f"fim|{drawn}|{name}".encode()).digest()
        cut, spm, *gaps = (int.from_bytes(draw[i : i + 8], "big") for i in range(0, 32, 8))
        a, b = sorted(gap % (len(text) + 1) for gap in gaps)
        plain, before, middle, after = map(list, tokenizer.encode([text, text[:a], text[a:b], text[b:]]))
        fits = len(text) <= fim["max_characters"] and len(before + middle + after) + 4 <= capacity
        if cut < fim["rate"] * 2**64 and fits:
            after = [control.suffix, *after, control.middle]
            outer = after + before if spm < fim["spm_rate"] * 2**64 else before + after
            plain = [control.prefix, *outer, *middle]
        documents += [[*plain, control.end_of_text]] if text else []
for first in range(0, len(documents), window):  # rows: the longest piece first, where it fits best
    some, space = documents[first : first + window], {}
    pieces = [ids[i : i + capacity] for ids in some for i in range(0, len(ids), capacity)]
    for piece in sorted(pieces, key=len, reverse=True):
        free = next((s for s in range(len(piece), capacity) if space.get(s)), capacity)
        row = space[free].pop() if free < capacity else []
        rows += [] if row else [row]
        row.append(piece)
        space.setdefault(free - len(piece), []).append(row)
hashed = np.arange(len(rows), dtype=np.uint64)  # their order: by SplitMix64 of the number, twice
for key in (0, int.from_bytes(hashlib.sha256(f"order|{drawn}".encode()).digest()[:8], "big")):
    hashed = (hashed ^ np.uint64(key)) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        hashed = (hashed ^ (hashed >> np.uint64(shift))) * np.uint64(factor)
numbers = np.argsort(hashed, kind="stable")[(step - epoch["first_step"]) * size :][:size]
for slot in (slot for slot in range(size) if slot // micro % processes == rank):
    pieces = rows[numbers[slot]] if slot < len(numbers) else []
    cells = [(int(token), k, int(token) if k else -100) for piece in pieces for k, token in enumerate(piece)]
    cells += [(control.pad, k, -100) for k in range(capacity - len(cells))]
    print(json.dumps(list(zip(*cells, strict=True))))  # token ids, positions, labels
