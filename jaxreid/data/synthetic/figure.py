"""Draws a person onto a canvas, far parts first."""

from PIL import Image

from jaxreid.data.synthetic.body import HIP, SHOULDER, Joint, Pose, View, joints, outline_of
from jaxreid.data.synthetic.canvas import Canvas, Point
from jaxreid.data.synthetic.wardrobe import Person, fabric, tinted

__all__ = ["draw_person"]

_HEAD = 0.068  # level of its middle
_HEM = {"shirt": 0.505, "long": 0.515, "jacket": 0.53, "coat": 0.70}


def draw_person(canvas: Canvas, person: Person, pose: Pose, *, view: View, detail: float) -> None:
    """Draws a clothed person; `detail` is the contrast of the fabric's texture, of 255."""
    limbs = joints(person, pose)
    # Far limbs before near ones; a limb's distance is that of its middle joint.
    arms = sorted((-1, 1), key=lambda side: view.near(limbs[f"arm{side}"][1]))
    legs = sorted((-1, 1), key=lambda side: view.near(limbs[f"leg{side}"][1]))
    upper, lower = fabric(person.upper, detail), fabric(person.lower, detail)
    anchor = view.point((0.0, SHOULDER, 0.0))
    waist = view.point((0.0, HIP - 0.05, 0.0))
    behind = view.cosine > 0
    if behind:
        _bag(canvas, person, view, pose)
        _long_hair(canvas, person, view, pose)
    _arm(canvas, person, view, limbs[f"arm{arms[0]}"], cloth=upper, at=anchor)
    for side in legs:
        _leg(canvas, person, view, limbs[f"leg{side}"], cloth=lower, at=waist)
    if person.lower.kind == "skirt":
        _skirt(canvas, person, view, cloth=lower, at=waist)
    _torso(canvas, person, view, cloth=upper, at=anchor)
    _trim(canvas, person, view)
    _head(canvas, person, view, pose)
    if not behind:
        _long_hair(canvas, person, view, pose)
        _bag(canvas, person, view, pose)
    elif person.bag == 1:
        _straps(canvas, person, view)
    _arm(canvas, person, view, limbs[f"arm{arms[1]}"], cloth=upper, at=anchor)
    _carried(canvas, person, view, limbs)


def _between(a: Joint, b: Joint, share: float) -> Joint:
    return (
        a[0] + share * (b[0] - a[0]),
        a[1] + share * (b[1] - a[1]),
        a[2] + share * (b[2] - a[2]),
    )


def _arm(
    canvas: Canvas, person: Person, view: View, bones: list[Joint], *, cloth: Image.Image, at: Point
) -> None:
    """An arm: skin first, the sleeve over it as far as it reaches."""
    h = view.height * person.stout
    points = [view.point(j) for j in bones]
    canvas.limb((points[0], points[1]), (0.026 * h, 0.021 * h), person.skin, at=at)
    canvas.limb((points[1], points[2]), (0.021 * h, 0.015 * h), person.skin, at=at)
    wrist = points[2]
    canvas.disc((wrist[0], wrist[1] + 0.016 * h), (0.017 * h, 0.022 * h), person.skin)
    reach = person.sleeve * 2.0
    elbow = view.point(_between(bones[0], bones[1], min(1.0, reach)))
    if reach > 1.0:
        cuff = view.point(_between(bones[1], bones[2], reach - 1.0))
        canvas.limb((points[1], cuff), (0.027 * h, 0.021 * h), cloth, at=at)
    canvas.limb((points[0], elbow), (0.029 * h, 0.026 * h), cloth, at=at)


