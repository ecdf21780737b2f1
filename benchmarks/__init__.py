"""Side-by-side runs: Inbuilt beside what a user would pick instead, and beside what the machine could do at best.

    python -m benchmarks                              all of it; writes results.md and results.json beside this file
    python -m benchmarks --algorithm pca              one algorithm; prints its table
    python -m benchmarks --row "one request" --quick  the rows of which these words are a part, on little data

Each module named after an algorithm, `ingest` and `serving` declare rows: what we do, and what does the same instead.
"""
