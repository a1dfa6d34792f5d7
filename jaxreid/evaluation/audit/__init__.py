"""Can the figures of a model be trusted? Each reason to doubt them is looked for and measured."""

__all__: list[str] = []
