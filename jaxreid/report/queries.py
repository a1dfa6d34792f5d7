"""Success against the number of images asked: what a black-box attack costs."""

from collections.abc import Sequence

from jaxreid.records import ByQueries
from jaxreid.report.canvas import (
    HUES,
    Picture,
    canvas,
    legend_below,
    log_ticks,
    percent_axis,
    picture,
)

__all__ = ["success_by_queries"]

_DASHES = ("-", "--", "-.", ":")


def success_by_queries(attacks: Sequence[ByQueries], name: str) -> Picture:
    """Draws which share of the searches each attack has fooled after how many images.

    Args:
        attacks: of one run.
        name: fit for a file and for an id.
    """
    most = max(attack.checkpoints[-1] for attack in attacks)
    with canvas(wide=True) as (figure, (axes,)):
        lines = []
        for number, attack in enumerate(attacks):
            asked, shares = _curve(attack, most)
            colour, dashes = HUES[number % len(HUES)], _DASHES[number % len(_DASHES)]
            lines += axes.step(asked, shares, where="post", color=colour, linestyle=dashes)
        axes.set_xscale("log")
        log_ticks(axes.xaxis, "{:,.0f}".format)
        axes.set_xlim(1, max(most, 2))
        axes.set_xlabel("images asked about each search")
        axes.set_ylabel("not found first")
        percent_axis(axes)
        legend_below(figure, [(line, _name(a)) for line, a in zip(lines, attacks, strict=True)])
        ends = (f"{_name(a)} ends at {100 * _curve(a, most)[1][-1]:.0f} %" for a in attacks)
        return picture(
            figure,
            name,
            alt="Share of the searches whose person is not found first any more, against the "
            f"number of images asked, logarithmic. {'; '.join(ends)}.",
            caption="The further up and left, the cheaper the attack.",
        )


def _curve(attack: ByQueries, most: int) -> tuple[list[int], list[float]]:
    """Corners of the stairs, from the clean image to the budget."""
    won = sorted(number for number in attack.succeeded_at if number)
    asked = [*sorted({1, *won}), most]
    return asked, [sum(number <= n for number in won) / len(attack.succeeded_at) for n in asked]


def _name(attack: ByQueries) -> str:
    return f"{attack.attack}, {attack.eps:g}/255"
