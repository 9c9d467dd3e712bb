"""What a rank was fed in a step (both from 0), made again from a checkpoint's lineage.json and the releases.

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
capacity, window, documents, rows = packing["sequence_length"], packing["window"] or 2**62, [], []
done, sources = lineage["seen"]["steps"], list(zip(releases, lineage["sources"], strict=True))
mixed = lineage["repository"]["rate"] or any(lineage["mix"]["wanted"].values())
there = 0 <= step < done and 0 <= rank < processes and size % (processes * micro) == 0
if mixed or not there or packing["method"] != "bfd" or any(of["kind"] != "release" for _, of in sources):
    sys.exit(f"Steps 0 to {done - 1}, {size} rows each; not repository context, concat, weights, JSON lines.")
epoch = [epoch for epoch in lineage["seen"]["epochs"] if epoch["first_step"] <= step][-1]
drawn, control = f"{lineage['order']['seed']}|{epoch['epoch']}", tokenizer.control
for file, part in [(Path(release, p["path"]), p) for release, of in sources for p in of["parts"]]:
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
        documents += [[*plain, control.end_of_text]] if text else []  # cut where a hash says so, else plain
for some in (documents[first : first + window] for first in range(0, len(documents), window)):
    pieces, space = [ids[i : i + capacity] for ids in some for i in range(0, len(ids), capacity)], {}
    for piece in sorted(pieces, key=len, reverse=True):  # the longest first, where it fits best
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
fed = [rows[n] for n in np.argsort(hashed, kind="stable")[(step - epoch["first_step"]) * size :][:size]]
for pieces in (row for i, row in enumerate(fed + [[]] * (size - len(fed))) if i // micro % processes == rank):
    cells = [(int(token), k, int(token) if k else -100) for piece in pieces for k, token in enumerate(piece)]
    cells += [(control.pad, k, -100) for k in range(capacity - len(cells))]
    print(json.dumps(list(zip(*cells, strict=True))))  # token ids, positions, labels
