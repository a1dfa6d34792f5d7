"""Throughput and defenses, measured in one run against something else; never a clock alone."""

__all__: list[str] = []  # one module per thing that is timed
