"""A model without its code: the same features and gradients, from a file of anybody."""

import contextlib
import hashlib
import json
import shutil
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import drawn, features_and_slope, images, relative

from jaxreid import attacks, models
from jaxreid.cameras import TakesCameras
from jaxreid.errors import InputError
from jaxreid.models import embedding, weights
from jaxreid.models.exported import (
    ExportedEmbedding,
    check_exported,
    is_exported,
    load_exported,
)
from jaxreid.models.exporting import export_embedding

SMALL = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
VIT = {"width": 32, "depth": 1, "heads": 2, "patch": 8, "stride": 8, "image_size": (32, 16)}
NETWORKS = {
    "resnet": models.ResNetConfig(depths=(1, 2), widths=(8, 128), expansion=2, stem_width=8),
    "resnet_ibn": models.ResNetConfig(depths=(1, 1), widths=(8, 8), stem_width=8, ibn=True),
    "vit": models.ViTConfig(**VIT),
    "vit, cameras": models.ViTConfig(**VIT, cameras=3, sie_factor=3.0),
    "clip_vit": models.CLIPViTConfig(**VIT, outputs=12),
    "mgn": models.MGNConfig(depths=(1, 1, 2, 1), widths=(4, 4, 4, 8), stem_width=4, expansion=2),
    "osnet_ain": models.OSNetConfig(
        (8, 64, 64, 128), "instance", (("inside",), ("batch", "inside"), ("batch",))
    ),
    "swin": models.SwinConfig(width=8, depths=(1, 1), heads=(2, 2), window=2),
}
SIZES = {"mgn": (96, 32)}


def written(path, config=SMALL, *, size=(32, 16), **options):
    """An embedding, and the same from a file of blocks of four images."""
    model = drawn(config, head="none")
    given = {key: options.pop(key) for key in ("normalize", "flip") if key in options}
    embed = embedding(model, **given)
    card = export_embedding(
        embed, path / "m.exported", config=model.config, size=size, batch_size=4, **options
    )
    return embed, card


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "resnet" else pytest.mark.slow) for name in NETWORKS],
)
def test_features_and_gradients_are_the_networks(tmp_path, name):
    size = SIZES.get(name, (32, 16))
    embed, card = written(tmp_path, NETWORKS[name], size=size)
    loaded = load_exported(tmp_path / "m.exported")
    x = images(6, *size, 3)  # a block, and half of another
    frozen = jax.jit(lambda embed: embed.frozen())(embed)
    if card.cameras:
        frozen, loaded = (one.seen_by([0, 2, 1, 1, 0, 2]) for one in (frozen, loaded))
    for expected, found in zip(
        features_and_slope(frozen, x), features_and_slope(loaded, x), strict=True
    ):
        assert found.dtype == jnp.float32
        assert relative(found, expected) < 1e-5
    assert card.features == expected_features(frozen, x)
    assert loaded.config == drawn(NETWORKS[name], head="none").config


def expected_features(embed, x):
    return jax.eval_shape(embed, x).shape[1]


@pytest.mark.slow
def test_an_attack_finds_the_same_images(tmp_path):
    embed, _ = written(tmp_path, normalize=True, flip=True)
    loaded, x = load_exported(tmp_path / "m.exported"), images(5, 32, 16, 3)
    attack = jax.jit(lambda embed, x: attacks.sma(embed, x, jax.random.key(0), steps=3))
    expected, found = attack(embed.frozen(), x), attack(loaded, x)
    assert np.isclose(found, expected, atol=1e-6).mean() > 0.99  # signs of gradients near zero
    assert (np.abs(found - x) <= 5 / 255 + 1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4, 9])
