"""`jaxreid benchmark`: one file per subcommand that is more than a few lines, and their tables."""

__all__: list[str] = []
