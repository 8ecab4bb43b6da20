"""Upscale many files with many processes, on one machine or several, through Ray Data.

    from span_arch import load
    from span_arch.batch import Job, find
    from span_arch.cluster import upscale_on_ray

    found = find(["photos"], "large", recursive=True)
    jobs = [Job(source, target, make_folder=True) for source, target in found.pairs]
    for outcome in upscale_on_ray(load("spanx4_ch48"), jobs, address="head:6379"):
        print(outcome)

Ray is an optional dependency. docs/cluster.md explains how to set up a cluster.
"""

from .dispatch import upscale_on_ray
from .ray_connection import AUTO

__all__ = ["AUTO", "upscale_on_ray"]
