"""Attention maps of chosen queries over their pictures, as one PNG, drawn with Pillow.

A panel is one block: a row for each picture, the picture itself and one tile for each query. All
tiles of a panel share one colour scale, and a square of a tile is one key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import torch
from PIL import Image, ImageDraw, ImageFont

from gcbench.attention.calls import Grid
from gcbench.attention.running import Maps
from gcbench.report.text import printable
from gcbench.units import percent_text

# magma of matplotlib (CC0), at equal steps: lightness grows all the way
SEQUENTIAL = (
    *("#000004", "#1d1147", "#51127c", "#822681", "#b63679"),
    *("#e65164", "#fb8861", "#fec287", "#fcfdbf"),
)
# ColorBrewer's RdBu, turned round: for weights below zero
DIVERGING = ("#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b")

INK, FAINT, PAPER = "#1c1c22", "#6b6b76", "#ffffff"
# everything is in pixels
TILE, GAP, MARGIN, BAR = 400, 20, 48, 28
TITLE, LABEL, SMALL = 34, 26, 22
# pictures further from a square are drawn nearer to one
FLATTEST, TALLEST = 5, 3
# how much of the picture shines through, and to how much of its contrast
THROUGH, CONTRAST = 0.3, 0.75


@dataclass(frozen=True)
class Panel:
    """Maps of one block: a title, a line below it, and for each picture its pixels and maps."""

    title: str
    subtitle: str
    photos: Sequence[tuple[str, Image.Image]]
    maps: Sequence[Maps]
    is_share: bool


def png(panels: Sequence[Panel]) -> bytes:
    """Draw the panels below one another, as a PNG."""
    drawn = [_panel(panel) for panel in panels]
    width = max(image.width for image in drawn)
    sheet = Image.new("RGB", (width, sum(image.height for image in drawn)), PAPER)
    top = 0
    for image in drawn:
        sheet.paste(image, (0, top))
        top += image.height
    content = BytesIO()
    sheet.save(content, format="PNG")
    return content.getvalue()


@dataclass(frozen=True)
class Scale:
    """How weights become colours: from `low` to `high` over equal steps of `colours`."""

    low: float
    high: float
    colours: tuple[str, ...]

    def of(self, weights: torch.Tensor) -> torch.Tensor:
        """(...) -> (..., 3), RGB from 0 to 255."""
        table = torch.tensor(
            [[int(each[i : i + 2], 16) for i in (1, 3, 5)] for each in self.colours]
        ).double()
        share = (weights.double() - self.low) / (self.high - self.low)
        at = share.clamp(0, 1) * (len(table) - 1)
        below = at.floor().long().clamp(max=len(table) - 2)
        return torch.lerp(table[below], table[below + 1], (at - below).unsqueeze(-1))


def scale_of(maps: Sequence[Maps]) -> Scale:
    """One scale for all maps: from 0 to the largest weight, or even about 0 where some are less."""
    least = min(float(each.rows.min()) for each in maps)
    most = max(float(each.rows.max()) for each in maps)
    if least < 0:
        end = max(-least, most)
        return Scale(-end, end, DIVERGING)
    return Scale(0.0, most or 1.0, SEQUENTIAL)


def _panel(panel: Panel) -> Image.Image:
    scale = scale_of(panel.maps)
    first = panel.maps[0]
    wide, high = panel.photos[0][1].size
    tall = min(max(round(TILE * high / wide), TILE // FLATTEST), TILE * TALLEST)
    columns, rows = 1 + len(first.at), len(panel.maps)
    head = MARGIN + TITLE + LABEL + 2 * GAP + LABEL + GAP // 2
    width = 2 * MARGIN + columns * (TILE + GAP) + GAP + BAR + 180
    step = tall + LABEL + GAP
    height = head + rows * step + MARGIN // 2
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (MARGIN, MARGIN), panel.title, TITLE)
    _write(pen, (MARGIN, MARGIN + TITLE + GAP // 2), panel.subtitle, SMALL, FAINT)
    heads = ["picture", *(f"query {n} at {_at(at)}" for n, at in enumerate(first.at, 1))]
    for column, words in enumerate(heads):
        _write(pen, (_left(column), head - LABEL - GAP // 2), words, LABEL)
    for row, maps in enumerate(panel.maps):
        top = head + row * step
        _row(sheet, panel, maps, scale, top, (TILE, tall))
    _bar(sheet, scale, panel, _left(columns) + GAP, head, rows * step - GAP - LABEL)
    return sheet


def _left(column: int) -> int:
    return MARGIN + column * (TILE + GAP)


def _at(at: Grid) -> str:
    return f"{at[0]}x{at[1]}"


def _row(
    sheet: Image.Image, panel: Panel, maps: Maps, scale: Scale, top: int, size: tuple[int, int]
) -> None:
    name, picture = panel.photos[maps.photo]
    _write(ImageDraw.Draw(sheet), (_left(0), top + size[1] + 6), name, SMALL, FAINT)
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    under = _faint(picture)
    for number, (at, row) in enumerate(zip(maps.at, maps.rows, strict=True), 1):
        tile = Image.blend(_coloured(row, maps.key_grid, scale, size), under, THROUGH)
        for image in (picture, tile):
            _mark(image, _middle(at, maps.query_grid, size), str(number))
        sheet.paste(tile, (_left(number), top))
    sheet.paste(picture, (_left(0), top))


def _faint(picture: Image.Image) -> Image.Image:
    grey = picture.convert("L").point(lambda value: round(128 + CONTRAST * (value - 128)))
    return grey.convert("RGB")


def _coloured(row: torch.Tensor, grid: Grid, scale: Scale, size: tuple[int, int]) -> Image.Image:
    pixels = scale.of(row.reshape(grid)).round().to(torch.uint8)
    return Image.fromarray(pixels.numpy()).resize(size, Image.Resampling.NEAREST)


def _middle(at: Grid, grid: Grid, size: tuple[int, int]) -> tuple[int, int]:
    return round(size[0] * (at[1] + 0.5) / grid[1]), round(size[1] * (at[0] + 0.5) / grid[0])


def _mark(tile: Image.Image, middle: tuple[int, int], number: str) -> None:
    """A ring around a query's position with its number beside it, seen on dark and on light.

    The number stands above to the right where the tile has room for it, else below or to the left.
    """
    pen = ImageDraw.Draw(tile)
    font = ImageFont.load_default(LABEL)
    x, y = middle
    for radius, colour, thick in ((13, INK, 9), (12, "#ffffff", 5)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=thick)
    above = y >= LABEL + 4
    right = x + 22 + pen.textlength(number, font) <= tile.width
    pen.text(
        (x + 18 if right else x - 18, y - 4 if above else y + 4),
        number,
        fill="#ffffff",
        font=font,
        anchor=("l" if right else "r") + ("s" if above else "a"),
        stroke_width=3,
        stroke_fill=INK,
    )


def _bar(sheet: Image.Image, scale: Scale, panel: Panel, left: int, top: int, tall: int) -> None:
    """The colour bar, over the same grey that shines through tiles in the middle."""
    steps = torch.linspace(scale.high, scale.low, 256).reshape(-1, 1)
    colours = Image.fromarray(scale.of(steps).round().to(torch.uint8).numpy())
    colours = colours.resize((BAR, tall), Image.Resampling.BILINEAR)
    grey = Image.new("RGB", colours.size, "#808080")
    sheet.paste(Image.blend(colours, grey, THROUGH), (left, top))
    pen = ImageDraw.Draw(sheet)
    even = 1 / panel.maps[0].keys
    ticks = {scale.high: _number(scale.high, panel.is_share), scale.low: "0"}
    if scale.low < 0:
        ticks |= {0.0: "0", scale.low: _number(scale.low, panel.is_share)}
    for value, words in ticks.items():
        _tick(pen, left, top, tall, (scale.high - value) / (scale.high - scale.low), words)
    share = (scale.high - even) / (scale.high - scale.low)
    room = 1.4 * SMALL / tall
    if panel.is_share and room < share < 1 - room:
        _tick(pen, left, top, tall, share, f"{_number(even, True)}, even")
    words = "share of attention" if panel.is_share else "weight"
    for line, said in ((2, words), (1, "per position")):
        _write(pen, (left, top - line * LABEL - GAP // 2), said, SMALL)


def _tick(
    pen: ImageDraw.ImageDraw, left: int, top: int, tall: int, share: float, words: str
) -> None:
    y = top + round(share * (tall - 1))
    pen.line((left + BAR, y, left + BAR + 8, y), fill=INK, width=2)
    height = min(max(y - SMALL // 2 - 2, top - 4), top + tall - SMALL)
    _write(pen, (left + BAR + 14, height), words, SMALL)


def _number(value: float, is_share: bool) -> str:
    return percent_text(value) if is_share else f"{value:.2g}"


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], words: str, size: int, colour: str = INK
) -> None:
    pen.text(at, printable(words), fill=colour, font=ImageFont.load_default(size))
