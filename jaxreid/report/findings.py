"""What was found, in plain words, whatever the order of the attacks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxreid.records.budgets import exact
from jaxreid.report.grouping import Group, Point
from jaxreid.report.strikes import Strike, main_protocol, strikes
from jaxreid.report.style import percent

__all__ = ["Finding", "findings", "home_of"]

# Two attacks whose mAP differs by less than this share are called equally strong.
_SAME = 0.01
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Finding:
    """What one run shows, or two beside each other.

    Attributes:
        run: label of the run; "" for a comparison, whose headline names both.
        headline: one sentence.
        rest: more sentences.
    """

    run: str
    headline: str
    rest: list[str]


def home_of(groups: Sequence[Group], label: str) -> Group | None:
    """Finds where a run is best judged.

    Args:
        groups: the fullest first.
        label: of the run.

    Returns:
        The first group in which it is attacked; else the first in which it has any figure.
    """
    having = [group for group in groups if label in group.labels]
    return next((g for g in having if strikes(g, label)), next(iter(having), None))


def findings(groups: Sequence[Group], labels: Sequence[str]) -> list[Finding]:
    """Says what the results show.

    Args:
        groups: the fullest first.
        labels: of the runs, in their order.

    Returns:
        Runs in their order, then comparisons with the first run; plain text, not HTML.
    """
    homes = {label: home_of(groups, label) for label in labels}
    told = []
    for label, home in homes.items():
        protocol = main_protocol(home) if home else None
        if home is None or protocol is None:
            continue
        headline, *rest = [*_of_run(home, label, protocol)]
        aside = [] if home is groups[0] else [f"Setting: {home.panel.title}."]
        told.append(Finding(label, headline, rest + aside))
    first, *others = labels
    home = homes[first]
    protocol = main_protocol(home) if home else None
    for other in others:
        if home is not None and protocol is not None and homes[other] is home:
            told += [Finding("", text, []) for text in _compared(home, first, other, protocol)]
    return told


def _of_run(group: Group, label: str, protocol: str) -> Iterator[str]:
    clean, found = group.clean.get(label), strikes(group, label)
    before = clean.spread(protocol) if clean else None
    if not found:
        if clean is None or before is None:
            yield "No figure to sum up: see all results."
        else:
            first = clean.spread(protocol, "rank1") or before
            yield (
                f"On clean images, mAP is {percent(before.mean)}, and the first image found shows "
                f"the right person in {percent(first.mean)} of all searches."
            )
            yield "No attack has been scored yet."
        return
    worst = found[0]
    yield _headline(group, worst, before.mean if before else None, len(found))
    rank1 = worst.point.spread(protocol, "rank1")
    rank1_before = clean and clean.spread(protocol, "rank1")
    if rank1 and rank1_before:
        yield (
            f"The first image found shows the right person in {percent(rank1_before.mean)} of all "
            f"searches before the attack, and in {percent(rank1.mean)} after it."
        )
    yield from _order(found)
    if before:
        yield from _noise(found, before.mean)
        yield from _halved(group, worst, before.mean, protocol)


def _attacker(group: Group, eps: float) -> str:
    images = "a query" if group.panel.side == "query" else "the gallery images"
    if group.panel.norm == "linf":
        return f"An attacker who changes no pixel of {images} by more than {exact(eps)}/255"
    each = "a query" if group.panel.side == "query" else "each gallery image"
    return f"An attacker whose change of {each} has a length of at most {exact(eps)} (L2)"


def _headline(group: Group, worst: Strike, before: float | None, count: int) -> str:
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    how = f"{worst.name}, the strongest of {number} attacks" if count > 1 else worst.name
    if before is None:
        return (
            f"{_attacker(group, worst.point.eps)} leaves an mAP of {percent(worst.left)} ({how})."
        )
    who, now = _attacker(group, worst.point.eps), percent(worst.left)
    if worst.left > before - 0.0005:
        return f"{who} does not lower mAP: {percent(before)} before and {now} after ({how})."
    return f"{who} brings mAP from {percent(before)} to {now} ({how})."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _order(found: list[Strike]) -> Iterator[str]:
    """The other attacks that know where to go, from the strongest."""
    worst, others = found[0], [strike for strike in found[1:] if strike.gradient]
    equal = [strike for strike in others if strike.left - worst.left < _SAME]
    weaker = [strike for strike in others if strike not in equal]
    if equal:
        names = _listed([f"{strike.name} ({percent(strike.left)})" for strike in equal])
        yield f"{names} {'is' if len(equal) == 1 else 'are'} as strong, within one point."
    if weaker:
        names = _listed([f"{strike.name} leaves {percent(strike.left)}" for strike in weaker])
        yield f"{names}."


def _noise(found: list[Strike], before: float) -> Iterator[str]:
    noise = next((strike for strike in found if not strike.gradient), None)
    if noise is None or len(found) == 1:
        return
    drop, worst_drop = before - noise.left, before - found[0].left
    if worst_drop > 0.05 and drop < worst_drop / 4:
        yield (
            f"Random noise of the same size leaves {percent(noise.left)}: the harm lies in where "
            "the change points, not in its size."
        )
    elif noise is not found[0]:
        yield f"Random noise of the same size leaves {percent(noise.left)}."


def _halved(group: Group, worst: Strike, before: float, protocol: str) -> Iterator[str]:
    """The smallest budget that was tried at which half of mAP is gone."""
    for point in worst.curve.points:
        spread = point.spread(protocol)
        smaller = point.eps < worst.point.eps
        if spread and smaller and 0 < spread.mean < before / 2:
            budget = group.panel.budget(point.eps)
            yield f"A budget of {budget} is enough to lose half: {percent(spread.mean)} is left."
            return


def _points(share: float) -> str:
    return f"{abs(100 * share):.1f} points"


def _compared(group: Group, first: str, other: str, protocol: str) -> Iterator[str]:
    """A run beside the first one: each under the attack that is strongest against it."""
    one, two = strikes(group, first), strikes(group, other)
    clean_one, clean_two = group.clean.get(first), group.clean.get(other)
    if not one or not two or one[0].point.eps != two[0].point.eps:
        return
    left_one, left_two = one[0].left, two[0].left
    budget = group.panel.budget(one[0].point.eps)
    each = f"{percent(left_two)} ({two[0].name}) against {percent(left_one)} ({one[0].name})"
    if abs(left_two - left_one) < _SAME:
        text = f"At {budget}, {other} resists the strongest attack no better than {first}: {each}"
    elif left_two > left_one:
        times = f", {left_two / left_one:.1f} times as much" if left_one > 0.0005 else ""
        text = f"At {budget}, {other} keeps more mAP under its strongest attack: {each}{times}"
    else:
        text = f"At {budget}, {other} keeps less mAP under its strongest attack: {each}"
    yield f"{text}{_price(clean_one, clean_two, protocol)}."


def _price(first: Point | None, other: Point | None, protocol: str) -> str:
    one, two = first and first.spread(protocol), other and other.spread(protocol)
    if not one or not two:
        return ""
    change = two.mean - one.mean
    if abs(change) < 0.0005:
        return "; clean mAP is the same"
    return f"; clean mAP is {_points(change)} {'higher' if change > 0 else 'lower'}"
