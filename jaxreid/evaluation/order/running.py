"""Runs ranking attacks on all trials of a retrieval test, attack by attack, into a run folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np

from jaxreid.checks import check_choice, check_count, check_flag, check_levels
from jaxreid.constants import LARGEST_SEED, LEVELS, MOST_RESTARTS, MOST_STEPS
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError
from jaxreid.evaluation.embeds import as_pytree
from jaxreid.evaluation.features import Subset
from jaxreid.evaluation.guidance import START, key_of
from jaxreid.evaluation.naming import listed
from jaxreid.evaluation.order.measures import MEASURES, OBJECTIVES
from jaxreid.evaluation.order.programs import (
    Chosen,
    Draw,
    Met,
    Rows,
    Shared,
    attack_program,
    better_of,
    choose,
    measure_program,
)
from jaxreid.evaluation.order.specs import CANDIDATES, RANKING_ATTACKS, SCORED, RankingAttackSpec
from jaxreid.evaluation.order.trials import trials_of
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.records import (
    Climb,
    Measured,
    RankingAttack,
    RankingAttacks,
)
from jaxreid.sharding import (
    from_first_process,
    gathered,
    over_rows,
    replicated,
)

__all__ = ["attack_rankings", "ranking_attack_names"]

# Uses of a seed, beyond those of `jaxreid.evaluation.guidance`: the items of each attack.
_DRAWN = 1 << 21


def attack_rankings(
    test: RetrievalTest,
    climb: Climb,
    *,
    attacks: Sequence[str] = SCORED,
    folder: Path | None = None,
    on_attack: Callable[[RankingAttack], None] | None = None,
) -> list[RankingAttack]:
    """Raises and lowers items of the ranking, and measures what is left of it.

    Each query that has a match is a trial: an item of its list is drawn, and the query or that item
    is attacked, features compared by the Euclidean distance of unit vectors. Ranks are counted over
    the whole list of the query, by the rules of the protocol: junk, and images of the person from
    the query's own camera, are not in it. A drawn item is made of the seed, the attack and the
    query's position alone.

    Args:
        test: its ranked queries and its gallery.
        climb: how the attacks climb.
        attacks: keys of RANKING_ATTACKS; those that the ERS is made of by default.
        folder: of the run; each attack is written as it is done, and not done again. None to write
            nothing.
        on_attack: called with each new one.

    Returns:
        The attacks, in their order, each once; of several processes, those that do not see the
        folder lack what it had before.

    Raises:
        InputError: an unknown attack, settings out of range, no query with a match, images that
            cannot be decoded, features that are not finite.
        OSError: the folder cannot be written.
    """
    names = ranking_attack_names(attacks)
    _check_climb(climb)
    test.refuse_matchless()
    known = _known(folder, names, climb)
    missing = from_first_process(np.array([name not in known for name in names]))
    todo = [name for name, left in zip(names, missing, strict=True) if left]
    run = _Run(test, climb, todo) if todo else None
    for name in todo:
        assert run is not None
        known[name] = run.attacked(name)
        if folder is not None and is_main_process():
            _added(folder, known[name])
        if on_attack is not None:
            on_attack(known[name])
    return [known[name] for name in names if name in known]


def ranking_attack_names(attacks: Sequence[str]) -> tuple[str, ...]:
    """Checks names of ranking attacks.

    Args:
        attacks: keys of RANKING_ATTACKS.

    Returns:
        The names, each once, in the order given.

    Raises:
        InputError: an unknown name, none at all, or no list.
    """
    names = tuple(dict.fromkeys(listed("attacks", attacks)))
    if not names:
        raise InputError(f"attacks names none; expected {', '.join(RANKING_ATTACKS)}")
    for name in names:
        check_choice("attacks", name, RANKING_ATTACKS)
    return names


def _check_climb(climb: Climb) -> None:
    """Refuses settings out of range."""
    if not isinstance(climb, Climb):
        raise InputError(f"climb must be a Climb, got a {type(climb).__name__}")
    for name in ("eps", "step_size"):
        check_levels(f"climb.{name}", getattr(climb, name))
    check_count("climb.steps", climb.steps, least=1, most=MOST_STEPS)
    check_count("climb.restarts", climb.restarts, least=1, most=MOST_RESTARTS)
    check_count("climb.seed", climb.seed, most=LARGEST_SEED)
    for name in ("random_start", "best_iterate"):
        check_flag(f"climb.{name}", getattr(climb, name))


def _stored(folder: Path) -> tuple[RankingAttack, ...]:
    found = RankingAttacks.found(folder)
    return found.attacks if found else ()


def _known(folder: Path | None, names: Sequence[str], climb: Climb) -> dict[str, RankingAttack]:
    """Attacks that were done before, by name."""
    found = _stored(folder) if folder is not None else ()
    return {one.attack: one for one in found if one.climb == climb and one.attack in names}


def _added(folder: Path, attack: RankingAttack) -> None:
    RankingAttacks((*_stored(folder), attack)).save(folder)


class _Run:
    """A climb on all trials, attack by attack; `todo` are the attacks that progress is of."""

    def __init__(self, test: RetrievalTest, climb: Climb, todo: Sequence[str]) -> None:
        self._test, self._climb, self._trials = test, climb, trials_of(test)
        self._passes = climb.restarts * len(self._trials.targets.indices)
        self._done, self._total = 0, len(todo) * self._passes
        self._shared = replicated(
            Shared(
                embed=as_pytree(self._trials.clean.embed),
                gallery=self._trials.attacker.gallery.features,
                key=jax.random.key(0),
                eps=np.asarray(climb.eps / LEVELS, np.float32),
                step_size=np.asarray(climb.step_size / LEVELS, np.float32),
                objective=np.asarray(0, np.int32),
            ),
            self._trials.mesh,
        )

    def attacked(self, name: str) -> RankingAttack:
        """One attack on all trials."""
        spec, trials = RANKING_ATTACKS[name], self._trials
        chosen = self._chosen(name)
        place = np.asarray(list(OBJECTIVES).index(spec.objective), np.int32)
        shared = self._shared._replace(objective=replicated(place, trials.mesh))
        measure = over_rows(measure_program(spec.changed), trials.mesh)
        before = trials.joined(measure(shared, rows) for rows in trials.batches(chosen)).measured
        after = self._after(spec, shared, chosen)
        columns = [list(MEASURES).index(each) for each in spec.measures]
        _refuse_nan(name, after)
        self._done += self._passes
        means = {
            MEASURES[each].name: Measured(
                *(float(np.mean(part[:, column], dtype=np.float64)) for part in (before, after))
            )
            for each, column in zip(spec.measures, columns, strict=True)
        }
        return RankingAttack(name, self._climb, len(before), means)

    def _chosen(self, name: str) -> Chosen:
        """The items of all trials."""
        trials, spec = self._trials, RANKING_ATTACKS[name]
        draw = Draw(
            self._shared.gallery,
            key_of(self._climb.seed, _DRAWN + list(RANKING_ATTACKS).index(name)),
            np.asarray(CANDIDATES.index(spec.candidate), np.int32),
        )
        run, draw = over_rows(choose, trials.mesh), replicated(draw, trials.mesh)
        return trials.joined(run(draw, rows) for rows in trials.batches())

    def _after(self, spec: RankingAttackSpec, shared: Shared, chosen: Chosen) -> np.ndarray:
        """What attacked images come to, measure by measure the worst of all starts: [T,S]."""
        trials = self._trials
        attacked = (
            Subset(self._test.source("query"), trials.targets.indices)
            if spec.changed == "query"
            else Subset(self._test.source("gallery"), np.asarray(chosen.candidate))
        )
        parts = []
        with self._test.loader.batches(attacked, trials.size) as batches:
            for number, batch in enumerate(batches, 1):
                rows = trials.rows(batch.indices, chosen)
                rows = rows._replace(images=batch.images, cameras=batch.cameras)
                parts.append(np.asarray(self._worst(spec, shared, rows).measured))
                self._report(min(number * trials.size, len(attacked)) * self._climb.restarts)
        return gathered(parts, len(attacked))

    def _worst(self, spec: RankingAttackSpec, shared: Shared, rows: Rows) -> Met:
        """The worst of all starts of a batch."""
        climb, mesh, worst = self._climb, self._trials.mesh, None
        for restart in range(climb.restarts):
            random = climb.random_start or restart > 0
            program = attack_program(
                spec.changed, climb.steps, random=random, best=climb.best_iterate
            )
            key = replicated(key_of(climb.seed, START + restart), mesh)
            met = over_rows(program, mesh)(shared._replace(key=key), rows)
            worst = met if worst is None else better_of(worst, met)
        assert worst is not None
        return worst

    def _report(self, done: int) -> None:
        if self._test.progress is not None:
            self._test.progress("attacks", self._done + done, self._total)


def _refuse_nan(name: str, measured: np.ndarray) -> None:
    wrong = ~np.isfinite(measured).all(axis=1)
    if wrong.any():
        raise InputError(
            f"the embedding gives NaN or infinity for {int(wrong.sum())} of {len(wrong)} images "
            f"that {name} attacked; it must be finite for all images in [0, 1]"
        )
