"""From a prepared dataset to batches: splits with random access, decoding, samplers, a loader."""

__all__: list[str] = []
