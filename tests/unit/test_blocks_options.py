"""Wrong options are refused in words; right ones become one canonical spec."""

import sys

import pytest
import torch
from oracles import choices, defaults, divisors, refusal, subject_at
from torch import nn

from gcbench.blocks import BLOCKS, build, build_meta, resolve
from gcbench.blocks.forms import closed_form
from gcbench.errors import UsageError
from gcbench.measure.counting import count
from gcbench.spec.cases import Axes, BlockSpec, comparison_of, value_text

NAMES = [entry.name for entry in BLOCKS]
OPTIONS = [(name, option) for name in NAMES for option in defaults(name)]
WORDS = [(n, o) for n, o in OPTIONS if o in choices(n) and type(defaults(n)[o]) is not bool]
WHOLE = [(n, o) for n, o in OPTIONS if type(defaults(n)[o]) is int and (n, o) not in WORDS]
# whole numbers that divide the channels, and the others
DIVISORS = [(n, o) for n, o in WHOLE if o in divisors(n)]
NUMBERS = [(n, o) for n, o in WHOLE if (n, o) not in DIVISORS]
FLAGS = [(n, o) for n, o in OPTIONS if type(defaults(n)[o]) is bool]


def assert_told(spec, *words, channels=64):
    """The spec is refused in one line that holds all these words."""
    message = refusal(spec, channels)
    assert "\n" not in message
    for word in words:
        assert word in message, message


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_refused_with_all_that_there_are(name):
    assert_told(f"{name}:colour=red", repr(name + ":colour=red"), "'colour'", *defaults(name))


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_a_mistyped_option_is_refused_with_the_nearest(name, option):
    assert_told(f"{name}:{option}x=1", f"'{option}x'", f"did you mean '{option}'?")


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_option_that_is_given_twice_is_refused_even_with_one_value(name, option):
    given = f"{option}={value_text(defaults(name)[option])}"
    spec = f"{name}:{given}:{given}"
    assert_told(spec, repr(spec), f"option '{option}' is given twice")


@pytest.mark.parametrize("target", ["gc", "mine.blocks:Mine"])
def test_bytes_that_are_no_text_are_refused_before_anybody_is_asked_of_them(target):
    # as Python has what a shell gives in another encoding
    assert_told(f"{target}:norm=\udcff", repr(f"{target}:norm=\udcff"), "no text in UTF-8")


@pytest.mark.parametrize("name", NAMES)
def test_the_channels_are_an_axis_and_no_option(name):
    assert_told(f"{name}:channels=8", "unknown option 'channels'")


@pytest.mark.parametrize("wrong", ["blue", "7", "true"])
@pytest.mark.parametrize(("name", "option"), WORDS)
def test_a_choice_that_there_is_not_is_refused_with_all_that_there_are(name, option, wrong):
    allowed = [value_text(choice) for choice in choices(name)[option]]
    assert_told(f"{name}:{option}={wrong}", f"{option}={wrong} ", *allowed)


@pytest.mark.parametrize("wrong", ["1", "0", "yes", "none", "1.0"])
@pytest.mark.parametrize(("name", "option"), FLAGS)
def test_a_flag_takes_true_or_false_only(name, option, wrong):
    assert_told(f"{name}:{option}={wrong}", f"{option} takes true or false, not '{wrong}'")


@pytest.mark.parametrize("wrong", ["many", "2.0", "true", "none", "8x"])
@pytest.mark.parametrize(("name", "option"), WHOLE)
def test_a_count_takes_a_whole_number_only(name, option, wrong):
    assert_told(f"{name}:{option}={wrong}", f"{option} takes a whole number, not '{wrong}'")


@pytest.mark.parametrize("wrong", [0, -1])
@pytest.mark.parametrize(("name", "option"), NUMBERS)
def test_a_count_of_nothing_is_refused_with_what_came(name, option, wrong):
    assert_told(f"{name}:{option}={wrong}", f"{option}={wrong} ", "64 channels")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("eca:kernel=4", ("kernel=4 is not an odd number of 1 or more",)),
        ("eca:kernel=many", ("kernel takes a whole number or none, not 'many'",)),
        ("cbam:kernel=2", ("kernel=2 is not an odd number",)),
        ("triplet:kernel=6", ("kernel=6 is not an odd number",)),
        ("ge:extent=3", ("extent=3 is not one of 0, 2, 4, 8",)),
        ("ge:extent=false", ("extent=false is not one of 0, 2, 4, 8",)),
        ("ge:excite=mlp:ratio=65", ("ratio=65 leaves no channel of 64",)),
        ("ge:ratio=4", ("with excite=none there is no ratio",)),
        ("simam:lam=0", ("lam=0 is not above 0",)),
        ("simam:lam=much", ("lam takes a number, not 'much'",)),
        ("dnl:temperature=-1", ("temperature=-1 is not above 0",)),
        ("efficient:heads=5", ("heads=5 does not divide the inner width 32",)),
        ("mhsa:heads=5", ("heads=5 does not divide 64 channels",)),
        ("mhsa:residual=false:zero_init=true", ("zero_init=true goes with residual=true",)),
        ("bot:heads=7", ("heads=7 does not divide 64 channels",)),
        ("apnb:bins=1-x", ("bins=1-x is no list of cells a side such as 1-3-6-8",)),
        ("apnb:bins=0", ("bins=0 is no list",)),
    ],
)
def test_what_a_block_could_not_do_later_is_refused_when_it_is_built(spec, words):
    assert_told(spec, *words)


