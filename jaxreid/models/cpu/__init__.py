"""What only XLA's CPU backend needs: other forms of the same functions, which it runs faster.

Nothing here changes what a network computes, but for rounding. Ordinary layers come here by
`jax.lax.platform_dependent`, so that a program lowered for a GPU or TPU has none of it, even on a
machine without one; frozen networks by their target, see `jaxreid.models.frozen`.
"""

__all__: list[str] = []
