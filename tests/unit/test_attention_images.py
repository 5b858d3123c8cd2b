"""Pictures: brought to size as torchvision does, and what is no picture is told."""

import importlib.util
import subprocess
import sys
import warnings

import pytest
import torch
from PIL import Image
from torchvision.transforms._presets import ImageClassification

from gcbench.attention.images import Photo, fitted, gather, normalised
from gcbench.errors import UsageError
from gcbench.report.text import printable


def noise(width, height, mode="RGB"):
    return Image.effect_noise((width, height), 90).convert(mode)


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 301), (64, 64), (400, 31)])
@pytest.mark.parametrize(("size", "resized"), [(224, 256), (112, 128)])
def test_a_picture_is_made_ready_as_torchvision_does(width, height, size, resized):
    picture = noise(width, height)
    ours = normalised(fitted(Photo("noise", lambda: picture), (size, size)))
    theirs = ImageClassification(crop_size=size, resize_size=resized, antialias=True)(picture)
    torch.testing.assert_close(ours, theirs.unsqueeze(0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(20, 40), (40, 20), (1, 1), (7, 90)])
def test_any_size_is_filled(size):
    for picture in (noise(300, 200), noise(20, 300), noise(1, 1)):
        cut = fitted(Photo("noise", lambda picture=picture: picture), size)
        assert (cut.height, cut.width) == size


def test_a_folder_gives_its_pictures_in_order_each_once(tmp_path):
    for name in ("b.png", "a.JPG", "c.webp"):
        noise(9, 9).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    photos = gather([tmp_path, tmp_path / "b.png"])
    assert [photo.name for photo in photos] == ["a.JPG", "b.png", "c.webp"]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_every_kind_of_picture_becomes_rgb(mode, tmp_path):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture = Image.new(mode, (9, 9)) if mode == "I;16" else noise(9, 9, mode)
    picture.save(path)
    [photo] = gather([path])
    assert normalised(fitted(photo, (8, 8))).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_become_eight_and_are_not_cut_off(name, tmp_path):
    Image.new("I;16", (9, 9), 128 * 257).save(tmp_path / name)
    [photo] = gather([tmp_path / name])
    assert photo.open().getpixel((4, 4)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_picture_whose_white_nobody_knows_is_refused(mode, tmp_path):
    Image.new(mode, (9, 9), 1).save(tmp_path / "a.tif")
    with pytest.raises(UsageError, match=r"--images .*a.tif: its values are 32-bit numbers"):
        gather([tmp_path / "a.tif"])


def test_a_name_that_is_no_utf_8_is_written_as_escapes(tmp_path):
    try:
        noise(9, 9).save(tmp_path / "\udcff\n.png", format="PNG")
    except (OSError, UnicodeError):
        pytest.skip("the file system takes no such name")
    [photo] = gather([tmp_path])
    assert photo.name == "\udcff\n.png"
    assert printable(photo.name) == r"\udcff\n.png"


def test_a_broken_picture_is_told_when_it_is_read(tmp_path):
    whole = tmp_path / "whole.png"
    noise(300, 300).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    [photo] = gather([cut])
    with pytest.raises(UsageError, match=r"--images .*cut.png: cannot read it: .*damaged"):
        fitted(photo, (8, 8))


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "zero.jpg").touch()
    noise(9, 9).save(tmp_path / "run.eps")
    for name, why in (
        ("empty", "no pictures in this folder"),
        ("text.jpg", "this is no picture"),
        ("zero.jpg", "this is no picture"),
        ("run.eps", "this is no picture"),
        ("missing", "no such file or folder"),
    ):
        with pytest.raises(UsageError, match=why) as error:
            gather([tmp_path / name])
        assert str(error.value).startswith(f"--images {tmp_path / name}: ")


@pytest.mark.parametrize("pixels", [100, 49])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(pixels, tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    noise(10, 10).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UsageError, match="decompression bomb"):
            gather([path])


def test_a_picture_that_would_grow_too_long_is_refused():
    with pytest.raises(UsageError, match=r"--images strip: 2 x 99999 pixels would become"):
        fitted(Photo("strip", lambda: Image.new("RGB", (2, 99999))), (224, 224))


@pytest.mark.skipif(not importlib.util.find_spec("sklearn"), reason="needs scikit-learn")
def test_the_shipped_photographs_come_without_a_trace_in_the_environment():
    # in a process that has not imported it: what it sets, it sets once
    program = (
        "import os\n"
        "for name in ('KMP_DUPLICATE_LIB_OK', 'KMP_INIT_AT_FORK'):\n"
        "    os.environ.pop(name, None)\n"
        "before = dict(os.environ)\n"
        "from gcbench.attention.images import samples\n"
        "assert [photo.name for photo in samples()] == ['china.jpg', 'flower.jpg']\n"
        "assert dict(os.environ) == before\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
