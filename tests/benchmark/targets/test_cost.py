"""Bytes and collectives of small programs, counted by hand."""

from types import SimpleNamespace

import pytest

from jaxreid.benchmark.targets.cost import collectives, cost_of, traffic
from jaxreid.benchmark.targets.program_text import runs

# As XLA writes programs that it has scheduled for a TPU: S(1) is the memory on the chip.
PLAIN = """HloModule jit_f, is_scheduled=true

%fused (param_0: f32[8,128], param_1: f32[8,128]) -> f32[8,128] {
  %param_0 = f32[8,128]{1,0:T(8,128)} parameter(0)
  %param_1 = f32[8,128]{1,0:T(8,128)S(1)} parameter(1)
  ROOT %add.1 = f32[8,128]{1,0:T(8,128)} add(%param_0, %param_1)
}

ENTRY %main.5 (x.1: f32[8,128], y.1: f32[8,128]) -> f32[8,128] {
  %x.1 = f32[8,128]{1,0:T(8,128)} parameter(0), metadata={op_name="x"}
  %y.1 = f32[8,128]{1,0:T(8,128)} parameter(1), metadata={op_name="y"}
  %copy-start = (f32[8,128]{1,0:T(8,128)S(1)}, f32[8,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%y.1)
  %copy-done = f32[8,128]{1,0:T(8,128)S(1)} copy-done(%copy-start)
  ROOT %fusion = f32[8,128]{1,0:T(8,128)} fusion(%x.1, %copy-done), kind=kLoop, calls=%fused
}
"""  # noqa: E501
ARRAY = 8 * 128 * 4

PARTS = """HloModule jit_g, is_scheduled=true

%part (param_0: bf16[64,128], param_1: s32[]) -> bf16[1,128] {
  %param_0 = bf16[64,128]{1,0:T(8,128)(2,1)} parameter(0)
  %param_1 = s32[]{:T(128)} parameter(1)
  %constant.2 = s32[]{:T(128)} constant(0)
  ROOT %dynamic-slice.1 = bf16[1,128]{1,0:T(8,128)(2,1)} dynamic-slice(%param_0, %param_1, %constant.2), dynamic_slice_sizes={1,128}
}

%change (param_0: bf16[64,128], param_1: bf16[1,128], param_2: s32[]) -> bf16[64,128] {
  %param_0 = bf16[64,128]{1,0:T(8,128)(2,1)} parameter(0)
  %param_1 = bf16[1,128]{1,0:T(8,128)(2,1)} parameter(1)
  %param_2 = s32[]{:T(128)} parameter(2)
  %constant.3 = s32[]{:T(128)} constant(0)
  ROOT %dynamic-update-slice.1 = bf16[64,128]{1,0:T(8,128)(2,1)} dynamic-update-slice(%param_0, %param_1, %param_2, %constant.3)
}

%body (arg: (bf16[64,128], s32[])) -> (bf16[64,128], s32[]) {
  %arg = (bf16[64,128]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) parameter(0)
  %x = bf16[64,128]{1,0:T(8,128)(2,1)} get-tuple-element(%arg), index=0
  %i = s32[]{:T(128)} get-tuple-element(%arg), index=1
  %fusion.1 = bf16[1,128]{1,0:T(8,128)(2,1)} fusion(%x, %i), kind=kLoop, calls=%part
  %fusion.2 = bf16[64,128]{1,0:T(8,128)(2,1)} fusion(%x, %fusion.1, %i), kind=kLoop, calls=%change
  ROOT %tuple.1 = (bf16[64,128]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) tuple(%fusion.2, %i)
}

%until (arg.1: (bf16[64,128], s32[])) -> pred[] {
  %arg.1 = (bf16[64,128]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) parameter(0)
  ROOT %constant.4 = pred[]{:T(512)} constant(true)
}

ENTRY %main.9_spmd (x.1: bf16[64,128], i.1: s32[]) -> (bf16[64,128], s32[]) {
  %x.1 = bf16[64,128]{1,0:T(8,128)(2,1)} parameter(0)
  %i.1 = s32[]{:T(128)} parameter(1)
  %tuple.2 = (bf16[64,128]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) tuple(%x.1, %i.1)
  ROOT %while.1 = (bf16[64,128]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) while(%tuple.2), condition=%until, body=%body
}
"""  # noqa: E501
ROW, NUMBER = 128 * 2, 4

# The same, three times: the counter is the argument's second part and begins at 0.
THREE_TIMES = PARTS.replace(
    "  ROOT %constant.4 = pred[]{:T(512)} constant(true)",
    """  %counter = s32[]{:T(128)} get-tuple-element(%arg.1), index=1
  %constant.4 = s32[]{:T(128)} constant(3)
  ROOT %lt.1 = pred[]{:T(512)} compare(%counter, %constant.4), direction=LT""",
).replace(
    "%i.1 = s32[]{:T(128)} parameter(1)",
    """%constant.5 = s32[]{:T(128)} constant(0)
  %i.1 = s32[]{:T(128)S(1)} copy(%constant.5)""",
)

