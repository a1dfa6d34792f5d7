"""Programs lowered for GPUs and compiled for TPUs, on a machine that has neither."""

import importlib.util

import pytest

from jaxreid.benchmark.targets.chips import CHIPS, slice_of
from jaxreid.benchmark.targets.cost import Cost
from jaxreid.benchmark.targets.counting import count_for, floors_of
from jaxreid.benchmark.targets.programs import PROGRAMS, Network, lowered_for
from jaxreid.benchmark.work import forward_work
from jaxreid.errors import InputError
from jaxreid.models.resnet import RESNETS

BATCH = 8
NETWORK = Network("resnet_patch", (64, 32), BATCH, "bfloat16", "fna", "cpu")
FORWARD = forward_work(RESNETS["resnet_patch"], (64, 32)).flops
# Passes of the network in each program, F, or 2 F with a gradient to images, 3 F with one to
# weights and activations; of the attack those of a step.
PASSES = {
    "features": 1,
    "attack": 2,
    "plain": 3,
    "goat": 4 + 1 + 7 * 2 + 3,  # four who push, the own features, seven steps, the update
    "recommended": 1 + 2 * 2 + 3,
}


def check(found, tolerance):
    """What programs do, beside the passes of the network."""
    one = found["features"].flops
    for name, passes in PASSES.items():
        assert found[name].flops == pytest.approx(passes * one, rel=tolerance), name
    # Sixteen steps and where they end, each with a gradient to the image: features times a gallery
    # of 20,480 rows, and weights of its rows times the gallery. At first the start is ranked.
    gallery = 2 * BATCH * 20_480 * 512
    expected = 17 * (2 * one + 2 * gallery) + gallery
    assert found["worst"].flops == pytest.approx(expected, rel=tolerance)


@pytest.mark.slow
def test_lowered_for_a_gpu_programs_do_what_they_should():
    found = dict(count_for("cuda", list(PROGRAMS), NETWORK))
    assert found.keys() == PROGRAMS.keys()
    # XLA does not count what a window has outside the image.
    assert 0.8 * BATCH * FORWARD < found["features"].flops < BATCH * FORWARD
    check(found, 0.05)
    for name in (*PASSES, "worst"):
        assert found[name].images == BATCH
        assert found[name].cost is None
    # Every query with 1,024 items of 512 numbers; comparisons are the rest.
    queries = found["ranking"].images
    assert queries == 27 * 128
    assert found["ranking"].flops == pytest.approx(2 * queries * 1024 * 512, rel=0.02)


@pytest.mark.slow
def test_training_attacks_in_the_forms_of_its_target():
    """On a CPU, 1x1 convolutions are products; those for a TPU are none, in no program."""

    def convolutions(name):
        program = PROGRAMS[name](NETWORK._replace(target="tpu"), 1)
        return lowered_for("tpu", program).as_text().count("stablehlo.convolution")

    features, attack = convolutions("features"), convolutions("attack")
    # Five blocks of three, and three shortcuts; the stem's patches are a product.
    assert (features, attack) == (18, 2 * 18)
    # Those who push in a loop, the own features, and a step of the attack.
    assert convolutions("goat") == convolutions("plain") + 2 * features + attack


@pytest.mark.slow
def test_attacks_differ_in_their_guides_alone():
    found = [
        dict(count_for("rocm", ["attack"], NETWORK._replace(attack=name)))["attack"].flops
        for name in ("sma", "nna")
    ]
    assert found[0] == pytest.approx(found[1], rel=0.01)


def test_floors_are_amounts_over_peaks():
    cost = Cost(197e12, 1e9, 1638e6, 0, 0, {"all-reduce": (3, 10**8), "all-gather": (1, 2 * 10**8)})
    # Twice what is summed and once what is gathered is sent, at half of 400 GB/s for both ways.
    assert floors_of(cost, CHIPS["v5e"]) == pytest.approx((1.0, 2e-3, 2e-3))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("tpu:v9:2x2", r"target: expected cuda, rocm, or one of tpu:v5e, .*, got 'tpu:v9:2x2'"),
        ("tpu:v5e", r"expected tpu:v5e: and 2 sides with .* at most 16x16 .* as tpu:v5e:2x2, got"),
        ("tpu:v5e:2x2x1", r"got 'tpu:v5e:2x2x1'$"),
        ("tpu:v5e:0x2", r"got 'tpu:v5e:0x2'$"),
        # libtpu ends the process on these.
        ("tpu:v6e:32x8", r"of at most 16x16 chips"),
        ("tpu:v5p:2x2x32", r"3 sides .* of at most 16x20x28 chips, such as tpu:v5p:2x2x1, got"),
        ("tpu", "got 'tpu'"),
        ("metal", "got 'metal'"),
    ],
)
def test_unknown_targets_are_refused(target, message):
    with pytest.raises(InputError, match=message):
        list(count_for(target, ["features"], NETWORK))


def test_chips_are_not_counted_for_gpus():
    with pytest.raises(InputError, match="devices: cuda is lowered for one device"):
        list(count_for("cuda", ["features"], NETWORK, count=2))


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed")
def test_without_libtpu_it_is_named():
    with pytest.raises(InputError, match=r"by libtpu: pip install 'jaxreid\[tpu\]'"):
        slice_of("tpu:v5e:2x2")


@pytest.fixture(scope="module")
def found():
    """Compiled by libtpu, on any machine."""
    return dict(count_for("tpu:v5e:2x2", list(PROGRAMS), NETWORK))


@pytest.mark.tpu
def test_four_chips_do_what_they_should(found):
    check(found, 0.08)
    for name in PASSES:
        assert found[name].devices == 4
        assert found[name].fits
        assert min(found[name].floors[:2]) > 0


@pytest.mark.tpu
def test_nothing_crosses_chips_in_attacks_and_evaluation(found):
    for name in ("features", "attack", "worst", "ranking"):
        assert found[name].cost.collectives == {}


@pytest.mark.tpu
def test_training_sums_gradients_and_gathers_the_bank(found):
    weights = found["plain"].cost.collectives["all-reduce"]
    # 1.89 million parameters of the backbone and 751 x 512 of the classes, float32; and means
    # and variances of 20 BatchNorm layers, forwards and backwards.
    assert weights[1] > 4 * (1.8e6 + 751 * 512)
    assert weights[1] < 1.2 * 4 * (2.3e6 + 751 * 512)
    # The clean features of all chips' images go into every chip's bank.
    gathered = found["recommended"].cost.collectives["all-gather"]
    assert gathered == (1, 4 * BATCH * 512 * 4)


@pytest.mark.tpu
def test_one_chip_alone_sums_nothing():
    found = dict(count_for("tpu:v5e:2x2", ["attack", "plain"], NETWORK, count=1))
    assert found["plain"].devices == 1
    assert all(each.cost.collectives == {} for each in found.values())


@pytest.mark.tpu
def test_a_layout_that_no_slice_has_is_refused():
    with pytest.raises(InputError, match=r"target 'tpu:v5e:3x3': .*not divisible"):
        slice_of("tpu:v5e:3x3")
    with pytest.raises(InputError, match="tpu:v5e:2x2 has 4 chips, not 5"):
        slice_of("tpu:v5e:2x2", count=5)
