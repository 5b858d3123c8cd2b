"""What the user writes: block specs, axes, keys, comparisons."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcbench.errors import UsageError
from gcbench.spec import cases as spec
from gcbench.spec.cases import Axes, Block
from gcbench.spec.labels import label_of_key

FUZZ = settings(derandomize=True, deadline=None, max_examples=200)
GC = spec.Block("gc", "gc", None, True)
GC8 = spec.Block("gc", "gc", 8, False)
SE = spec.Block("se", "se", None, True)
NL = spec.Block("nl", "nl", None, False)

texts = st.text(st.characters(codec="ascii", exclude_characters=""), max_size=20) | st.text(
    alphabet="gcx:=,.@-_/0123456789e#", max_size=20
)


def refusal(read, text):
    """What a reader says against a text, or None where it takes it; anything else goes through."""
    try:
        read(text)
    except UsageError as error:
        return str(error)
    return None


@FUZZ
@given(texts)
def test_any_text_is_a_block_spec_or_one_clear_error(text):
    told = refusal(spec.parse_block, text)
    if told is None:
        parsed = spec.parse_block(text)
        assert spec.parse_block(str(parsed)) == parsed
    else:
        assert repr(text) in told
        assert "\n" not in told


@FUZZ
@given(texts)
@pytest.mark.parametrize(
    "read",
    [
        lambda text: spec.parse_count("--batch", text),
        lambda text: spec.parse_size("--batch", text),
        lambda text: spec.parse_device("--batch", text),
        lambda text: spec.parse_choice("--batch", text, spec.Mode),
    ],
    ids=["count", "size", "device", "choice"],
)
def test_any_text_is_an_axis_value_or_an_error_that_names_the_option(read, text):
    told = refusal(read, text)
    assert told is None or (told.startswith("--batch") and repr(text) in told)


@FUZZ
@given(
    st.booleans()
    | st.none()
    | st.integers(-(10**17), 10**17)
    | st.floats(-1e15, 1e15, allow_nan=False).map(lambda number: round(number, 6))
)
def test_a_value_survives_writing_and_reading(value):
    text = spec.value_text(value)
    if "e" not in text or value is True or value is False or value is None:
        again = spec.parse_value(text)
        assert again == value
        assert type(again) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "gc:",
        "gc:=3",
        "gc:a=",
        "gc:a=1:b",
        "gc:a=1:a=2",
        "gc:a=1,2",
        "a:b:c",
        "g c",
        "gc@c4",
    ],
)
def test_a_spec_outside_the_grammar_is_refused(text):
    with pytest.raises(UsageError, match="block "):
        spec.parse_block(text)


def test_a_key_says_every_axis_and_only_the_kind_of_the_device():
    axes = spec.Axes(batch=2, size=(50, 80), threads=4)
    case = spec.comparison_of([GC8], axes, "cuda:1").cases[0]
    assert case.key == ("gc|ratio=8|2x256x50x80|float32|cuda|contiguous|infer|eager|cold|threads=4")


def test_a_block_without_ratio_has_none_in_its_key():
    case = spec.comparison_of([NL], spec.Axes(), "cpu").cases[0]
    assert case.key == "nl|1x256x56x56|float32|cpu|contiguous|infer|eager|warm|threads=auto"


def test_the_ratio_axis_passes_by_a_ratio_that_the_spec_fixes():
    cases = spec.comparison_of([GC, GC8, NL], spec.Axes(ratio=4), "cpu").cases
    assert [case.ratio for case in cases] == [4, 8, None]


def test_the_same_block_twice_is_two_arms():
    cases = spec.comparison_of([GC, GC8, GC], spec.Axes(ratio=8), "cpu").cases
    assert [case.copy for case in cases] == [1, 2, 3]
    assert len({case.key for case in cases}) == 3
    assert cases[1].key == cases[0].key + "#2"


def test_the_baseline_is_the_first_block_or_the_one_named():
    blocks = [GC, SE, GC8]
    assert spec.comparison_of(blocks, spec.Axes(), "cpu").baselines == (0, 0, 0)
    assert spec.comparison_of(blocks, spec.Axes(), "cpu", SE).baselines == (1, 1, 1)
    assert spec.comparison_of(blocks, spec.Axes(), "cpu", GC8).baselines == (2, 2, 2)
    with pytest.raises(
        UsageError, match=r"--baseline 'nl' is not among the blocks: gc r16, se r16"
    ):
        spec.comparison_of(blocks, spec.Axes(), "cpu", NL)


def test_the_cache_is_warm_on_a_cpu_and_cold_on_cuda_unless_it_is_said():
    assert spec.comparison_of([GC], spec.Axes(), "cpu").cases[0].cache == "warm"
    assert spec.comparison_of([GC], spec.Axes(), "cuda").cases[0].cache == "cold"
    assert spec.comparison_of([GC], spec.Axes(cache="warm"), "cuda").cases[0].cache == "warm"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"mod": "infer"}, "unknown axis 'mod': did you mean 'mode'"),
        ({"mode": "infre"}, "mode 'infre' is unknown: did you mean 'infer'"),
        ({"ratio": 0}, "ratio takes a whole number from 1"),
        ({"threads": 0}, "threads takes a whole number from 1"),
        ({"device": "tpu"}, "device takes cpu, cuda or cuda:INDEX"),
    ],
)
def test_named_axes_are_checked(named, message):
    with pytest.raises(UsageError, match=message):
        spec.axes_at((1, 8, 4, 4), named)


def test_a_shape_with_a_zero_is_refused():
    with pytest.raises(UsageError, match="shape takes a whole number from 1"):
        spec.axes_at((1, 8, 0, 4), {})


@FUZZ
@given(texts)
def test_any_text_is_a_pair_or_an_error_that_names_the_option(text):
    told = refusal(lambda text: spec.parse_pair("--pair", text, spec.Axes()), text)
    assert told is None or told.startswith("--pair")


@pytest.mark.parametrize("axis", spec.PAIRS)
def test_a_pair_puts_each_block_at_both_values_beside_itself(axis):
    pair = spec.parse_pair("--pair", axis, spec.Axes())
    found = spec.comparison_of([GC, SE, GC], spec.Axes(), "cpu", pair=pair)
    assert [case.block for case in found.cases] == ["gc", "gc", "se", "se", "gc", "gc"]
    assert [getattr(case, axis) for case in found.cases] == list(pair.values) * 3
    assert found.baselines == (0, 0, 2, 2, 4, 4)
    assert found.pair == axis
    assert len({case.key for case in found.cases}) == 6


def test_without_a_pair_every_case_is_divided_by_one():
    found = spec.comparison_of([GC, SE, NL], spec.Axes(), "cpu", baseline=SE)
    assert (found.baselines, found.pair) == ((1, 1, 1), None)


def test_cases_share_a_copy_arm_where_their_inputs_are_alike():
    axes = spec.Axes()
    for axis, alike in (("runtime", 1), ("mode", 1), ("dtype", 2), ("layout", 2), ("threads", 2)):
        pair = spec.parse_pair("--pair", axis, axes)
        cases = spec.comparison_of([GC, SE], axes, "cpu", pair=pair).cases
        assert len({case.input for case in cases}) == alike, axis


def test_a_regime_is_named_in_the_key_where_it_is_not_the_usual_one():
    burst, sustained = (
        spec.comparison_of([Block("gc", "gc", None, True)] * 2, Axes(regime=regime), "cuda:0").cases
        for regime in ("burst", "sustained")
    )
    assert burst[0].key.endswith("|cold|threads=auto")
    assert sustained[0].key == f"{burst[0].key}|sustained"
    assert sustained[1].key.endswith("|sustained#2")
    assert label_of_key(sustained[1].key) == label_of_key(burst[1].key) == "gc r16 #2"


def test_a_heap_of_its_own_is_named_by_a_key_and_told_apart():
    pair = spec.parse_pair("--pair", "heap", Axes())
    block = Block("gc", "gc", 16, False)
    steady, default = spec.comparison_of([block], Axes(), "cpu", pair=pair).cases
    [plain] = spec.comparison_of([block], Axes(), "cpu").cases
    assert [case.heap for case in (steady, default, plain)] == ["steady", "default", None]
    assert steady.key == f"{plain.key}|heap=steady"
    assert default.key == f"{plain.key}|heap=default"
    # a clone costs page faults too
    assert steady.input != default.input
    sustained = replace(steady, regime="sustained", copy=2)
    assert sustained.key.endswith("|threads=auto|sustained|heap=steady#2")
    assert label_of_key(sustained.key) == "gc r16 #2"
    assert label_of_key(steady.key) == label_of_key(plain.key) == "gc r16"


def test_a_heap_is_asked_for_in_one_way():
    pair = spec.parse_pair("--pair", "heap", Axes())
    spec.require_beside(pair, None, ["burst"])
    spec.require_beside(spec.parse_pair("--pair", "dtype", Axes()), "steady", ["sustained"])
    with pytest.raises(UsageError, match="--heap and --pair heap ask for different things"):
        spec.require_beside(pair, "steady", ["burst"])
    with pytest.raises(UsageError, match="--pair heap goes with --regime burst"):
        spec.require_beside(pair, None, ["burst", "sustained"])