def test_any_number_of_images_goes_through_its_blocks(tmp_path, count):
    embed, _ = written(tmp_path)
    loaded, x = load_exported(tmp_path / "m.exported"), images(count, 32, 16, 3)
    found = jax.jit(lambda embed, x: embed(x))(loaded, x)
    expected = jax.jit(lambda embed, x: embed(x))(embed.frozen(), x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_two_files_share_a_compiled_program_with_nobody_and_one_with_itself(tmp_path):
    written(tmp_path)
    loaded, traced = load_exported(tmp_path / "m.exported"), []

    @jax.jit
    def features(embed, x):
        traced.append(len(x))
        return embed(x)

    x = images(2, 32, 16, 3)
    for _ in range(2):
        features(loaded, x)
    assert traced == [2]
    features(load_exported(tmp_path / "m.exported"), x)
    assert traced == [2, 2]


@pytest.mark.slow
def test_cameras_are_asked_for(tmp_path):
    written(tmp_path, NETWORKS["vit, cameras"])
    loaded, x = load_exported(tmp_path / "m.exported"), images(2, 32, 16, 3)
    assert isinstance(loaded, TakesCameras)
    assert loaded.wanted_cameras == 3
    with pytest.raises(InputError, match="which of 3 cameras took the image"):
        loaded(x)
    with pytest.raises(InputError, match="told the cameras of 3 images, and got 2"):
        loaded.seen_by([0, 1, 2])(x)
    with pytest.raises(InputError, match="camera"):
        loaded.seen_by([0, 3])
    told = loaded.seen_by("mean")
    assert told.wanted_cameras == 0
    assert told(x).shape == (2, 32)


def test_accelerators_have_a_program_of_their_own(tmp_path):
    _, card = written(tmp_path)
    assert set(card.programs) == {"cpu", "accelerators"}
    with zipfile.ZipFile(tmp_path / "m.exported") as archive:
        program = jax.export.deserialize(bytearray(archive.read("accelerators.program")))
        here = jax.export.deserialize(bytearray(archive.read("cpu.program")))
    assert program.platforms == ("cuda", "rocm", "tpu")
    assert here.platforms == ("cpu",)
    assert program.has_vjp()
    # As written there; as matrix products here.
    texts = [one.mlir_module() for one in (program, here)]
    convolutions = [text.count("stablehlo.convolution") for text in texts]
    assert convolutions[0] > convolutions[1]


def test_what_is_not_for_this_machine_is_refused(tmp_path):
    written(tmp_path, machines=("accelerators",))
    with pytest.raises(InputError, match="exported for accelerators; this machine is of cpu"):
        load_exported(tmp_path / "m.exported")


def test_other_images_are_refused(tmp_path):
    written(tmp_path)
    with pytest.raises(InputError, match=r"shape \(2, 16, 32, 3\).* exported for \[B,32,16,3\]"):
        load_exported(tmp_path / "m.exported")(images(2, 16, 32, 3))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: (255 * x).astype(np.uint8),
        lambda x: x > 0.5,
        lambda x: x.astype(np.complex64),
        lambda x: x[0],
        lambda x: x[..., :1],
        lambda x: x[0, 0, 0, 0],
    ],
    ids=["bytes", "booleans", "complex", "one image", "grey", "a number"],
)
def test_what_the_pixels_of_a_network_cannot_be_is_refused_in_its_words(tmp_path, change):
    written(tmp_path, machines=("cpu",))
    x = change(np.asarray(images(2, 32, 16, 3)))
    with pytest.raises(InputError) as networks:
        drawn(SMALL, head="none")(x)
    with pytest.raises(InputError) as found:
        load_exported(tmp_path / "m.exported")(x)
    assert str(found.value) == str(networks.value)


def test_nan_stays_in_its_image(tmp_path):
    written(tmp_path, machines=("cpu",))
    x = jnp.asarray(images(2, 32, 16, 3)).at[1, 0, 0, 0].set(jnp.nan)
    found = np.isnan(load_exported(tmp_path / "m.exported")(x)).all(axis=1)
    assert found.tolist() == [False, True]


def test_images_are_not_mapped_one_by_one(tmp_path):
    written(tmp_path, machines=("cpu",))
    loaded, x = load_exported(tmp_path / "m.exported"), images(2, 32, 16, 3)
    with pytest.raises(InputError, match=r"all images at once, as \[B,32,16,3\].* jax\.vmap"):
        jax.vmap(lambda image: loaded(image[None])[0])(x)


