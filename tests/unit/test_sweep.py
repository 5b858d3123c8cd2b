"""What a sweep asks for: axes with lists and ranges, the grid that they span, conditions, TOML."""

import itertools
import re
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcbench.errors import UsageError
from gcbench.options import config
from gcbench.spec import cases, filters, grid
from gcbench.spec.cases import Block
from gcbench.spec.grid import ResolvedSweep

FUZZ = settings(derandomize=True, deadline=None, max_examples=300)
GC = Block("gc", "gc", None, True)
SE = Block("se", "se", None, True)
NL = Block("nl", "nl", None, False)


def asked(**named):
    """A sweep of texts, as options give them."""
    return config.make({name: [(f"--{name}", text)] for name, text in named.items()})


def at(asked, *blocks, baseline=None):
    return ResolvedSweep(asked, blocks or (GC, SE, NL), ("cpu",), baseline)


def refusal(call):
    """What is said against it, or None; anything but a UsageError goes through."""
    try:
        call()
    except UsageError as error:
        told = str(error)
    else:
        return None
    assert "\n" not in told
    return told


# --- axes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("16", (16,)),
        ("14,28,56", (14, 28, 56)),
        ("14:56:14", (14, 28, 42, 56)),
        ("14:57:14", (14, 28, 42, 56)),
        ("1:4", (1, 2, 3, 4)),
        ("7..56x2", (7, 14, 28, 56)),
        ("5,7..28x2,1:3", (5, 7, 14, 28, 1, 2, 3)),
        ("8,8,4:8:4", (8, 4)),
    ],
)
def test_an_axis_takes_lists_and_inclusive_ranges_each_value_once(text, values):
    assert asked(batch=text).batch == values
    assert asked(size=text).size == tuple((value, value) for value in values)


def test_every_axis_takes_a_list():
    made = asked(
        dtype="float32,bfloat16",
        device="cpu,cuda:1",
        layout="contiguous,channels_last",
        mode="infer,train",
        runtime="eager,compile",
        cache="warm,cold",
        threads="1,auto",
        size="56,50x80",
    )
    assert made.layout == ("contiguous", "channels_last")
    assert made.mode == ("infer", "train")
    assert made.runtime == ("eager", "compile")
    assert made.cache == ("warm", "cold")
    assert made.dtype == ("float32", "bfloat16")
    assert made.device == ("cpu", "cuda:1")
    assert made.threads == (1, None)
    assert made.size == ((56, 56), (50, 80))


@pytest.mark.parametrize("text", ["14,28", "14:56:14", "7..56x2", "50x80", "1x256x50x80"])
def test_axes_need_no_quotes_in_a_shell(text):
    assert re.fullmatch(r"[\w,:.]+", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing stands between"),
        ("1,,2", "nothing stands between two commas of '1,,2'"),
        ("2,", "nothing stands between"),
        ("56:14", "counts up, and 56 is above 14"),
        ("56..14x2", "counts up"),
        ("7..56x1", "as the factor of '7..56x1', takes a whole number from 2"),
        ("7..56", "14:56:14 (start:stop:step)"),
        ("1:9:0", "whole number from 1"),
        ("0", "whole number from 1"),
        ("-3", "takes whole numbers as"),
        ("1:100000000", "100,000,000 values, more than 10,000"),
        ("1:6000,6001:12000", "more than 10,000"),
        ("99999999999", "whole number from 1"),
    ],
)
def test_a_wrong_axis_is_told_with_its_option(text, words):
    told = refusal(lambda: asked(batch=text))
    assert told
    assert told.startswith("--batch")
    assert words in told


def test_shapes_are_given_in_one_way():
    assert asked(shape="2x64x7x9").shape == ((2, 64, 7, 9),)
    assert "BxCxHxW" in refusal(lambda: asked(shape="2x64x7"))
    assert "give one of them" in refusal(lambda: asked(shape="2x64x7x9", size="7"))
    assert "give one of them" in refusal(lambda: asked(stages="resnet50", channels="7"))
    assert "resnet18" in refusal(lambda: asked(stages="resnet51"))


