"""Files of weights: what they are by their first bytes, and what is in them, as NumPy arrays."""

__all__: list[str] = []
