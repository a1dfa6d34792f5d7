"""The league of defenses: trained in one budget, examined alike, and the table of them all."""

__all__: list[str] = []  # one module per thing that a league needs