def test_devices_of_one_kind_measure_the_same_and_are_told_apart():
    every = asked(device="cuda:0,cpu,cuda:1")
    place = ResolvedSweep(every, (GC, SE), every.device)
    first, second, third = grid.grid(place)
    assert [each.device for each in (first, second, third)] == ["cuda:0", "cpu", "cuda:1"]
    assert [each.kind for each in (first, second, third)] == ["cuda:0", None, "cuda:1"]
    assert [case.key for case in first.cases] == [case.key for case in third.cases]


def test_a_paired_axis_has_one_value():
    assert "name them in the pair" in refusal(lambda: asked(pair="dtype", dtype="float32,bfloat16"))
    assert "--baseline and --pair" in refusal(lambda: asked(pair="dtype", baseline="gc"))


# --- the grid ------------------------------------------------------------------------------------


def test_a_comparison_holds_every_block_at_every_ratio_and_the_first_is_the_baseline():
    [comparison] = grid.grid(at(asked(ratio="4,8")))
    assert [case.label for case in comparison.cases] == ["gc r4", "gc r8", "se r4", "se r8", "nl"]
    assert comparison.baselines == (0,) * 5


def test_the_baseline_asked_for_stands_at_the_first_ratio():
    [comparison] = grid.grid(at(asked(ratio="4,8", baseline="se"), baseline=SE))
    assert comparison.cases[comparison.baselines[0]].label == "se r4"


def test_the_order_of_the_grid_is_that_of_the_axes_with_the_size_fastest():
    place = at(asked(dtype="float32,bfloat16", channels="8,16", size="7,14", threads="1,2"), GC)
    found = [
        (c.cases[0].dtype, c.cases[0].threads, c.cases[0].channels, c.cases[0].height)
        for c in grid.grid(place)
    ]
    expected = list(itertools.product(("float32", "bfloat16"), (1, 2), (8, 16), (7, 14)))
    assert found == expected
    assert grid.number_of_comparisons(place) == len(found)


def test_stages_are_a_backbones_four_shapes_at_each_batch():
    place = at(asked(stages="resnet50", batch="1,2"), GC)
    shapes = [c.cases[0].shape for c in grid.grid(place)]
    assert shapes[:4] == [(1, 256, 56, 56), (1, 512, 28, 28), (1, 1024, 14, 14), (1, 2048, 7, 7)]
    assert len(shapes) == 8 == grid.number_of_comparisons(place)


def test_a_pair_stands_in_the_comparison():
    [comparison] = grid.grid(at(asked(pair="runtime", ratio="4,8"), GC, NL))
    assert [(c.label, c.runtime) for c in comparison.cases] == [
        (label, runtime) for label in ("gc r4", "gc r8", "nl") for runtime in ("eager", "compile")
    ]
    assert comparison.baselines == (0, 0, 2, 2, 4, 4)
    assert grid.cases_in_each(at(asked(pair="runtime", ratio="4,8"), GC, NL)) == 6


@FUZZ
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(
        st.sampled_from([GC, SE, NL, replace(GC, ratio=2, takes_ratio=False)]),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
)
def test_no_two_cases_of_a_sweep_share_a_key(ratios, blocks, sizes):
    text = {"ratio": ",".join(map(str, ratios)), "size": ",".join(map(str, sizes))}
    place = at(asked(**text), *blocks)
    keys = [case.key for comparison in grid.grid(place) for case in comparison.cases]
    assert len(set(keys)) == len(keys)
    assert len(keys) == grid.number_of_comparisons(place) * grid.cases_in_each(place)


def test_a_condition_leaves_cases_out_and_the_next_baseline_takes_over():
    wanted = "not (block == 'gc' and ratio == 4) and (block != 'nl' or height < 10)"
    found = list(grid.grid(at(asked(ratio="4,8", size="7,14", where=wanted))))
    assert [case.label for case in found[0].cases] == ["gc r8", "se r4", "se r8", "nl"]
    assert [case.label for case in found[1].cases] == ["gc r8", "se r4", "se r8"]
    assert found[0].baselines == (0, 0, 0, 0)
    assert list(grid.grid(at(asked(where="height > 100")))) == []


def test_a_condition_cannot_leave_out_the_baseline_asked_for():
    place = at(asked(where="block != 'se'", baseline="se"), baseline=SE)
    assert "--where leaves out the --baseline se" in refusal(lambda: list(grid.grid(place)))


