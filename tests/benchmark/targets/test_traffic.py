"""Bytes and collectives of small programs, counted by hand."""

import pytest

from jaxreid.benchmark.targets.collectives import collectives
from jaxreid.benchmark.targets.program_text import array_sizes, runs
from jaxreid.benchmark.targets.traffic import traffic

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


# A gather that begins, goes on beside an addition on the chip, and ends: three fusions of
# GOAT's step on 4 v5e, with smaller arrays and fewer counters.
_BESIDE = 'backend_config={"async_collective_fusion_config":{"flag_start":"2","flag_end":"15"}}'
_GATHER = f"channel_id=1, replica_groups={{{{0,1,2,3}}}}, dimensions={{0}}, {_BESIDE}"
_OWN, _ALL, _AT = "f32[4,128]{1,0:T(8,128)}", "f32[16,128]{1,0:T(8,128)}", "s32[2]{0:S(4)}"
_N, _NEAR = "u32[]{:S(2)}", "f32[8,128]{1,0:T(8,128)S(1)}"
TAKEN_ALONG = f"""HloModule jit_h, is_scheduled=true

%begin (param_0: f32[4,128]) -> (f32[4,128], f32[16,128], s32[2], u32[], u32[]) {{
  %param_0 = {_OWN} parameter(0)
  %all-gather.1 = {_ALL} all-gather(%param_0), {_GATHER}
  ROOT %custom-call.1 = ({_OWN}, {_ALL}, {_AT}, {_N}, {_N}) custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}}

%beside (param_0.1: f32[4,128], param_1: f32[16,128], param_2: s32[2], param_3: u32[], param_4: u32[], param_5: f32[8,128]) -> (f32[8,128], f32[4,128], f32[16,128], f32[16,128], s32[2], /*index=5*/u32[], u32[]) {{
  %param_5 = {_NEAR} parameter(5)
  %add.1 = {_NEAR} add(%param_5, %param_5)
  %param_0.1 = {_OWN} parameter(0)
  %param_1 = {_ALL} parameter(1)
  %all-gather.2 = {_ALL} all-gather(%param_0.1), {_GATHER}
  %param_2 = {_AT} parameter(2)
  %param_3 = {_N} parameter(3)
  %param_4 = {_N} parameter(4)
  ROOT %tuple.1 = ({_NEAR}, {_OWN}, {_ALL}, {_ALL}, {_AT}, /*index=5*/{_N}, {_N}) tuple(%add.1, %param_0.1, %param_1, %all-gather.2, %param_2, /*index=5*/%param_3, %param_4)
}}

%end (param_0.2: f32[4,128], param_1.2: f32[16,128], param_2.2: s32[2], param_3.2: u32[], param_4.2: u32[]) -> f32[16,128] {{
  %param_0.2 = {_OWN} parameter(0)
  %param_1.2 = {_ALL} parameter(1)
  %all-gather.3 = {_ALL} all-gather(%param_0.2), {_GATHER}
  %param_2.2 = {_AT} parameter(2)
  %param_3.2 = {_N} parameter(3)
  %param_4.2 = {_N} parameter(4)
  ROOT %custom-call.2 = {_ALL} custom-call(%all-gather.3, %param_0.2, %param_1.2, %param_2.2, %param_3.2, /*index=5*/%param_4.2), custom_call_target="AsyncCollectiveDone"
}}

ENTRY %main.3 (x.1: f32[4,128], y.1: f32[8,128]) -> (f32[16,128], f32[8,128]) {{
  %x.1 = {_OWN} parameter(0)
  %y.1 = {_NEAR} parameter(1)
  %async-collective-start = ({_OWN}, {_ALL}, {_AT}, {_N}, {_N}) fusion(%x.1), kind=kCustom, output_to_operand_aliasing={{{{0}}: (0, {{}})}}, calls=%begin
  %own.1 = {_OWN} get-tuple-element(%async-collective-start), index=0
  %all.1 = {_ALL} get-tuple-element(%async-collective-start), index=1
  %at.1 = {_AT} get-tuple-element(%async-collective-start), index=2
  %i.1 = {_N} get-tuple-element(%async-collective-start), index=3
  %j.1 = {_N} get-tuple-element(%async-collective-start), index=4
  %fusion.1 = ({_NEAR}, {_OWN}, {_ALL}, {_ALL}, {_AT}, /*index=5*/{_N}, {_N}) fusion(%own.1, %all.1, %at.1, %i.1, %j.1, /*index=5*/%y.1), kind=kOutput, output_to_operand_aliasing={{{{1}}: (0, {{}})}}, calls=%beside
  %sum.1 = {_NEAR} get-tuple-element(%fusion.1), index=0
  %own.2 = {_OWN} get-tuple-element(%fusion.1), index=1
  %all.2 = {_ALL} get-tuple-element(%fusion.1), index=3
  %at.2 = {_AT} get-tuple-element(%fusion.1), index=4
  %i.2 = {_N} get-tuple-element(%fusion.1), index=5
  %j.2 = {_N} get-tuple-element(%fusion.1), index=6
  %async-collective-done = {_ALL} fusion(%own.2, %all.2, %at.2, %i.2, %j.2), kind=kCustom, output_to_operand_aliasing={{{{}}: (1, {{}})}}, calls=%end
  ROOT %tuple.2 = ({_ALL}, {_NEAR}) tuple(%async-collective-done, %sum.1)
}}
"""  # noqa: E501

