"""From an entry of the plan to the bytes of a JPEG; the whole plan in several processes.

The processes are started by subprocess, not by multiprocessing or concurrent.futures: forking a
process in which JAX runs threads may hang, and spawning imports the caller's script again.
"""

import collections
import contextlib
import dataclasses
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from typing import IO

import numpy as np
from PIL import Image, ImageFilter

from jaxreid.data.synthetic.body import View, random_pose
from jaxreid.data.synthetic.canvas import Canvas
from jaxreid.data.synthetic.figure import draw_person
from jaxreid.data.synthetic.planning import SyntheticConfig, SyntheticImage, people, plan
from jaxreid.data.synthetic.scene import SCENE_SIZE, Camera, backdrop, camera, draw_obstacle
from jaxreid.data.synthetic.stream import IMAGE, Stream, wave
from jaxreid.data.synthetic.wardrobe import Person, person, stranger
from jaxreid.data.workers import check_workers
from jaxreid.processors import usable_processors

__all__ = ["render", "render_all", "render_pixels"]

_WIDTH, _HEIGHT = 192, 384  # of the canvas, three times Market's boxes
_PASSER_BY = 0.12  # share of images with somebody in the background

_LENGTH = struct.Struct("<I")  # before each JPEG that a drawing process sends
_SERVE = "from jaxreid.data.synthetic.rendering import _serve; _serve()"


def render(config: SyntheticConfig, item: SyntheticImage) -> bytes:
    """Draws one image.

    Args:
        config: size, seed and difficulty.
        item: an entry of `plan(config)`.

    Returns:
        JPEG bytes of a [height, width] RGB image; a function of (config, item) alone, the same
        on every machine that has the same Pillow.
    """
    buffer = io.BytesIO()
    quality = camera(config, item.camera).quality
    Image.fromarray(render_pixels(config, item)).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def render_pixels(config: SyntheticConfig, item: SyntheticImage) -> np.ndarray:
    """uint8 [height, width, 3], RGB, of an entry of `plan(config)`, not yet compressed."""
    track_key = (item.identity + 1, item.camera, item.sequence)
    stream = Stream(config.seed, config.version, IMAGE, *track_key, item.frame)
    # People keep their direction within a sequence, and most go the way the place suggests.
    track = Stream(config.seed, config.version, IMAGE, *track_key)
    seen = camera(config, item.camera)
    turn = seen.turn + track.bell(0.08) + (0.5 if track.chance(0.3) else 0.0)
    canvas = Canvas(_crop(config, stream, seen, item.camera), seen.light)
    if stream.chance(_PASSER_BY):
        _passer_by(config, stream, seen, canvas)
    who = _who(config, stream, item.identity)
    if who is not None:
        view = _box(config, stream, seen, loose=item.identity <= 0)
        _stand(config, stream, canvas, who=who, view=view, turn=turn)
    if stream.chance(config.occlusion):
        draw_obstacle(canvas, stream)
    return _photograph(config, stream, seen, canvas)


def _who(config: SyntheticConfig, stream: Stream, identity: int) -> Person | None:
    """A distractor is a stranger, or nobody; junk is badly cut boxes of people of the gallery."""
    if identity > 0:
        return person(config, identity)
    if identity == 0:
        return stranger(config, stream) if stream.chance(0.6) else None
    known = people(config)[1]
    return person(config, known[stream.index(len(known))])


def _crop(config: SyntheticConfig, stream: Stream, seen: Camera, number: int) -> Image.Image:
    """The place behind the person, the horizon where the camera has it."""
    zoom = stream.uniform(0.85, 1.15)
    width, height = _WIDTH / zoom, _HEIGHT / zoom
    left = stream.uniform(0.0, SCENE_SIZE[0] - width)
    top = 0.4 * SCENE_SIZE[1] - (seen.horizon + stream.bell(0.03)) * height
    top = min(max(0.0, top), SCENE_SIZE[1] - height)
    return backdrop(config, number).resize(
        (_WIDTH, _HEIGHT), Image.Resampling.BILINEAR, (left, top, left + width, top + height)
    )


def _box(config: SyntheticConfig, stream: Stream, seen: Camera, *, loose: bool) -> View:
    """Where the detector's box has the person; a loose box cuts or misses much."""
    off = config.misalignment
    scale = 0.95 * (1.0 + stream.bell(off))
    x, y = stream.bell(1.3 * off), stream.bell(off)
    if loose:
        scale *= stream.uniform(0.75, 1.7)
        x += stream.uniform(0.2, 0.5) * (1.0 if stream.chance(0.5) else -1.0)
        y += stream.bell(0.18)
    height = scale * _HEIGHT
    return View(
        x=(0.5 + x) * _WIDTH,
        top=0.5 * (_HEIGHT - height) + y * _HEIGHT,
        height=height,
        steep=seen.steep,
        taper=seen.taper,
        sine=0.0,
        cosine=1.0,
    )


def _stand(
    config: SyntheticConfig,
    stream: Stream,
    canvas: Canvas,
    *,
    who: Person,
    view: View,
    turn: float,
) -> None:
    """Draws a person with the shadow on the ground."""
    pose = random_pose(stream, turn)
    tall = view.height * who.tall
    view = View(
        x=view.x,
        top=view.top + view.height - tall,
        height=tall,
        steep=view.steep,
        taper=view.taper,
        sine=wave(pose.turn),
        cosine=wave(pose.turn + 0.25),
    )
    canvas.shadow(view.point((0.0, 0.985, 0.0)), (0.17 * tall, 0.035 * tall))
    draw_person(canvas, who, pose, view=view, detail=config.detail)


