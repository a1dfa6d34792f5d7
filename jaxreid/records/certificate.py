"""The certificate of a smoothed model: what no change of a query, up to a length, can do to it."""

from dataclasses import dataclass
from typing import Annotated, Any

from jaxreid.errors import InputError
from jaxreid.records.kept import InRunFolder
from jaxreid.records.parsing import Within
from jaxreid.records.scores import Score

__all__ = ["CERTIFICATE_FILE", "CERTIFICATE_SCHEMA", "Certificate", "CertifiedLevel"]

CERTIFICATE_FILE = "certificate.json"
"""Name of the certificate in a run folder."""
CERTIFICATE_SCHEMA = 1
"""Version of the certificate; one of another version is refused."""

_MOST = 1e12
_Share = Annotated[float, Within(0, 1)]
_Count = Annotated[int, Within(0, _MOST)]
_Amount = Annotated[float, Within(0, _MOST)]


@dataclass(frozen=True)
class CertifiedLevel:
    """What is certain at one radius.

    Attributes:
        radius: largest L2 length of the change of a query, in pixel range.
        certified: protocol -> scores that nothing within the radius gets below.
        attacked: protocol -> what an attack within the radius left; None where none was run.
    """

    radius: _Amount
    certified: dict[str, Score]
    attacked: dict[str, Score] | None = None


@dataclass(frozen=True)
class Certificate(InRunFolder):
    """What is certain of a ranking by smoothed features, in one JSON file.

    Attributes:
        title: how a report names the run.
        command: the command line, quoted for a shell.
        model: architecture, weights file, its SHA-256, and the like; of the model that is smoothed.
        dataset: name, config, split sizes, number of cameras.
        settings: everything else that the figures depend on.
        versions: package -> version.
        devices: as JAX names them.
        created: UTC, ISO 8601.
        sigma: standard deviation of the noise, in pixel range.
        samples: noisy copies of each query.
        confidence: in [0, 1], probability with which all that is certified holds at once.
        queries: that have a match.
        abstained: those of them whose estimate has a match first, and whose number of samples is
            too small to be certain even of that.
        error: largest bound of the distance from an estimated to the smoothed feature.
        clean: protocol -> scores of the estimated features, ties against the matches.
        levels: in the order of their radii.
        schema: CERTIFICATE_SCHEMA.
    """

    FILE = CERTIFICATE_FILE
    SCHEMA = CERTIFICATE_SCHEMA
    AGAIN = "`jaxreid certify` writes it anew"

    title: str
    command: str
    model: dict[str, Any]
    dataset: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    devices: str
    created: str
    sigma: _Amount
    samples: _Count
    confidence: _Share
    queries: _Count
    abstained: _Count
    error: _Amount
    clean: dict[str, Score]
    levels: tuple[CertifiedLevel, ...]
    schema: int = CERTIFICATE_SCHEMA

    def _check(self) -> None:
        """Refuses what the types of the fields do not."""
        if self.abstained > self.queries:
            raise InputError(f"abstained is {self.abstained}, more than there are queries")
        radii = [level.radius for level in self.levels]
        if radii != sorted(set(radii)):
            raise InputError("levels are not in the order of their radii, each one once")
        for number, level in enumerate(self.levels):
            for name in ("certified", "attacked"):
                scores = getattr(level, name)
                if scores is not None and set(scores) != set(self.clean):
                    raise InputError(
                        f"levels[{number}].{name} is not of the protocols of clean: "
                        f"{', '.join(self.clean)}"
                    )
