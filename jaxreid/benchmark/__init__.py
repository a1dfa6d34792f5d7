"""Throughput: measured in one run against something else, never against a clock alone."""
