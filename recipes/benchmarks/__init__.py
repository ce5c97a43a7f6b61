"""Parts of ``recipes/benchmark.py``."""