@pytest.mark.parametrize("name", NAMES)
def test_no_channels_are_refused_when_a_block_is_built(name):
    message = refusal(name, channels=0)
    assert message.startswith(f"block {name!r} cannot be built at 0 channels: ")
    assert "\n" not in message


@pytest.mark.parametrize("wrong", [0, -1, 65, 10**6])
@pytest.mark.parametrize(("name", "option"), DIVISORS)
def test_a_divisor_that_leaves_no_channel_is_refused_with_its_range(name, option, wrong):
    needed = needs(name, option)
    assert_told(
        f"{name}:{option}={wrong}{needed}",
        f"{option}={wrong} leaves no channel of 64",
        "1 to 64",
        "64 channels",
    )


@pytest.mark.parametrize("wrong", [0, 65])
@pytest.mark.parametrize("name", [name for name in NAMES if resolve(name).takes_ratio])
def test_a_ratio_from_the_axis_that_leaves_no_channel_is_refused_in_the_same_words(name, wrong):
    for make in (
        build,
        lambda *a: build_meta(comparison_of([resolve(name)], at(wrong), "cpu").cases[0]),
    ):
        with pytest.raises(UsageError, match=f"ratio={wrong} leaves no channel of 64.*1 to 64"):
            make(name, 64, wrong)


def at(ratio):
    return Axes(channels=64, size=(4, 4), ratio=ratio)


def needs(name, option):
    """The option without which another has no place."""
    return ":excite=mlp" if (name, option) == ("ge", "ratio") else ""


@pytest.mark.parametrize(("name", "option"), DIVISORS)
def test_a_divisor_may_be_all_of_the_channels(name, option):
    module = build(f"{name}:{option}=64{needs(name, option)}", 64)
    assert module.letters((1, 64, 8, 8))[divisors(name)[option]] == 1


def test_a_ratio_without_a_bottleneck_is_refused():
    for spec in ("gc:bottleneck=false:ratio=8", "gc:ratio=8:bottleneck=false"):
        assert_told(spec, repr(spec), "with bottleneck=false there is no ratio")


@pytest.mark.parametrize("option", ["norm=none", "relu=false"])
def test_an_option_of_the_hidden_layer_without_a_bottleneck_is_refused(option):
    assert_told(f"gc:bottleneck=false:{option}", "bottleneck=false", option.partition("=")[0])


def test_a_name_that_is_no_block_is_refused_with_the_nearest_and_all():
    with pytest.raises(UsageError) as raised:
        resolve("gcc")
    for word in ("'gcc'", "did you mean 'gc'?", *NAMES):
        assert word in str(raised.value)


@pytest.mark.parametrize("size", [(1, 4), (4, 1), (1, 1)])
@pytest.mark.parametrize("place", ["before", "after"])
def test_sub_sampling_a_map_below_two_is_refused_by_the_block(place, size):
    spec = f"nl:subsample={place}"
    words = rf"subsample={place} needs H and W of 2 or more, not {size[0]}x{size[1]}"
    with pytest.raises(ValueError, match=words):
        build(spec, 4)(torch.zeros(1, 4, *size))
    cells, reasons = count(subject_at(spec, (1, 4, *size), counter="torch"))
    assert cells["macs"] is None
    assert words in reasons[0]


# --- the canonical spec --------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_a_default_that_is_written_out_makes_no_other_block(name, option):
    needed = needs(name, option)
    written = str(BlockSpec(name, ((option, defaults(name)[option]),))) + needed
    assert resolve(written).spec == name + needed
    if option == "ratio":
        assert (resolve(written).ratio, resolve(written).takes_ratio) == (16, False)
    else:
        assert resolve(written) == resolve(name + needed)


@pytest.mark.parametrize(
    ("text", "spec", "ratio"),
    [
        ("gc:pooling=avg:fusion=scale", "gc:fusion=scale:pooling=avg", None),
        ("gc:fusion=scale:pooling=avg", "gc:fusion=scale:pooling=avg", None),
        ("gc:ratio=4:relu=false:pooling=att", "gc:relu=false", 4),
        ("se:ratio=4", "se", 4),
        (
            "nl:subsample=before:similarity=gaussian",
            "nl:similarity=gaussian:subsample=before",
            None,
        ),
        ("nl:norm=none:scale=true:reduction=2", "nl", None),
        ("snl:hoist=false:zero_init=false", "snl:hoist=false", None),
    ],
)
def test_the_canonical_spec_is_sorted_and_holds_neither_defaults_nor_the_ratio(text, spec, ratio):
    block = resolve(text)
    assert (block.spec, block.ratio) == (spec, ratio)
    assert resolve(block.spec).spec == spec


