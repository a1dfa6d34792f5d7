"""Checks of the values of arrays: at once where they are known, or when the compiled program runs.

Inside `jit` an array has a shape and a dtype, but no values yet. There a check does nothing and
costs nothing, unless it is staged: then it becomes part of the program, costs a reduction and a
dispatch, and calls back to the host when it fails.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike

__all__ = ["check_values", "is_finite", "is_known", "staged", "unchecked"]

P = ParamSpec("P")
T = TypeVar("T")

_STAGED: ContextVar[bool] = ContextVar("staged", default=False)
_UNCHECKED: ContextVar[bool] = ContextVar("unchecked", default=False)


@contextlib.contextmanager
def _set(variable: ContextVar[bool]) -> Iterator[None]:
    token = variable.set(True)
    try:
        yield
    finally:
        variable.reset(token)


def staged() -> contextlib.AbstractContextManager[None]:
    """Checks within the block are staged where values are not known yet.

    Only around checks of arguments: whatever an embedding checks would be staged as well, and be
    paid for at every step.
    """
    return _set(_STAGED)


def unchecked(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, compiled without checks of values.

    Under `jit`, attacks check values (images in [0, 1], finite guides, budgets in range) while the
    program runs, by a call back to the host. Such a program cannot be exported by `jax.export` nor
    kept in JAX's persistent compilation cache, and costs some 0.3 ms per call. Where it runs on
    several devices that exchange results (collectives under `pmap` or `shard_map`, arguments that
    are sharded under `jit`), a device that refuses leaves the others waiting: the reason is printed
    by JAX's logger, and then XLA ends the process (after 40 s on CPUs).

        attack = jax.jit(attacks.unchecked(lambda x, key: attacks.sma(embed, x, key)))

    has none of it. Shapes, types and all that is known while it is traced are checked all the same.

    Args:
        function: calls attacks; wrap it before it is compiled.

    Returns:
        A function of the same arguments.
    """

    @functools.wraps(function)
    def without_checks(*args: P.args, **kwargs: P.kwargs) -> T:
        with _set(_UNCHECKED):
            return function(*args, **kwargs)

    return without_checks


def is_known(x: object) -> bool:
    """Whether the values of an argument can be read: not if it is traced, or of other processes."""
    return not isinstance(x, jax.core.Tracer) and getattr(x, "is_fully_addressable", True)


def is_finite(x: Any) -> Any:
    """Whether numbers are neither NaN nor infinite: by NumPy what is NumPy's, by JAX all else."""
    return abs(x) < np.inf


def check_values(x: float | ArrayLike, holds: Callable[[Any], Any], message: str) -> None:
    """Checks the values of an array if they are known yet, or when the program runs if staged.

    `holds` maps it to booleans that must all be true; `message` says what was expected. It gets an
    array of NumPy, unless an accelerator holds the values or a program does: operators serve both.
    """
    if not is_known(x):
        if isinstance(x, jax.core.Tracer):
            _refuse_when_run(x, holds, message)
        return
    try:
        values = _at_hand(x)
    except ValueError:
        raise InputError(message) from None
    if not (jnp.issubdtype(values.dtype, np.number) or values.dtype == np.bool_):
        raise InputError(message)
    # In 64 bits: a float64 must be looked at before it is rounded into the range, or out of it.
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        fine = bool(holds(values).all())
    if not fine:
        raise InputError(message)


def _at_hand(x: float | ArrayLike) -> ArrayLike:
    """Values where they can be read soonest.

    JAX compiles a program for every operation on every shape, which takes longer than NumPy needs
    for the values; what an accelerator holds is not worth a copy.
    """
    if isinstance(x, jax.Array) and any(device.platform != "cpu" for device in x.devices()):
        return x
    return np.asarray(x)


def _refuse_when_run(x: ArrayLike, holds: Callable[[Any], Any], message: str) -> None:
    """Makes the running program refuse values that do not hold, if checks are staged here.

    The InputError reaches the caller of the program inside a `jax.errors.JaxRuntimeError`, when the
    result is read.
    """
    if not _STAGED.get() or _UNCHECKED.get():
        return

    def refuse(fine: Array) -> None:
        # Under `vmap` both branches of the condition are taken: not every call is a failure.
        if not fine:
            raise InputError(message)

    fine = jnp.all(holds(jax.lax.stop_gradient(jnp.asarray(x))))
    jax.lax.cond(fine, lambda _: None, lambda it: jax.debug.callback(refuse, it), fine)
