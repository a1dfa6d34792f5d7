"""Others that hold a folder, for tests of what whoever comes second is told."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

from jaxreid.locks import held


@contextlib.contextmanager
def held_elsewhere(folder, **options):
    """Holds a folder in another thread: to this one it is as if a process did."""
    block = held(folder, **options)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(block.__enter__).result()
        try:
            yield
        finally:
            thread.submit(block.__exit__, None, None, None).result()