def rewritten(path, name, change):
    """The file with one of its parts changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    parts[name] = change(parts[name])
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in parts.items():
            if content is not None:
                archive.writestr(part, content)


def card_with(**fields):
    return lambda content: json.dumps({**json.loads(content), **fields}).encode()


DAMAGE = {
    "another byte in the weights": ("cpu.weights", lambda b: b[:-1] + b"x", "is damaged"),
    "no weights": ("cpu.weights", lambda b: None, "is no exported model"),
    "no program": ("cpu.program", lambda b: b"", "is damaged"),
    "no card": ("card.json", lambda b: None, "is no exported model"),
    "a card that is no JSON": ("card.json", lambda b: b"{", "does not describe a model"),
    "a card that is a list": ("card.json", lambda b: b"[]", "does not describe a model"),
    "a newer format": ("card.json", card_with(format=2), "has format 2; this release reads 1"),
    "a field too many": ("card.json", card_with(colour=1), "does not describe a model"),
    "no size": ("card.json", card_with(size=[0, 16]), "does not describe a model"),
    "a batch of a text": ("card.json", card_with(batch="4"), "does not describe a model"),
    "another network": ("card.json", card_with(network="{}"), "header"),
    "a card of other images": ("card.json", card_with(size=[16, 32]), "does not compute what"),
    "a card of other features": ("card.json", card_with(features=3), "does not compute what"),
    "a long card": ("card.json", lambda b: b" " * (1 << 21), "larger than that of any model"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An exported model."""
    folder = tmp_path_factory.mktemp("whole")
    written(folder, machines=("cpu",))
    return folder / "m.exported"


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named(tmp_path, whole, kind):
    name, change, message = DAMAGE[kind]
    shutil.copy(whole, tmp_path)
    rewritten(tmp_path / "m.exported", name, change)
    with pytest.raises(InputError, match=message):
        load_exported(tmp_path / "m.exported")


