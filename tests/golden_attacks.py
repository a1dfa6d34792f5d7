"""The attacks of `golden/attacks.npz`, as tests and `benchmarks/golden_attacks.py` compute them."""

import jax.numpy as jnp
import numpy as np
from toy import WEIGHTS, features

from jaxreid import attacks


def recomputed(z, dtype):
    """Every golden attack, computed again at a precision: name -> images."""
    weights = {name: jnp.asarray(z[name], dtype) for name in WEIGHTS}

    def embed(images):
        return features(weights, images)

    x, f = jnp.asarray(z["images"], dtype), jnp.asarray(z["features"], dtype)
    single, multi, pull = f[z["single"]], f[z["multi"]], f[z["pull"]]
    start = x + jnp.asarray(z["delta0"], dtype)
    eps, step_size = float(z["epsilon"]), float(z["step_size"])
    once = {"eps": eps}
    often = {"eps": eps, "step_size": step_size, "steps": int(z["steps"])}
    goat = {"eps": eps, "step_size": step_size, "steps": int(z["goat_steps"]), "start": start}
    return {
        "fgsm_single": attacks.fgsm(embed, x, single, **once),
        "fgsm_multi": attacks.fgsm(embed, x, multi, **once),
        "ifgsm_single": attacks.ifgsm(embed, x, single, **often),
        "ifgsm_multi": attacks.ifgsm(embed, x, multi, **often),
        "mifgsm_single": attacks.mifgsm(embed, x, single, **often),
        "mifgsm_multi": attacks.mifgsm(embed, x, multi, **often),
        "sma": attacks.sma(embed, x, start=start, **often),
        # The reference climbs ||f + f(x)||^2 instead of descending it.
        "odfa": attacks.ifgsm(embed, x, -f, **often),
        "fna": attacks.fna(embed, x, multi, pull, **often),
        "fna_without_push": attacks.fna(embed, x, None, pull, **often),
        "goat_fna": attacks.fna(embed, x, multi, pull, **goat),
        "goat_push": attacks.ifgsm(embed, x, multi, **goat),
    }


def rows_with_a_gradient(z, name):
    """Images not guided by themselves: there the gradient is rounding noise, and so its sign."""
    guide = {"single": z["single"], "without_push": z["pull"]}
    for suffix, indices in guide.items():
        if name.endswith(suffix):
            return indices != np.arange(len(indices))
    return np.ones(len(z["images"]), bool)