def _leg(
    canvas: Canvas, person: Person, view: View, bones: list[Joint], *, cloth: Image.Image, at: Point
) -> None:
    """A leg with its shoe; bare below shorts and skirts."""
    h = view.height * person.stout
    hip, knee, ankle = (view.point(j) for j in bones)
    lateral, down, forward = bones[2]
    heel, toe = (lateral, down + 0.018, forward - 0.012), (lateral, down + 0.022, forward + 0.05)
    sole = (view.point(heel), view.point(toe))
    low = tuple((x, y + 0.006 * view.height) for x, y in sole)
    canvas.limb((low[0], low[1]), (0.022 * h, 0.020 * h), person.soles, at=at)
    if person.lower.kind == "trousers":
        canvas.limb(sole, (0.022 * h, 0.019 * h), person.shoes, at=at)
        canvas.limb((knee, ankle), (0.039 * h, 0.029 * h), cloth, at=at)
        canvas.limb((hip, knee), (0.056 * h, 0.040 * h), cloth, at=at)
        return
    canvas.limb((knee, ankle), (0.034 * h, 0.020 * h), person.skin, at=at)
    sock = view.point(_between(bones[1], bones[2], 0.75))
    canvas.limb((sock, ankle), (0.025 * h, 0.022 * h), person.socks, at=at)
    canvas.limb(sole, (0.022 * h, 0.019 * h), person.shoes, at=at)
    canvas.limb((hip, knee), (0.050 * h, 0.034 * h), person.skin, at=at)
    if person.lower.kind == "shorts":
        hem = view.point(_between(bones[0], bones[1], 0.85))
        canvas.limb((hip, hem), (0.058 * h, 0.054 * h), cloth, at=at)


def _skirt(canvas: Canvas, person: Person, view: View, *, cloth: Image.Image, at: Point) -> None:
    w, s = person.hips, person.stout
    levels = ((0.45, w * 0.95, 0.065 * s), (0.53, w * 1.15, 0.085 * s), (0.69, w * 1.3, 0.105 * s))
    outline = outline_of(view, levels)
    canvas.fill(outline, cloth, at)
    canvas.rounded(outline)


def _torso(canvas: Canvas, person: Person, view: View, *, cloth: Image.Image, at: Point) -> None:
    """Hips, then the upper garment with its opening, hem and print."""
    w, hips, s = person.shoulders, person.hips, person.stout
    kind = person.upper.kind
    hem = _HEM[kind]
    levels = [
        (0.146, 0.030, 0.032),
        (0.162, 0.052, 0.040),
        (0.176, w * 0.80, 0.050),
        (0.192, w * 0.95, 0.056),
        (0.26, w * 0.90 * s, 0.074 * s),
        (0.38, (w * 0.45 + hips * 0.5) * s, 0.066 * s),
        (0.47, hips * 1.08 * s, 0.073 * s),
        (min(hem, 0.53), hips * 1.16 * s, 0.078 * s),
    ]
    if kind == "coat":
        levels.append((hem, hips * 1.35 * s, 0.095 * s))
    outline = outline_of(view, tuple(levels))
    canvas.fill(outline, cloth, at)
    canvas.rounded(outline)
    if kind in ("jacket", "coat") and view.cosine > 0.2:
        _opening(canvas, person, view, hem)
    elif view.cosine > 0.3:
        _print(canvas, person, view)
    if person.belt and kind == "shirt":
        belt = ((0.492, hips * 1.12 * s, 0.076 * s), (0.507, hips * 1.14 * s, 0.077 * s))
        canvas.fill(outline_of(view, belt), tinted(person.lower.colour, 0.6), at)


def _front(view: View, lateral: float, down: float) -> Point:
    """A point on the front of the torso."""
    return view.point((lateral, down, 0.07))


def _opening(canvas: Canvas, person: Person, view: View, hem: float) -> None:
    """An open front shows what is under it; a zip or lapels beside it."""
    inside = [
        _front(view, -0.030, 0.150),
        _front(view, 0.030, 0.150),
        _front(view, 0.018, hem - 0.01),
        _front(view, -0.018, hem - 0.01),
    ]
    canvas.fill(inside, person.upper.accent, (0.0, 0.0))
    edge = tinted(person.upper.colour, 0.75)
    for side in (-1, 1):
        ends = [_front(view, 0.030 * side, 0.150), _front(view, 0.018 * side, hem - 0.01)]
        canvas.line(ends, edge, 0.008 * view.height)