def test_a_part_of_a_pair_is_divided_by_what_remains_of_it():
    [whole] = grid.grid(at(asked(pair="threads=1,2,3"), GC, NL))
    part = grid.part(whole, [1, 2, 3, 4])
    assert part.baselines == (0, 0, 2, 2)
    assert grid.with_baselines(whole, [4]) == [3, 4]


def test_a_large_grid_takes_no_memory_and_one_without_end_is_refused():
    thousand = asked(batch="1:1000", channels="1:1000", size="1:1000")
    assert "more than the 1,000,000" in refusal(lambda: grid.require_bounded(at(thousand)))
    tracemalloc.start()
    try:
        first = list(itertools.islice(grid.grid(at(thousand)), 100))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(first) == 100
    assert peak < 2**21


# --- conditions ----------------------------------------------------------------------------------

CASE = cases.comparison_of([GC], cases.Axes(channels=64, size=(28, 20)), "cpu").cases[0]
NO_RATIO = cases.comparison_of([NL], cases.Axes(channels=64, size=(28, 20)), "cpu").cases[0]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("channels * height * width < 2**22 and block != 'nl'", True),
        ("channels == 64", True),
        ("14 < height <= 28", True),
        ("28 < height <= 56", False),
        ("block in ('gc', 'se')", True),
        ("block not in ['gc', 'se']", False),
        ("'c' in spec", True),
        ("(height - 8) // 5 % 3 == 1 and -height < 0", True),
        ("height / 0 > 1 or height % 0 < 1", False),
        ("not height / 0 > 1", True),
        ("not (dtype == 'float32' or mode == 'train')", False),
        (
            "key == 'gc|ratio=16|1x64x28x20|float32|cpu|contiguous|infer|eager|warm|threads=auto'",
            True,
        ),
        ("threads > 0 or threads <= 0 or threads == 1 or threads != 1", False),
        ("threads + 1 > 0 or -threads < 0", False),
        ("1e3 > channels", True),
    ],
)
def test_a_condition_decides(text, holds):
    assert filters.parse_where("--where", text).keeps(CASE) is holds


def test_a_comparison_with_a_missing_value_is_false():
    for text in ("ratio > 0", "ratio <= 16", "ratio == 16", "ratio != 16", "ratio in (16, 8)"):
        assert filters.parse_where("--where", text).keeps(NO_RATIO) is False
    assert filters.parse_where("--where", "not ratio > 0").keeps(NO_RATIO) is True


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no condition"),
        ("channels", "'channels' is no condition"),
        ("1", "'1' is no condition"),
        ("chanels > 1", "did you mean 'channels'"),
        ("latency_us > 1", "no column known before measuring"),
        ("channels > 'gc'", "compares a number with text"),
        ("block < 3", "compares text with a number"),
        ("block + 'x' == 'gcx'", "text, which one cannot calculate with"),
        ("'a' * 99999999 == block", "cannot calculate with"),
        ("channels in 3", "looks for a number with a number"),
        ("block == ('gc', 'se')", "compares text with a list"),
        ("channels > 10**9", None),
        ("channels > 9**9**9", "too large a power"),
        ("channels > 2**600", "too large a power"),
        ("channels > 99999999999999999999", "too large a number"),
        ("channels > 1e400", "too large a number"),
        ("(-8)**0.5 > 1", "too large a power"),
        ("__import__('os').system('x') == 0", "not allowed here"),
        ("channels.real > 1", "not allowed here"),
        ("block[0] == 'g'", "not allowed here"),
        ("(lambda: 1)() > 0", "not allowed here"),
        ("channels is 3", "not allowed here"),
        ("f'{block}' == 'gc'", "not allowed here"),
        ("b'gc' == block", "not allowed here"),
        ("channels == True", "is no value of a column"),
        ("channels == None", "not allowed here"),
        ("channels > 1; 2", "not understood"),
        ("channels >", "is no condition: not understood"),
        ("block = 'gc'", "(equal is ==)"),
        ("channels > > 1", "not understood at character 12"),
        ("(" * 400 + "1" + ")" * 400 + " > 0", "not"),
        ("-" * 900 + "1 > 0", "nested too deep"),
        ("1 > 0 or " * 200 + "1 > 0", "at most 1000 characters"),
    ],
)
def test_what_a_condition_may_not_say_is_refused_with_the_place(text, words):
    told = refusal(lambda: filters.parse_where("--where", text).keeps(CASE))
    if words is None:
        assert told is None
    else:
        assert told
        assert told.startswith("--where")
        assert words in told


