"""Over mapped devices, and over none."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.collectives import Collective, local_copy

ROWS = np.arange(8, dtype=np.float32).reshape(4, 2)


def test_four_devices_and_one():
    devices, one = Collective("devices"), Collective()

    def together(rows):
        return devices.mean({"a": rows}), devices.sum(rows), devices.gather(rows), devices.size

    mean, total, whole, size = local_copy(jax.pmap(together, axis_name="devices")(ROWS))
    np.testing.assert_array_equal(mean["a"], [3, 4])
    np.testing.assert_array_equal(total, [12, 16])
    np.testing.assert_array_equal(whole, ROWS.reshape(-1))
    assert (size, one.size) == (4, 1)
    for alone in (one.mean(ROWS), one.sum(ROWS), one.gather(ROWS)):
        np.testing.assert_array_equal(alone, ROWS)
    mask = np.array([[True, True], [False, False], [False, True], [False, False]])
    np.testing.assert_array_equal(
        jax.pmap(devices.number_of, axis_name="devices")(mask), [0.75] * 4
    )
    np.testing.assert_array_equal(jax.pmap(devices.number_of, axis_name="devices")(~mask & mask), 1)
    assert one.number_of(mask) == 3
    assert isinstance(one.gather(ROWS), jnp.ndarray)
