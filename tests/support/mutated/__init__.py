"""Files with a fault, tried on this package, and a judge of its own for what comes of them.

A mutation is a function of (seed, number): an original of some layout, one of its files, one
change. It is tried in a child with limits of time and memory, by the ways that users have, and
judged by an oracle that reads the files by itself.

    python tests/support/mutated --recordings 200 --weights 500 --seed 0 --out report.tsv
"""
