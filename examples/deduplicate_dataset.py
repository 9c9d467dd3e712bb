"""Take duplicates out of a Hugging Face dataset, and what it shares with a benchmark.

    python examples/deduplicate_dataset.py data/*.parquet --out smaller.parquet
    python examples/deduplicate_dataset.py data/*.jsonl --column text --threshold 0.8 \\
        --benchmark tests.jsonl --benchmark-column prompt --out smaller.parquet

The dataset is memory-mapped, and its texts are read where they lie: what is held is some 0.5 KB a row.
"""

from __future__ import annotations

import argparse

from datasets import Dataset, load_dataset

from dedup import Deduplicator


def without_duplicates(dataset: Dataset, column: str, threshold: str) -> Dataset:
    """The rows that stay: of several copies the first one."""
    dedup = Deduplicator(column=column, threshold=threshold)
    dedup.add(dataset)
    found = dedup.finish()
    print(found.summary())
    return dataset.select(found.kept_ids.to_numpy())


def without_benchmark(
    dataset: Dataset, column: str, benchmark: Dataset, benchmark_column: str, threshold: str
) -> Dataset:
    """The rows that are no copy of a text of the benchmark."""
    reference = Deduplicator(column=benchmark_column, threshold=threshold)
    reference.add(benchmark)
    matches = reference.matches(dataset, column=column)
    for match in matches.slice(0, 5).to_pylist():
        print(f"row {match['row']} is like row {match['match']} of the benchmark ({match['kind']})")
    like_it = set(matches["row"].to_pylist())
    print(f"{len(like_it):,} rows are like a text of the benchmark")
    return dataset.select(row for row in range(dataset.num_rows) if row not in like_it)


def read(files: list[str]) -> Dataset:
    """Parquet, or else JSON lines."""
    kind = "parquet" if files[0].endswith(".parquet") else "json"
    return load_dataset(kind, data_files=files, split="train")


def main() -> None:
    """Read, take out, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", help="Parquet or JSON lines")
    parser.add_argument("--column", default="content", help="column of the text (default: content)")
    parser.add_argument("--threshold", default="0.7", help="similarity of near-duplicates (default: 0.7)")
    parser.add_argument("--benchmark", nargs="*", default=[], help="files of texts to keep out")
    parser.add_argument("--benchmark-column", default="content", help="their column (default: content)")
    parser.add_argument("--out", required=True, help="Parquet file to write")
    options = parser.parse_args()
    dataset = without_duplicates(read(options.files), options.column, options.threshold)
    if options.benchmark:
        benchmark = read(options.benchmark)
        dataset = without_benchmark(
            dataset, options.column, benchmark, options.benchmark_column, options.threshold
        )
    dataset.to_parquet(options.out)
    print(f"{dataset.num_rows:,} rows written to {options.out}")


if __name__ == "__main__":
    main()