# A sum of which each chip keeps a part, in one fusion.
PART_OF_SUM = """HloModule jit_h, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %add = f32[]{:T(128)} add(%a, %b)
}

%all-reduce-scatter (param_0: f32[1024,128], param_1: s32[]) -> f32[256,128] {
  %param_0 = f32[1024,128]{1,0:T(8,128)} parameter(0)
  %all-reduce.1 = f32[1024,128]{1,0:T(8,128)} all-reduce(%param_0), replica_groups={{0,1,2,3}}, to_apply=%sum
  %param_1 = s32[]{:T(128)} parameter(1)
  %constant.1 = s32[]{:T(128)} constant(0)
  ROOT %dynamic-slice.1 = f32[256,128]{1,0:T(8,128)} dynamic-slice(%all-reduce.1, %param_1, %constant.1), dynamic_slice_sizes={256,128}
}

ENTRY %main.3 (x.1: f32[1024,128], i.1: s32[]) -> f32[256,128] {
  %x.1 = f32[1024,128]{1,0:T(8,128)} parameter(0)
  %i.1 = s32[]{:T(128)} parameter(1)
  ROOT %fusion.1 = f32[256,128]{1,0:T(8,128)} fusion(%x.1, %i.1), kind=kCustom, calls=%all-reduce-scatter
}
"""  # noqa: E501

# Six operands, of which a fusion in the fusion takes a row of the last.
NESTED = """HloModule jit_h, is_scheduled=true

%row (param_0: f32[64,128], param_1: s32[]) -> f32[1,128] {
  %param_0 = f32[64,128]{1,0:T(8,128)} parameter(0)
  %bitcast.1 = f32[64,128]{1,0:T(8,128)} bitcast(%param_0)
  %param_1 = s32[]{:T(128)} parameter(1)
  %constant.1 = s32[]{:T(128)} constant(0)
  ROOT %dynamic-slice.1 = f32[1,128]{1,0:T(8,128)} dynamic-slice(%bitcast.1, %param_1, %constant.1), dynamic_slice_sizes={1,128}
}

%total (param_0: f32[1,128], param_1: f32[1,128], param_2: f32[1,128], param_3: f32[1,128], param_4: s32[], param_5: f32[64,128]) -> f32[1,128] {
  %param_0 = f32[1,128]{1,0:T(8,128)} parameter(0)
  %param_1 = f32[1,128]{1,0:T(8,128)} parameter(1)
  %param_2 = f32[1,128]{1,0:T(8,128)} parameter(2)
  %param_3 = f32[1,128]{1,0:T(8,128)} parameter(3)
  %param_4 = s32[]{:T(128)} parameter(4)
  %param_5 = f32[64,128]{1,0:T(8,128)} parameter(5)
  %fusion.2 = f32[1,128]{1,0:T(8,128)} fusion(%param_5, %param_4), kind=kLoop, calls=%row
  %add.1 = f32[1,128]{1,0:T(8,128)} add(%param_0, %param_1)
  %add.2 = f32[1,128]{1,0:T(8,128)} add(%param_2, %param_3)
  %add.3 = f32[1,128]{1,0:T(8,128)} add(%add.1, %add.2)
  ROOT %add.4 = f32[1,128]{1,0:T(8,128)} add(%add.3, %fusion.2)
}

%twice (param_0: f32[64,128], param_1: s32[], param_2: f32[1,128]) -> f32[1,128] {
  %param_0 = f32[64,128]{1,0:T(8,128)} parameter(0)
  %param_1 = s32[]{:T(128)S(1)} parameter(1)
  %param_2 = f32[1,128]{1,0:T(8,128)S(1)} parameter(2)
  ROOT %fusion.1 = f32[1,128]{1,0:T(8,128)} fusion(%param_2, %param_2, %param_2, %param_2, %param_1, /*index=5*/%param_0), kind=kLoop, calls=%total
}

ENTRY %main.3 (x.1: f32[64,128], i.1: s32[], y.1: f32[1,128]) -> f32[1,128] {
  %x.1 = f32[64,128]{1,0:T(8,128)} parameter(0)
  %i.1 = s32[]{:T(128)S(1)} parameter(1)
  %y.1 = f32[1,128]{1,0:T(8,128)S(1)} parameter(2)
  %call.1 = f32[1,128]{1,0:T(8,128)} call(%x.1, %i.1, %y.1), to_apply=%twice
  ROOT %call.2 = f32[1,128]{1,0:T(8,128)} call(%x.1, %i.1, %y.1), to_apply=%twice
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
    # chip, where the gather's counters are, too.
    rows, counters = (4 + 16) * 128 * 4, 4 * 4
    assert traffic(runs(TAKEN_ALONG)) == rows
    assert traffic(runs(TAKEN_ALONG), everywhere=True) == rows + 2 * ARRAY + counters


def test_a_collective_within_a_fusion_counts():
    assert collectives(runs(PART_OF_SUM)) == {"all-reduce": (1, 1024 * 128 * 4)}
    assert traffic(runs(PART_OF_SUM)) == (1024 + 256) * 128 * 4 + 4


def test_what_begins_a_collective_reads_once():
    sums = (256 + 256) * 4 + (2 * 256 + 24) * 4
    assert traffic(runs(SUMS)) == sums + (4 + 16) * 128 * 2


def test_a_part_is_one_in_fusions_of_fusions_too():
    # A row is read and one is written, by each of two calls.
    assert traffic(runs(NESTED)) == 2 * 2 * 128 * 4
    assert [run.times for run in runs(NESTED)] == [1, 2]


@pytest.mark.parametrize(
    ("array", "size"),
    [
        ("f8e4m3fn[8,128]{1,0}", 1024),
        ("s4[3]{0:E(4)}", 2),
        ("c64[2]", 16),
        ("pred[5]", 5),
        ("bf16[]", 2),
        ("token[]", 0),
    ],
)
def test_numbers_have_their_sizes(array, size):
    assert list(array_sizes(array)) == [(size, True)]


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="ENTRY"):
        traffic(runs("HloModule nothing"))
