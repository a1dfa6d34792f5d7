"""`python -m jaxreid`: the command line."""

from jaxreid.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
