"""Common corruptions of images: noise, blur, weather, digital faults, each in five severities."""

from jaxreid.data.corruptions.corrupting import CORRUPTIONS, SEVERITIES, Corrupted, corrupt

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corrupted", "corrupt"]
