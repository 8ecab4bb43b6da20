"""How fast this library is, and how much memory it takes, beside other programs on the same weights: ``python -m benchmarks``."""
