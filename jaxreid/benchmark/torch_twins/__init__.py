"""The same networks in PyTorch; its modules are imported only where PyTorch is installed."""

__all__: list[str] = []  # one module per family, and one that copies weights into them
