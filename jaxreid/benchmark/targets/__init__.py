"""What programs cost on accelerators that are not here: compiled or lowered for them, and read."""

__all__: list[str] = []  # for `jaxreid benchmark compile` only
