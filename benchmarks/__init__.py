"""Speed and memory of this library, compared with other programs on the same weights: ``python -m benchmarks``."""