def test_a_program_of_another_jax_says_whose(tmp_path):
    written(tmp_path, machines=("cpu",))
    path = tmp_path / "m.exported"
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("cpu.weights")
    strange = b"of the future"
    digest = hashlib.sha256(strange + weights).hexdigest()
    rewritten(path, "cpu.program", lambda b: strange)
    rewritten(path, "card.json", card_with(jax="99.0", programs={"cpu": digest}))
    with pytest.raises(InputError, match=r"exported by jax 99\.0 and cannot be read by jax"):
        load_exported(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_truncated_file_is_called_that(tmp_path, whole, share):
    content = whole.read_bytes()
    path = tmp_path / "m.exported"
    path.write_bytes(content[: int(share * len(content))])
    for read in (load_exported, check_exported):
        with pytest.raises(InputError, match=r"m\.exported: truncated or broken"):
            read(path)


@pytest.fixture(scope="module")
def for_both(tmp_path_factory):
    """An exported model for CPUs and accelerators."""
    folder = tmp_path_factory.mktemp("both")
    return folder / "m.exported", written(folder)


@pytest.mark.parametrize("part", ["program", "weights"])
@pytest.mark.parametrize("machine", ["cpu", "accelerators"])
def test_a_flipped_byte_is_seen_in_every_part(tmp_path, for_both, machine, part):
    path, (embed, card) = for_both
    assert check_exported(path) == (card, load_exported(path).config)
    name = f"{machine}.{part}"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(name)
    # A header of 30 bytes, the name, and the content: section 4.3 of PKWARE's APPNOTE.
    content[entry.header_offset + 30 + len(name) + entry.file_size // 2] ^= 1
    path = tmp_path / "m.exported"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is damaged .*; take another copy"):
        check_exported(path)
    if machine == "accelerators":
        x = images(2, 32, 16, 3)
        np.testing.assert_allclose(load_exported(path)(x), embed(x), rtol=1e-4, atol=1e-5)
    else:
        with pytest.raises(InputError, match=f"{name} is damaged"):
            load_exported(path)


def test_bytes_that_are_wrong_in_the_archives_own_lists_are_an_input_error(tmp_path, whole):
    content = whole.read_bytes()
    path = tmp_path / "m.exported"
    begin = content.index(b"PK\x01\x02")
    for place in (*range(30), *range(begin, len(content))):
        for flip in (0x01, 0xFF):
            wrong = bytearray(content)
            wrong[place] ^= flip
            path.write_bytes(wrong)
            with contextlib.suppress(InputError):  # what says nothing of the content may be so
                check_exported(path)


def test_weights_are_asked_of_the_file_that_it_was_exported_from(tmp_path, whole):
    message = (
        "is an exported model (.exported), whose weights cannot be converted or trained: name the "
        "file that it was exported from"
    )
    renamed = shutil.copy(whole, tmp_path / "weights.pth")
    for path in (whole, renamed):
        with pytest.raises(InputError) as refused:
            weights.load(path)
        assert str(refused.value) == f"{path} {message}"


def test_what_is_compressed_is_not_read(tmp_path):
    written(tmp_path, machines=("cpu",))
    path = tmp_path / "m.exported"
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * 10_000)
    with pytest.raises(InputError, match="parts of it are compressed"):
        load_exported(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty .0 bytes.: it was not downloaded or copied whole"),
        (b"no archive", "x.exported is no exported model: it is no ZIP archive"),
        (b"PK\x03\x04" + b"\0" * 40, "x.exported: truncated or broken"),
        (b"<!DOCTYPE html><html>", "x.exported is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 9\n", "a Git LFS pointer"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "x.exported"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_exported(path)
    with pytest.raises(InputError, match="is no exported model"):
        load_exported(tmp_path / "missing.exported")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.zip", {}, "an exported model ends in .exported"),
        ("m.exported", {"batch_size": 0}, "batch_size must be at least 1"),
        ("m.exported", {"batch_size": 1.5}, "batch_size must be an integer"),
        ("m.exported", {"size": (0, 16)}, "size must be at least 1, got 0"),
        ("m.exported", {"size": (32, -16)}, "size must be at least 1, got -16"),
        ("m.exported", {"size": (32.0, 16)}, "size must be an integer .* got 32.0"),
        ("m.exported", {"size": (True, 16)}, "size must be an integer .* got True"),
        ("m.exported", {"size": (32, 1 << 15)}, "size must be 1 to 16384, got 32768"),
        ("m.exported", {"size": (32,)}, r"size must be \(height, width\), got \(32,\)"),
        ("m.exported", {"size": 32}, r"size must be \(height, width\), got 32"),
        ("nowhere/m.exported", {}, "there is no folder .*nowhere"),
        ("m.exported", {"machines": ()}, "machines: expected one of them at least"),
        ("m.exported", {"machines": ("gpu",)}, "machines: expected cpu or accelerators, got 'gpu'"),
    ],
)
def test_what_cannot_be_exported_leaves_no_file(tmp_path, name, options, message):
    model = drawn(SMALL, head="none")
    given = {"config": model.config, "size": (32, 16), **options}
    with pytest.raises(InputError, match=message):
        export_embedding(embedding(model), tmp_path / name, **given)
    assert list(tmp_path.iterdir()) == []
    assert is_exported(tmp_path / "m.exported")
    assert not is_exported(tmp_path / "m.safetensors")


def test_other_functions_are_not_exported(tmp_path):
    model = drawn(SMALL, head="none")
    for one, message in (
        (model, r"embed must be an embedding\(model\), got ReID"),
        (embedding(model, batch_norm="batch"), "expected one of batch_norm='running'"),
    ):
        with pytest.raises(InputError, match=message):
            export_embedding(one, tmp_path / "m.exported", config=model.config, size=(32, 16))
    assert list(tmp_path.iterdir()) == []


def test_it_is_a_pytree_of_its_weights(tmp_path):
    written(tmp_path)
    loaded = load_exported(tmp_path / "m.exported")
    leaves, form = jax.tree.flatten(loaded)
    assert len(leaves) == len(loaded.weights) > 0
    again = jax.tree.unflatten(form, leaves)
    assert isinstance(again, ExportedEmbedding)
    assert again.card == loaded.card