SUMS = """HloModule jit_h, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %add = f32[]{:T(128)} add(%a, %b)
}

ENTRY %main.3 (x.1: f32[256], y.1: bf16[4,128]) -> (f32[256], bf16[16,128], f32[8]) {
  %x.1 = f32[256]{0:T(256)} parameter(0)
  %y.1 = bf16[4,128]{1,0:T(8,128)(2,1)} parameter(1)
  %all-reduce.1 = f32[256]{0:T(256)} all-reduce(%x.1), replica_groups={{0,1,2,3}}, to_apply=%sum
  %all-reduce.2 = (f32[8]{0:T(128)}, f32[16]{0:T(128)}) all-reduce(%x.1, %x.1), to_apply=%sum
  %all-gather-start = (bf16[4,128]{1,0:T(8,128)(2,1)}, bf16[16,128]{1,0:T(8,128)(2,1)}) all-gather-start(%y.1), dimensions={0}
  %all-gather-done = bf16[16,128]{1,0:T(8,128)(2,1)} all-gather-done(%all-gather-start)
  %part.1 = f32[8]{0:T(128)} get-tuple-element(%all-reduce.2), index=0
  ROOT %tuple.3 = (f32[256]{0:T(256)}, bf16[16,128]{1,0:T(8,128)(2,1)}, f32[8]{0:T(128)}) tuple(%all-reduce.1, %all-gather-done, %part.1)
}
"""  # noqa: E501


# A sum that another core of the chip makes meanwhile.
BESIDE = """HloModule jit_h, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %add = f32[]{:T(128)} add(%a, %b)
}

%called_computation (param_0: f32[256]) -> f32[256] {
  %param_0 = f32[256]{0:T(256)} parameter(0)
  ROOT %all-reduce.1 = f32[256]{0:T(256)} all-reduce(%param_0), replica_groups={{0,1}}, to_apply=%sum
}

ENTRY %main.3 (x.1: f32[256]) -> f32[256] {
  %x.1 = f32[256]{0:T(256)} parameter(0)
  %all-reduce.1.call-start = ((f32[256]{0:T(256)}), f32[256]{0:T(256)}, u32[]) call-start(%x.1), async_execution_thread="sparsecore", to_apply=%called_computation
  ROOT %all-reduce.1.call-done = f32[256]{0:T(256)} call-done(%all-reduce.1.call-start)
}
"""  # noqa: E501


# A gather that begins, goes on beside an addition on the chip, and ends.
TAKEN_ALONG = """HloModule jit_h, is_scheduled=true

%begin (param_0: f32[4,128]) -> (f32[4,128], f32[16,128], s32[2]) {
  %param_0 = f32[4,128]{1,0:T(8,128)} parameter(0)
  %all-gather.1 = f32[16,128]{1,0:T(8,128)} all-gather(%param_0), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %custom-call.1 = (f32[4,128]{1,0:T(8,128)}, f32[16,128]{1,0:T(8,128)}, s32[2]{0:S(4)}) custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%beside (param_0.1: f32[4,128], param_1: f32[16,128], param_2: s32[2], param_3: f32[8,128]) -> (f32[8,128], f32[4,128], f32[16,128], f32[16,128], s32[2]) {
  %param_3 = f32[8,128]{1,0:T(8,128)} parameter(3)
  %add.1 = f32[8,128]{1,0:T(8,128)} add(%param_3, %param_3)
  %param_0.1 = f32[4,128]{1,0:T(8,128)} parameter(0)
  %param_1 = f32[16,128]{1,0:T(8,128)} parameter(1)
  %all-gather.2 = f32[16,128]{1,0:T(8,128)} all-gather(%param_0.1), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}
  %param_2 = s32[2]{0:S(4)} parameter(2)
  ROOT %tuple.1 = (f32[8,128]{1,0:T(8,128)}, f32[4,128]{1,0:T(8,128)}, f32[16,128]{1,0:T(8,128)}, f32[16,128]{1,0:T(8,128)}, s32[2]{0:S(4)}) tuple(%add.1, %param_0.1, %param_1, %all-gather.2, %param_2)
}

%end (param_0.2: f32[4,128], param_1.2: f32[16,128], param_2.2: s32[2]) -> f32[16,128] {
  %param_0.2 = f32[4,128]{1,0:T(8,128)} parameter(0)
  %param_1.2 = f32[16,128]{1,0:T(8,128)} parameter(1)
  %all-gather.3 = f32[16,128]{1,0:T(8,128)} all-gather(%param_0.2), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}
  %param_2.2 = s32[2]{0:S(4)} parameter(2)
  ROOT %custom-call.2 = f32[16,128]{1,0:T(8,128)} custom-call(%all-gather.3, %param_0.2, %param_1.2, %param_2.2), custom_call_target="AsyncCollectiveDone"
}

ENTRY %main.3 (x.1: f32[4,128], y.1: f32[8,128]) -> (f32[16,128], f32[8,128]) {
  %x.1 = f32[4,128]{1,0:T(8,128)} parameter(0)
  %y.1 = f32[8,128]{1,0:T(8,128)S(1)} parameter(1)
  %async-collective-start = (f32[4,128]{1,0:T(8,128)}, f32[16,128]{1,0:T(8,128)}, s32[2]{0:S(4)}) fusion(%x.1), kind=kCustom, output_to_operand_aliasing={{0}: (0, {})}, calls=%begin
  %own.1 = f32[4,128]{1,0:T(8,128)} get-tuple-element(%async-collective-start), index=0
  %all.1 = f32[16,128]{1,0:T(8,128)} get-tuple-element(%async-collective-start), index=1
  %at.1 = s32[2]{0:S(4)} get-tuple-element(%async-collective-start), index=2
  %fusion.1 = (f32[8,128]{1,0:T(8,128)S(1)}, f32[4,128]{1,0:T(8,128)}, f32[16,128]{1,0:T(8,128)}, f32[16,128]{1,0:T(8,128)}, s32[2]{0:S(4)}) fusion(%own.1, %all.1, %at.1, %y.1), kind=kOutput, output_to_operand_aliasing={{1}: (0, {}), {2}: (1, {}), {3}: (1, {}), {4}: (2, {})}, calls=%beside
  %sum.1 = f32[8,128]{1,0:T(8,128)S(1)} get-tuple-element(%fusion.1), index=0
  %own.2 = f32[4,128]{1,0:T(8,128)} get-tuple-element(%fusion.1), index=1
  %all.2 = f32[16,128]{1,0:T(8,128)} get-tuple-element(%fusion.1), index=3
  %at.2 = s32[2]{0:S(4)} get-tuple-element(%fusion.1), index=4
  %async-collective-done = f32[16,128]{1,0:T(8,128)} fusion(%own.2, %all.2, %at.2), kind=kCustom, output_to_operand_aliasing={{}: (1, {})}, calls=%end
  ROOT %tuple.2 = (f32[16,128]{1,0:T(8,128)}, f32[8,128]{1,0:T(8,128)S(1)}) tuple(%async-collective-done, %sum.1)
}
"""  # noqa: E501


