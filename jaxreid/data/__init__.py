"""Datasets of people seen by cameras, and the pipeline that feeds them."""