def _print(canvas: Canvas, person: Person, view: View) -> None:
    """Something small on the chest."""
    size = 0.032 * view.height
    x, y = _front(view, 0.0, 0.265)
    across = size * view.cosine
    paint = person.upper.accent
    if person.print_ == 1:
        box = [(x - across, y - size), (x + across, y - size)]
        canvas.fill([*box, (x + across, y + size), (x - across, y + size)], paint, (0.0, 0.0))
    elif person.print_ == 2:
        canvas.disc((x, y), (across, size), paint, shaded=False)
    elif person.print_ == 3:
        for row in (-0.5, 0.5):
            line = [(x - across, y + row * size), (x + across, y + row * size)]
            canvas.line(line, paint, 0.35 * size)


def _trim(canvas: Canvas, person: Person, view: View) -> None:
    """Neck, collar and scarf."""
    h = view.height
    neck = (view.point((0.0, 0.115, 0.0)), view.point((0.0, 0.158, 0.0)))
    canvas.limb(neck, (0.026 * h, 0.030 * h), person.skin, at=neck[0])
    if person.scarf:
        x, y = view.point((0.0, 0.155, 0.01))
        canvas.disc((x, y), (0.050 * h, 0.022 * h), person.bag_colour)
    elif view.cosine < 0.2:
        x, y = view.point((0.0, 0.156, 0.0))
        canvas.disc((x, y), (0.042 * h, 0.014 * h), tinted(person.upper.colour, 0.9))


def _bag(canvas: Canvas, person: Person, view: View, pose: Pose) -> None:
    """A backpack, wherever the back is."""
    if person.bag != 1:
        return
    shift = view.scale(0.3) * -0.095 * view.sine
    size = person.stout
    levels = (
        (0.195, 0.055 * size, 0.030),
        (0.215, 0.072 * size, 0.045),
        (0.410, 0.078 * size, 0.055),
        (0.430, 0.060 * size, 0.040),
    )
    outline = outline_of(view, levels, shift)
    canvas.fill(outline, person.bag_colour, (0.0, 0.0))
    canvas.rounded(outline)
    pocket = ((0.32, 0.055 * size, 0.030), (0.40, 0.058 * size, 0.032))
    canvas.fill(outline_of(view, pocket, shift * 1.2), tinted(person.bag_colour, 0.85), (0.0, 0.0))
    seam = outline_of(view, ((0.262, 0.066 * size, 0.035), (0.268, 0.066 * size, 0.035)), shift)
    canvas.fill(seam, tinted(person.bag_colour, 1.25), (0.0, 0.0))


def _straps(canvas: Canvas, person: Person, view: View) -> None:
    for side in (-1, 1):
        ends = [_front(view, 0.062 * side, 0.165), _front(view, 0.072 * side, 0.34)]
        canvas.line(ends, person.bag_colour, 0.018 * view.height)


def _carried(canvas: Canvas, person: Person, view: View, limbs: dict[str, list[Joint]]) -> None:
    """A shoulder bag with its strap across, or a bag in the hand."""
    h, side = view.height, person.bag_side
    if person.bag == 2:
        strap = [
            view.point((-side * 0.075, 0.165, 0.05)),
            view.point((side * person.hips * 1.2, 0.46, 0.05)),
        ]
        canvas.line(strap, tinted(person.bag_colour, 0.8), 0.013 * h)
        x, y = view.point((side * person.hips * 1.35, 0.51, 0.0))
        half = h * view.half(0.030, 0.060)
        middle, drop = y, 0.048 * h
    elif person.bag == 3:
        x, y = view.point(limbs[f"arm{side}"][2])
        half = h * view.half(0.018, 0.055)
        middle, drop = y + 0.095 * h, 0.060 * h
        canvas.line([(x, y + 0.01 * h), (x, middle)], tinted(person.bag_colour, 0.8), 0.012 * h)
    else:
        return
    outline = [
        (x - 0.8 * half, middle - drop),
        (x + 0.8 * half, middle - drop),
        (x + half, middle + drop),
        (x - half, middle + drop),
    ]
    canvas.fill(outline, person.bag_colour, (0.0, 0.0))
    canvas.rounded(outline)
    flap = [outline[0], outline[1], (x + 0.9 * half, middle), (x - 0.9 * half, middle)]
    canvas.fill(flap, tinted(person.bag_colour, 1.12), (0.0, 0.0))


