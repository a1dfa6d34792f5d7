"""MODEL on the command line: whatever can stand for a network, opened as one kind of thing."""

__all__: list[str] = []