@pytest.mark.parametrize("text", ["spec == 'gc:fusion=mul' and", 'spec == "gc:fusion=mul'])
def test_an_equal_sign_within_a_text_is_no_mistake(text):
    assert "(equal is ==)" not in refusal(lambda: filters.parse_where("--where", text))


WORDS = (
    *("channels", "block", "ratio", " ", "(", ")", "**", "*", "/", "%", "-", "<", "==", "in"),
    *("not", " and ", " or ", "'gc'", "9", "0", "0.5", "1e99", ",", "[", "]", "lambda", "."),
    *(":", "{", "\\", "\n", "é"),
)
conditions = st.lists(st.sampled_from(WORDS), max_size=14).map("".join) | st.text(max_size=20)


@FUZZ
@given(conditions)
def test_any_text_is_a_condition_or_one_clear_error(text):
    told = refusal(lambda: filters.parse_where("--where", text).keeps(CASE))
    assert told is None or told.startswith("--where")


# --- options and TOML ----------------------------------------------------------------------------

axis_texts = st.text(alphabet="0123456789,:.x -autoé", max_size=12)


@FUZZ
@given(st.sampled_from(sorted(config.KEYS)), axis_texts | st.text(max_size=12))
def test_any_text_of_any_option_is_taken_or_one_clear_error(name, text):
    told = refusal(lambda: config.make({name: [(f"--{name}", text)]}))
    if told is not None:
        assert repr(text) in told or f"--{name}" in told
        return
    made = asked(**{name: text})
    again = config.to_toml(made)
    assert config.to_toml(config.make(config.from_toml(again, "again"))) == again


def test_a_sweep_survives_being_written_and_read():
    made = config.make(
        {
            "blocks": [("BLOCK", "gc:ratio=8"), ("BLOCK", "se")],
            "size": [("--size", "7..56x2,50x80")],
            "threads": [("--threads", "1,auto")],
            "dtype": [("--dtype", "float32,bfloat16")],
            "tf32": [("--tf32", "off")],
            "device": [("--device", "cpu")],
            "where": [("--where", "height < 30 or block != 'gc'")],
            "precision": [("--precision", "0.5%")],
            "max_time": [("--max-time", "1500ms")],
            "budget": [("--budget", "10m")],
            "memory_limit": [("--memory-limit", "4GiB")],
            "on_oom": [("--on-oom", "stop")],
            "engine": [("--engine", "inline")],
            "static": [("--static", "true")],
            "seed": [("--seed", "3")],
        }
    )
    text = config.to_toml(made)
    assert 'max_time = "1.5s"' in text
    assert config.make(config.from_toml(text, "x.toml")) == made
    shapes = asked(shape="1x2x3x4", stages="resnet18", batch="2")
    assert config.make(config.from_toml(config.to_toml(shapes), "x.toml")) == shapes