@pytest.mark.parametrize("name", NAMES)
def test_a_block_takes_the_ratio_axis_where_it_has_a_ratio_that_the_spec_leaves_open(name):
    name += needs(name, "ratio")
    has = "ratio" in defaults(name.partition(":")[0])
    assert resolve(name).takes_ratio is has
    assert comparison_of([resolve(name)], at(4), "cpu").cases[0].ratio == (4 if has else None)
    if has:
        assert comparison_of([resolve(f"{name}:ratio=8")], at(4), "cpu").cases[0].ratio == 8


def test_gc_without_a_bottleneck_takes_no_ratio():
    block = resolve("gc:bottleneck=false")
    assert (block.ratio, block.takes_ratio) == (None, False)
    case = comparison_of([block], at(1000), "cpu").cases[0]
    assert case.ratio is None
    assert build_meta(case).hidden == 0


# --- a module of the user's own ------------------------------------------------------------------

SOURCE = """
from torch import nn

class MyBlock(nn.Module):
    def __init__(self, planes, width: int = 2, *, gate: bool = True):
        super().__init__()
        self.width, self.gate = width, gate
        self.narrow = nn.Conv2d(planes, width, 1)
        self.widen = nn.Conv2d(width, planes, 1)

    def forward(self, x):
        return x + self.widen(self.narrow(x))

def with_ratio(in_channels, ratio=4):
    return MyBlock(in_channels, in_channels // ratio)

def no_module(channels):
    return "a text"

def broken(channels):
    raise RuntimeError("no such luck")

answer = 42
"""


@pytest.fixture
def my_blocks(tmp_path, monkeypatch):
    """A module of blocks in the working directory; its name."""
    (tmp_path / "my_blocks_for_test.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield "my_blocks_for_test"
    sys.modules.pop("my_blocks_for_test", None)


def test_a_module_of_the_working_directory_is_a_block(my_blocks):
    block = resolve(f"{my_blocks}:MyBlock:width=3")
    assert block.spec == f"{my_blocks}:MyBlock:width=3"
    assert (block.ratio, block.takes_ratio) == (None, False)
    module = build(block.spec, 8, seed=1)
    assert isinstance(module, nn.Module)
    assert module.narrow.weight.shape == (3, 8, 1, 1)
    assert module(torch.zeros(2, 8, 5, 3)).shape == (2, 8, 5, 3)
    assert closed_form(module, (2, 8, 5, 3)) is None
    cells, reasons = count(subject_at(block.spec, (2, 8, 5, 3)))
    assert reasons == []
    assert cells["params"] == 2 * 3 * 8 + 3 + 8
    assert cells["macs"] == 2 * 15 * (2 * 3 * 8)
    assert cells["min_bytes"] is None


def test_a_function_of_the_users_is_a_block_and_its_ratio_is_the_axis(my_blocks):
    block = resolve(f"{my_blocks}:with_ratio")
    assert block.takes_ratio
    case = comparison_of([block], Axes(channels=24, size=(4, 4), ratio=8), "cpu").cases[0]
    assert build_meta(case).width == 3


def test_a_default_of_the_users_is_dropped_from_the_spec(my_blocks):
    assert resolve(f"{my_blocks}:MyBlock:width=2:gate=true").spec == f"{my_blocks}:MyBlock"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (":MyBlock:widht=3", ("'widht'", "did you mean 'width'?", "gate")),
        (":MyBlock:width=true", ("width takes a whole number", "'true'")),
        (":MyBlock:gate=1", ("gate takes true or false", "'1'")),
        (":MyBlok", ("'MyBlok'", "did you mean 'MyBlock'?")),
        (":answer", ("'answer'", "no class or function")),
        (":no_module", ("makes str", "not a torch.nn.Module")),
        (":broken", ("cannot be built at 64 channels", "RuntimeError: no such luck")),
    ],
)
def test_what_is_wrong_with_a_block_of_the_users_is_told(my_blocks, spec, words):
    assert_told(my_blocks + spec, my_blocks, *words)


def test_a_module_that_is_not_there_is_told(my_blocks):
    with pytest.raises(UsageError, match="cannot import 'no_such_module_here'"):
        resolve("no_such_module_here:Block")


def test_a_ratio_is_a_whole_number_and_open_options_reach_the_users_block(tmp_path, monkeypatch):
    (tmp_path / "open_blocks_for_test.py").write_text(
        "from torch import nn\n"
        "class Open(nn.Module):\n"
        "    def __init__(self, channels, **options):\n"
        "        super().__init__()\n"
        "        self.options = options\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "open_blocks_for_test:Open:ratio=4:width=3"
    block = resolve(text)
    assert (block.spec, block.ratio, block.takes_ratio) == (
        "open_blocks_for_test:Open:width=3",
        4,
        False,
    )
    assert build(block.spec, 8, block.ratio).options == {"width": 3, "ratio": 4}
    with pytest.raises(UsageError, match="ratio takes a whole number"):
        resolve("open_blocks_for_test:Open:ratio=0.5")
