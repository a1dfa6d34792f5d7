"""`python -m jaxreid` is `jaxreid`."""

from jaxreid.cli import main

main()
