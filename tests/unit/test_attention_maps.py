"""Pictures of maps: one colour scale, a square for a key, and the query where it is."""

from io import BytesIO

import pytest
import torch
from PIL import Image

from gcbench.attention import maps
from gcbench.attention.maps import Panel, Scale, png, scale_of
from gcbench.attention.request import parse
from gcbench.attention.running import Maps
from gcbench.errors import UsageError


def made(rows, at=((0, 0), (1, 2)), grid=(2, 4), photo=0, keys=8):
    rows = torch.tensor(rows).double()
    return Maps(photo, rows, at, grid, grid, torch.zeros(len(rows)), keys)


FLAT = [[1 / 8] * 8, [1 / 8] * 8]
SHARP = [[1.0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0.5, 0.5]]


def lightness(colours):
    # CIE's luminance of sRGB
    linear = torch.where(colours <= 10, colours / 3295, ((colours / 255 + 0.055) / 1.055) ** 2.4)
    return linear @ torch.tensor([0.2126, 0.7152, 0.0722]).double()


def test_lightness_grows_with_the_weight_all_the_way():
    found = lightness(Scale(0.0, 1.0, maps.SEQUENTIAL).of(torch.linspace(0, 1, 200)))
    assert bool((found.diff() > 0).all())


def test_all_maps_of_a_panel_share_a_scale_that_begins_at_zero():
    scale = scale_of([made(FLAT), made(SHARP)])
    assert (scale.low, scale.high, scale.colours) == (0, 1, maps.SEQUENTIAL)


def test_weights_below_zero_have_a_scale_that_is_even_about_zero():
    scale = scale_of([made([[-2.0] * 8, [1.0] * 8])])
    assert (scale.low, scale.high, scale.colours) == (-2, 2, maps.DIVERGING)
    grey = scale.of(torch.tensor(0.0))
    assert grey.max() - grey.min() < 1


@pytest.fixture
def sheet():
    picture = Image.new("RGB", (40, 20), "#808080")
    panel = Panel("title", "subtitle", [("a.png", picture)], [made(FLAT), made(SHARP)], True)
    with Image.open(BytesIO(png([panel]))) as image:
        return image.convert("RGB")


def key_colours(sheet, row, column):
    """The colour in the middle of every key of a tile, (2, 4), a little off the query's ring."""
    tall = maps.TILE // 2
    head = maps.MARGIN + maps.TITLE + maps.LABEL + 2 * maps.GAP + maps.LABEL + maps.GAP // 2
    left = maps.MARGIN + column * (maps.TILE + maps.GAP)
    top = head + row * (tall + maps.LABEL + maps.GAP)
    side = maps.TILE // 4
    return [
        [sheet.getpixel((left + side * x + 10, top + side * y + side - 10)) for x in range(4)]
        for y in range(2)
    ]


def test_each_key_is_a_square_of_its_colour(sheet):
    scale = Scale(0.0, 1.0, maps.SEQUENTIAL)
    for row, rows in enumerate((FLAT, SHARP)):
        for query in range(2):
            found = key_colours(sheet, row, query + 1)
            wanted = scale.of(torch.tensor(rows[query])) * (1 - maps.THROUGH) + 128 * maps.THROUGH
            for colour, expected in zip([*found[0], *found[1]], wanted, strict=True):
                assert colour == pytest.approx(expected.tolist(), abs=2)


def test_the_query_is_marked_on_its_tile(sheet):
    head = maps.MARGIN + maps.TITLE + maps.LABEL + 2 * maps.GAP + maps.LABEL + maps.GAP // 2
    side = maps.TILE // 4
    for tile, (row, column) in ((1, (0, 0)), (2, (1, 2))):
        left = maps.MARGIN + tile * (maps.TILE + maps.GAP)
        x, y = left + side * column + side // 2, head + side * row + side // 2
        ring = [sheet.getpixel((x + dx, y)) for dx in range(7, 13)]
        assert (255, 255, 255) in ring


def marked(at):
    """What is around a picture with a query marked, and how large its number is drawn on it."""
    grid, side = (40, 40), maps.TILE // 40
    rows = made([[1 / 1600] * 1600], [at], grid, keys=1600)
    panel = Panel("", "", [("", Image.new("RGB", (40, 40), "#808080"))], [rows], True)
    with Image.open(BytesIO(png([panel]))) as image:
        left, top = maps.MARGIN, image.height - maps.MARGIN // 2 - maps.LABEL - maps.GAP - maps.TILE
        right, bottom = left + maps.TILE, top + maps.TILE
        above = image.crop((left, 0, right, top))
        beside = image.crop((right, top, right + maps.GAP, bottom))
        y, x = (side * place + side // 2 for place in at)
        white = [
            (column, row)
            for row in range(maps.TILE)
            for column in range(maps.TILE)
            if image.getpixel((left + column, top + row)) == (255, 255, 255)
            and (column - x) ** 2 + (row - y) ** 2 > 14**2
        ]
    return above.tobytes(), beside.tobytes(), len(white)


@pytest.mark.parametrize("at", [(0, 0), (0, 39), (39, 39), (39, 0)])
def test_the_mark_of_a_query_at_an_edge_stays_within_its_tile_and_is_whole(at):
    *around, number = marked(at)
    *expected, whole = marked((20, 20))
    assert around == expected
    assert number == pytest.approx(whole, rel=0.1)


def test_an_even_share_is_one_of_all_keys(monkeypatch):
    told = []
    monkeypatch.setattr(maps, "_tick", lambda *given: told.append(given[-1]))
    # of four tokens more, which are no positions of the picture
    panel = Panel("", "", [("", Image.new("RGB", (40, 40)))], [made(SHARP, keys=12)] * 2, True)
    png([panel])
    assert told == ["100 %", "0", "8.3 %, even"]


@pytest.mark.parametrize(("size", "tall"), [((1000, 4), 80), ((4, 1000), 1200), ((40, 20), 200)])
def test_pictures_that_are_strips_are_drawn_nearer_to_a_square(size, tall):
    panels = [
        Panel("", "", [("", Image.new("RGB", size))], [made(FLAT)] * rows, True) for rows in (1, 2)
    ]
    one, two = (Image.open(BytesIO(png([panel]))).height for panel in panels)
    assert two - one == tall + maps.LABEL + maps.GAP


def test_queries_are_counted_or_named():
    assert parse("1")((7, 9)) == ((3, 4),)
    assert parse("2x8,0x0")((7, 9)) == ((2, 8), (0, 0))
    assert parse("2x8,2x8")((7, 9)) == ((2, 8),)
    # more than there are positions
    assert parse("5")((1, 2)) == ((0, 0), (0, 1))


@pytest.mark.parametrize("text", ["0", "13", "", "3x", "x3", "-1", "1x2;3x4", "1,2", "9" * 30])
def test_other_queries_are_refused(text):
    with pytest.raises(UsageError, match="--queries takes a number from 1 to 12, or"):
        parse(text)


def test_a_query_outside_the_map_is_refused():
    with pytest.raises(UsageError, match=r"--queries 7x0 is outside the map of 7x9 .* 0x0 to 6x8"):
        parse("7x0")((7, 9))