def _passer_by(config: SyntheticConfig, stream: Stream, seen: Camera, canvas: Canvas) -> None:
    """Somebody further away, beside the person."""
    side = 1.0 if stream.chance(0.5) else -1.0
    height = stream.uniform(0.45, 0.75) * _HEIGHT
    view = View(
        x=_WIDTH * (0.5 + side * stream.uniform(0.32, 0.5)),
        top=stream.uniform(0.0, 0.12) * _HEIGHT,
        height=height,
        steep=seen.steep,
        taper=seen.taper,
        sine=0.0,
        cosine=1.0,
    )
    who = stranger(config, stream)
    _stand(config, stream, canvas, who=who, view=view, turn=stream.uniform())


def _photograph(
    config: SyntheticConfig, stream: Stream, seen: Camera, canvas: Canvas
) -> np.ndarray:
    """Light, colour cast, blur and noise; exact float64 operations, rounded to 8 bits."""
    size = (config.width, config.height)
    shade = canvas.shade.filter(ImageFilter.BoxBlur(3)).resize(size, Image.Resampling.BOX)
    flat = canvas.colour.resize(size, Image.Resampling.BOX)
    folds = np.asarray(
        Image.fromarray(stream.octets(14, 7)).resize(size, Image.Resampling.BICUBIC)
    ).astype(np.float64)
    across = (np.arange(config.width) / config.width - 0.5) * stream.bell(0.10)
    lit = np.asarray(shade) / 128.0 * (0.94 + 0.12 * folds / 255.0) * (1.0 + across)
    light = seen.contrast * (1.0 + stream.bell(config.light_shift))
    tints = [light * (1.0 + stream.bell(0.2 * config.light_shift)) for _ in range(3)]
    gains = np.array(seen.gains) * tints
    offset = seen.offset + 118.0 * (1.0 - seen.contrast)
    pixels = np.asarray(flat) * lit[..., None] * gains + offset
    image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    radius = seen.blur * config.height * stream.uniform(0.6, 1.5)
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(radius))).astype(np.float64)
    # The sum of two uniform octets: triangular, standard deviation 104.5.
    octets = stream.octets(2, *blurred.shape).astype(np.float64)
    noisy = blurred + (octets[0] + octets[1] - 255.0) * (seen.noise / 104.5)
    photograph: np.ndarray = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return photograph


def render_all(
    config: SyntheticConfig,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Generator[tuple[SyntheticImage, bytes], None, None]:
    """Draws every image of the plan.

    Args:
        config: sizes and difficulty.
        workers: processes; 1 draws in this one. By default one per usable processor.
        progress: called with (images done, images in all) after each image.

    Returns:
        (entry, JPEG bytes) in the plan's order, whatever the number of workers.

    Raises:
        InputError: workers is less than 1 or absurdly many, or the sizes contradict each other.
    """
    count = usable_processors() if workers is None else check_workers(workers, least=1)
    items = plan(config)
    return _drawn(config, items, min(count, len(items)), progress or (lambda done, total: None))


def _drawn(
    config: SyntheticConfig,
    items: list[SyntheticImage],
    workers: int,
    progress: Callable[[int, int], None],
) -> Generator[tuple[SyntheticImage, bytes], None, None]:
    with contextlib.ExitStack() as stack:
        drawers: collections.deque[Iterator[bytes]] = collections.deque()
        if workers == 1:
            drawers.append(render(config, item) for item in items)
        else:
            drawers.extend(
                stack.enter_context(_process(config, rank, workers)) for rank in range(workers)
            )
        for done, item in enumerate(items, start=1):
            # Image i comes from worker i modulo the workers, so taking turns keeps the order.
            jpeg = next(drawers[0])
            drawers.rotate(-1)
            progress(done, len(items))
            yield item, jpeg


@contextlib.contextmanager
def _process(config: SyntheticConfig, rank: int, workers: int) -> Iterator[Iterator[bytes]]:
    """One drawing process; the context ends it, finished or not."""
    words = [json.dumps(dataclasses.asdict(config)), str(rank), str(workers)]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [sys.executable, "-c", _SERVE, *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
        )
        assert child.stdout is not None
        try:
            yield _received(child.stdout, errors)
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def _received(pipe: IO[bytes], errors: IO[bytes]) -> Iterator[bytes]:
    while True:
        head = pipe.read(_LENGTH.size)
        body = pipe.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
        if not body:
            errors.seek(0)
            text = errors.read().decode(errors="replace").strip()
            raise RuntimeError(f"a drawing process stopped early: {text or 'it was killed'}")
        yield body


def _serve() -> None:
    """What a drawing process runs: every workers-th image, as length and bytes, to its output."""
    config, rank, workers = SyntheticConfig(**json.loads(sys.argv[1])), *map(int, sys.argv[2:])
    for item in plan(config)[rank::workers]:
        jpeg = render(config, item)
        sys.stdout.buffer.write(_LENGTH.pack(len(jpeg)) + jpeg)
        sys.stdout.buffer.flush()
