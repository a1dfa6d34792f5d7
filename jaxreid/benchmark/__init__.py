"""Throughput: measured in one run against something else, never against a clock alone."""

__all__: list[str] = []  # one module per thing that is timed