def test_arrays_on_the_chip_are_no_traffic():
    # The copy reads y; the addition reads x and writes the sum.
    assert traffic(runs(PLAIN)) == ARRAY + 2 * ARRAY


def test_parts_of_arrays_count_as_parts():
    # A row is read with its number, and written; both again where it is put back.
    assert traffic(runs(PARTS)) == (2 * ROW + NUMBER) + (2 * ROW + NUMBER)


def test_loops_count_as_often_as_they_run():
    step = 2 * (2 * ROW + NUMBER)
    # Before them the counter is read and written, which is on the chip.
    assert traffic(runs(THREE_TIMES)) == 3 * step + NUMBER
    assert traffic(runs(THREE_TIMES, per_step=True)) == step + NUMBER
    assert traffic(runs(THREE_TIMES), everywhere=True) == 3 * step + 2 * NUMBER


def test_collectives_are_counted_by_kind():
    found = collectives(runs(SUMS))
    assert found == {"all-reduce": (2, 256 * 4 + 24 * 4), "all-gather": (1, 16 * 128 * 2)}
    assert collectives(runs(PLAIN)) == {}
    assert collectives(runs(BESIDE)) == {"all-reduce": (1, 256 * 4)}
    assert traffic(runs(BESIDE)) == 2 * 256 * 4


def test_a_collective_beside_arithmetic_is_one():
    assert collectives(runs(TAKEN_ALONG)) == {"all-gather": (1, 16 * 128 * 4)}
    # The rows of one chip are read and those of all are written, once; the addition stays on the
    # chip, where the gather's two counters are, too.
    rows = (4 + 16) * 128 * 4
    assert traffic(runs(TAKEN_ALONG)) == rows
    assert traffic(runs(TAKEN_ALONG), everywhere=True) == rows + 2 * ARRAY + 2 * 4


def test_of_what_xla_counts_arrays_that_are_handed_on_are_taken_off():
    own, everyone, counters = 4 * 128 * 4, 16 * 128 * 4, 2 * 4
    # All that each of the three fusions names, its operands before its results.
    said = own + (own + everyone + counters)
    said += own + everyone + counters + ARRAY + (ARRAY + own + 2 * everyone + counters)
    said += own + everyone + counters + everyone
    program = SimpleNamespace(
        cost_analysis=lambda: {"flops": 8 * 128.0, "bytes accessed": float(said)},
        memory_analysis=lambda: SimpleNamespace(temp_size_in_bytes=3, argument_size_in_bytes=5),
        as_text=lambda: TAKEN_ALONG,
    )
    found = cost_of(program)
    assert found.bytes == own + everyone + counters + 2 * ARRAY
    assert found.memory_bytes == own + everyone
    assert (found.flops, found.temporaries, found.arguments) == (8 * 128, 3, 5)


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="ENTRY"):
        traffic(runs("HloModule nothing"))