def _head(canvas: Canvas, person: Person, view: View, pose: Pose) -> None:
    """Hair as a cap on the skull, and the face where it looks."""
    h = view.height
    x, y = view.point((pose.lean, _HEAD, 0.015))
    hair = person.skin if person.hair_style == 0 else person.hair
    if person.hair_style == 6:
        hair = tinted(person.upper.colour, 0.95)
    grown = 1.12 if person.hair_style in (2, 3, 6) else 1.0
    skull = (0.050 * h * grown, 0.065 * h * (0.5 + 0.5 * grown))
    canvas.disc((x, y - 0.004 * h), skull, hair)
    if view.cosine > -0.55:
        # The face slides round the skull and narrows as it turns away.
        shown = min(1.0, 0.55 + 0.45 * view.cosine)
        face = (x + 0.022 * h * view.sine, y + 0.010 * h)
        canvas.disc(face, (0.041 * h * max(0.35, shown), 0.052 * h), person.skin)
        _face(canvas, person, view, face)
    if person.hair_style == 5:
        _cap(canvas, person, view, (x, y))
    elif person.hair_style == 4 and view.cosine < 0.4:
        tail = (x - 0.045 * h * view.sine, y)
        end = (tail[0] - 0.02 * h * view.sine, y + 0.09 * h)
        canvas.limb((tail, end), (0.020 * h, 0.010 * h), person.hair, at=tail)


def _face(canvas: Canvas, person: Person, view: View, face: Point) -> None:
    """Eyes and mouth: a pixel or two, yet without them it is no face."""
    h, (x, y) = view.height, face
    dark, lips = tinted(person.skin, 0.45), tinted(person.skin, 0.72)
    for side in (-1, 1):
        eye = x + h * (0.015 * side * view.cosine + 0.010 * view.sine)
        if view.half(0.0, side * view.sine) < 0.9 or side * view.sine > 0:
            row = y - 0.006 * h
            canvas.line([(eye - 0.006 * h, row), (eye + 0.006 * h, row)], dark, 3)
    mouth, row = x + 0.012 * h * view.sine, y + 0.026 * h
    canvas.line([(mouth - 0.009 * h, row), (mouth + 0.009 * h, row)], lips, 2)


def _cap(canvas: Canvas, person: Person, view: View, skull: Point) -> None:
    h, (x, y) = view.height, skull
    canvas.disc((x, y - 0.030 * h), (0.049 * h, 0.036 * h), person.bag_colour)
    if view.cosine > -0.6:
        peak = (x + 0.035 * h * view.sine, y - 0.016 * h)
        width = 0.030 + 0.012 * view.half(1.0, 0.4)
        canvas.disc(peak, (width * h, 0.010 * h), tinted(person.bag_colour, 0.8))


def _long_hair(canvas: Canvas, person: Person, view: View, pose: Pose) -> None:
    """Hair that falls below the head; nothing for other styles."""
    if person.hair_style not in (2, 3):
        return
    length = 0.135 if person.hair_style == 2 else 0.215
    shift = view.scale(0.1) * (pose.lean * view.cosine - 0.018 * view.sine)
    levels = ((0.05, 0.050, 0.045), (0.11, 0.056, 0.048), (length, 0.050, 0.036))
    outline = outline_of(view, levels, shift)
    canvas.fill(outline, person.hair, (0.0, 0.0))
    canvas.rounded(outline)