def test_a_file_takes_ranges_and_lists_and_single_values():
    text = """
        blocks = ["gc", "se"]
        where = "height < 40"
        [axes]
        size = ["14:56:14", 7, "50x80"]
        batch = 2
        ratio = "4,8"
        [effort]
        precision = 0.05
        max_time = 3
    """
    made = config.make(config.from_toml(text, "x.toml"))
    assert made.size == ((14, 14), (28, 28), (42, 42), (56, 56), (7, 7), (50, 80))
    assert (made.batch, made.ratio, made.precision, made.max_time_s) == ((2,), (4, 8), 0.05, 3.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("axes = [", "x.toml is not TOML"),
        ("\x00", "x.toml is not TOML"),
        ("axes = 3", "x.toml: axes is a table, [axes], not 3"),
        ("[axes]\nsiez = 3", "x.toml: axes.siez is unknown: did you mean 'size'?"),
        ("bloks = ['gc']", "x.toml: bloks is unknown: did you mean 'blocks'?"),
        ("size = 14", "x.toml: size is unknown: it belongs into [axes]"),
        ("[effort]\nsize = 14", "x.toml: effort.size is unknown: it belongs into [axes]"),
        ("[axes]\nwhere = 'x'", "it belongs before the first table"),
        ("[axe]\nsize = 14", "x.toml: axe is unknown: did you mean 'axes'?"),
        ("[axes]\nsize = [14, 28, 'x']", "x.toml: axes.size[2] takes"),
        ("[axes]\nsize = [14, 0]", "x.toml: axes.size[1] takes"),
        ("[axes]\nsize = []", "x.toml: axes.size is an empty list"),
        ("[axes]\nsize = [[14]]", "x.toml: axes.size[0] takes text or a number, not a list"),
        ("[axes]\nsize = 1979-05-27", "x.toml: axes.size takes text or a number, not datetime"),
        ("[axes]\nsize = {a = 1}", "x.toml: axes.size takes text or a number, not a table"),
        ("[axes]\nbatch = 1.5", "x.toml: axes.batch takes whole numbers"),
        ("[axes]\nbatch = true", "x.toml: axes.batch takes whole numbers"),
        ("[axes]\ndtype = ['float32', 'float23']", "x.toml: axes.dtype[1] 'float23' is unknown"),
        ("blocks = []", "x.toml: blocks is an empty list"),
        ("blocks = ['gc', 'gc:']", "x.toml: blocks[1]: block 'gc:'"),
        ("where = 'chanels > 1'", "x.toml: where: 'chanels' is no column"),
        ("static = 'yes'", "x.toml: static takes true or false, not 'yes'"),
        ("seed = [1, 2]", "x.toml: seed[0] takes one value, not 2"),
        ("[effort]\nmax_time = 'soon'", "x.toml: effort.max_time takes a time"),
        ("[effort]\nprecision = 2", "x.toml: effort.precision takes a share"),
        ("[engine]\nengine = 'rya'", "x.toml: engine.engine 'rya' is unknown"),
        ("[engine]\nmemory_limit = 'much'", "x.toml: engine.memory_limit takes a size"),
        ("[axes]\nsize = 7\nshape = '1x2x3x4'", "x.toml: axes.size and x.toml: axes.shape both"),
        ("a = " + "[" * 5000, "x.toml is not TOML"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_the_path_to_it(text, words):
    told = refusal(lambda: config.make(config.from_toml(text, "x.toml")))
    assert told
    assert words in told


scalars = (
    st.integers()
    | st.booleans()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["gc", "14:56:14"])
)


@FUZZ
@given(
    st.dictionaries(
        st.sampled_from([*config.KEYS, "axes", "effort", "engine", "x"]),
        scalars
        | st.lists(scalars, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted(config.KEYS)),
            scalars | st.lists(scalars, max_size=3),
            max_size=3,
        ),
        max_size=4,
    )
)
def test_any_toml_is_a_sweep_or_one_clear_error(document):
    import tomli_w

    told = refusal(lambda: config.make(config.from_toml(tomli_w.dumps(document), "x.toml")))
    assert told is None or told


@FUZZ
@given(st.text(max_size=60) | st.text(alphabet="[]={}\"'#\n.,axesizeblocks 14:", max_size=60))
def test_any_text_is_toml_or_one_clear_error(text):
    refusal(lambda: config.make(config.from_toml(text, "x.toml")))


def test_a_pair_of_heaps_takes_processes_and_no_heap_beside_it():
    assert grid.pairs_heaps(asked(pair="heap"))
    assert not grid.pairs_heaps(asked(pair="runtime"))
    assert not grid.pairs_heaps(asked())
    assert "--engine inline has one" in refusal(lambda: asked(pair="heap", engine="inline"))
    assert "--heap and --pair heap" in refusal(lambda: asked(pair="heap", heap="default"))
    [comparison] = grid.grid(at(asked(pair="heap"), GC, NL))
    assert [case.heap for case in comparison.cases] == ["steady", "default"] * 2
    assert comparison.baselines == (0, 0, 2, 2)
    [kept] = grid.grid(at(asked(pair="heap", where="heap == 'default'"), GC, NL))
    assert [case.heap for case in kept.cases] == ["default"] * 2


def test_another_grid_has_no_heap_of_its_own_to_select_by():
    assert list(grid.grid(at(asked(where="heap == 'steady'"), GC))) == []
