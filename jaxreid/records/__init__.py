"""What an evaluation writes and a report reads: one folder per run, in a versioned schema.

    run.json               where the results come from (`Provenance`)
    results.jsonl          one `Result` per line, appended as it is known
    arrays/KEY.npz         `PerQuery` of a result
    examples/KEY.npz       `Examples`: rank lists before and after the attack, with the images
    map/KEY.npz            `FeatureMap`: features of a few people, clean and attacked
    verification/KEY.npz   `VerificationCurve`: a ROC, where it was asked for
    card.json              `Card` of the model, if it was audited
    blackbox.json          `BlackBox`: attacks that see rank lists alone, by the images they ask
    ers.json               `RankingAttacks`: what is left of ranks that are attacked, and the ERS
    adaptive.json          `AdaptiveAttacks`: what is left behind re-ranking or a detector, with
                           `AttackedFeatures` in adaptive/ until it is written
    corruptions.json       `CorruptionRecord`: what common corruptions leave, if it was measured
    certificate.json       `Certificate`, if it was certified, with its `CertifiedQueries` in
                           certificate.npz and `MeanFeatures` in smoothed/

KEY is `Condition.key`. A line is written after its arrays, so a run that is interrupted keeps all
that it has finished, and what is listed is complete.
"""

from jaxreid.records.adaptive import (
    ADAPTIVE_FILE,
    ADAPTIVE_SCHEMA,
    AdaptiveAttack,
    AdaptiveAttacks,
    AdaptiveClimb,
    Alarms,
    Detected,
    Left,
    Reranked,
)
from jaxreid.records.arrays import (
    AttackedFeatures,
    CertifiedQueries,
    Examples,
    FeatureMap,
    MeanFeatures,
    PerQuery,
    VerificationCurve,
)
from jaxreid.records.blackbox import BLACK_BOX_FILE, BLACK_BOX_SCHEMA, BlackBox, ByQueries
from jaxreid.records.card import CARD_FILE, CARD_SCHEMA, Card, Figure, Flag, ThreatModel
from jaxreid.records.certificate import (
    CERTIFICATE_FILE,
    CERTIFICATE_SCHEMA,
    Certificate,
    CertifiedLevel,
)
from jaxreid.records.corruptions import (
    CORRUPTIONS_FILE,
    CORRUPTIONS_SCHEMA,
    CorruptedLevel,
    CorruptionRecord,
)
from jaxreid.records.folder import RunFolder
from jaxreid.records.ranking_attacks import (
    ERS_FILE,
    ERS_SCHEMA,
    ERS_TERMS,
    Climb,
    ErsTerm,
    Measured,
    RankingAttack,
    RankingAttacks,
    ers,
)
from jaxreid.records.schema import SCHEMA, Condition, Provenance, Result
from jaxreid.records.scores import (
    Impersonation,
    Member,
    Score,
    Spread,
    Verification,
    WorstCase,
    WrongCamera,
)

__all__ = [
    "ADAPTIVE_FILE",
    "ADAPTIVE_SCHEMA",
    "BLACK_BOX_FILE",
    "BLACK_BOX_SCHEMA",
    "CARD_FILE",
    "CARD_SCHEMA",
    "CERTIFICATE_FILE",
    "CERTIFICATE_SCHEMA",
    "CORRUPTIONS_FILE",
    "CORRUPTIONS_SCHEMA",
    "ERS_FILE",
    "ERS_SCHEMA",
    "ERS_TERMS",
    "SCHEMA",
    "AdaptiveAttack",
    "AdaptiveAttacks",
    "AdaptiveClimb",
    "Alarms",
    "AttackedFeatures",
    "BlackBox",
    "ByQueries",
    "Card",
    "Certificate",
    "CertifiedLevel",
    "CertifiedQueries",
    "Climb",
    "Condition",
    "CorruptedLevel",
    "CorruptionRecord",
    "Detected",
    "ErsTerm",
    "Examples",
    "FeatureMap",
    "Figure",
    "Flag",
    "Impersonation",
    "Left",
    "MeanFeatures",
    "Measured",
    "Member",
    "PerQuery",
    "Provenance",
    "RankingAttack",
    "RankingAttacks",
    "Reranked",
    "Result",
    "RunFolder",
    "Score",
    "Spread",
    "ThreatModel",
    "Verification",
    "VerificationCurve",
    "WorstCase",
    "WrongCamera",
    "ers",
]
