import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image
from torch import Tensor

from sppdet.errors import ImageError, InputError
from sppdet.images import (
    as_image,
    normalize,
    read_image,
    read_size,
    resize_array,
    resize_shorter_side,
    shorter_side_size,
    to_array,
)


def picture(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(array).permute(2, 0, 1)


# How to turn the upright picture so that a viewer that honours the tag turns it back (EXIF 2.3, tag 0x0112).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_honoured(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](picture()))
    Image.fromarray(stored).save(tmp_path / "turned.png", exif=exif)
    assert torch.equal(read_image(tmp_path / "turned.png"), as_tensor(picture()))


def test_a_limit_of_pixels_that_can_be_raised(tmp_path, monkeypatch):
    Image.fromarray(picture(20, 30)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 299)
    with pytest.raises(ImageError, match=r"large\.png: too large .*SPPDET_MAX_PIXELS=600.* 600 pixels"):
        read_image(tmp_path / "large.png")
    monkeypatch.setenv("SPPDET_MAX_PIXELS", "600")
    assert torch.equal(read_image(tmp_path / "large.png"), as_tensor(picture()))
    assert Image.MAX_IMAGE_PIXELS == 299  # other users of Pillow keep their limit


def test_of_two_orientations_of_a_png_the_last_one_counts(tmp_path):
    first, last = Image.Exif(), Image.Exif()
    first[0x0112], last[0x0112] = 1, 6
    for name, exif in (("first", first), ("last", last)):
        Image.fromarray(picture()).save(tmp_path / f"{name}.png", exif=exif)
    pngs = [(tmp_path / f"{name}.png").read_bytes() for name in ("first", "last")]
    start = pngs[1].index(b"eXIf") - 4
    chunk = pngs[1][start : start + 12 + int.from_bytes(pngs[1][start : start + 4], "big")]
    end = pngs[0].index(b"IEND") - 4
    (tmp_path / "both.png").write_bytes(pngs[0][:end] + chunk + pngs[0][end:])
    height, width = read_image(tmp_path / "both.png").shape[1:]
    assert (height, width) == (picture().shape[1], picture().shape[0]), "turned"
    assert read_size(tmp_path / "both.png") == (width, height)


def test_a_name_that_no_file_can_have_is_a_file_that_is_missing(tmp_path):
    assert read_size(tmp_path / ("a" * 300)) is None
    with pytest.raises(ImageError, match="image file not found"):
        read_image(tmp_path / ("a" * 300))


def test_damaged_exif_data_are_a_warning(tmp_path, caplog):
    Image.fromarray(picture()).save(tmp_path / "whole.jpg", quality=100)
    expected = read_image(tmp_path / "whole.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0131] = "software"
    good = exif.tobytes()
    cut = good[:-20]  # the value of the second tag
    for name, data in (("cut", cut), ("short", good[:17]), ("garbage", b"Exif\0\0" + b"?" * 40)):
        Image.fromarray(picture()).save(tmp_path / f"{name}.jpg", quality=100, exif=data)
        found = read_image(tmp_path / f"{name}.jpg")
        turned = found.shape[1] == 30
        assert torch.equal(found, expected.rot90(-1, (1, 2)) if turned else expected), name
    warned = [record.getMessage() for record in caplog.records]
    assert all("damaged EXIF data" in message for message in warned)
    assert any("short.jpg" in message for message in warned)


@pytest.mark.parametrize("name", ["film.mp4", "film.avi", "film.MOV"])
def test_a_video_is_called_one(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypmp42")
    with pytest.raises(ImageError, match=rf"{name}: is a video .*ffmpeg -i {name} frame"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("transparency", [None, 1, bytes([0, 255, 128])])
def test_palette_colors_are_looked_up(tmp_path, transparency):
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    palette = [[10, 20, 30], [200, 0, 7], [5, 6, 250]]
    image = Image.fromarray(indices, "L")
    image.putpalette([channel for color in palette for channel in color])
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "palette.png", **options)
    assert torch.equal(read_image(tmp_path / "palette.png"), as_tensor(np.array(palette, np.uint8)[indices]))


def test_cmyk_gray_bilevel_and_alpha_become_rgb(tmp_path):
    gray = picture()[:, :, 0]
    for array, values in ((gray, gray), (gray > 127, (gray > 127) * np.uint8(255))):  # three equal channels
        Image.fromarray(array).save(tmp_path / "gray.png")
        assert torch.equal(read_image(tmp_path / "gray.png"), torch.tensor(values).expand(3, -1, -1))
    Image.fromarray(np.dstack([picture(), gray])).save(tmp_path / "alpha.png")
    assert torch.equal(read_image(tmp_path / "alpha.png"), as_tensor(picture()))
    cmyk = Image.new("CMYK", (8, 6), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    cmyk.save(tmp_path / "print.jpg", quality=100)
    red = read_image(tmp_path / "print.jpg").float().mean(dim=(1, 2))
    assert red[0] > 245
    assert red[1:].max() < 10


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.9])
def test_a_truncated_jpeg_names_its_file(tmp_path, keep):
    file = tmp_path / "cut.jpg"
    Image.fromarray(picture(200, 300)).save(file)
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ImageError, match=r"cut\.jpg") as caught:
        read_image(file)
    assert caught.value.file == file


def test_a_missing_image_names_its_file(tmp_path):
    with pytest.raises(ImageError, match=r"none\.jpg: image file not found"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="not found"):
        read_image(tmp_path)


@pytest.mark.parametrize("orientation", [None, *range(10)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_the_size_is_that_of_the_upright_image_and_nothing_is_decoded(tmp_path, suffix, orientation, monkeypatch):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(picture(20, 30)).save(tmp_path / f"a{suffix}", exif=exif)
    height, width = read_image(tmp_path / f"a{suffix}").shape[1:]
    if suffix != ".webp" and not (suffix == ".png" and orientation):
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    assert read_size(tmp_path / f"a{suffix}") == (width, height)
    assert (width, height) == ((20, 30) if orientation in (5, 6, 7, 8) else (30, 20))


def test_no_size_of_what_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_text("text")
    assert read_size(tmp_path / "a.jpg") is read_size(tmp_path / "none.jpg") is None


def test_every_form_of_an_image_is_the_same_image_and_back(tmp_path):
    array = picture()
    read_only = array.copy()
    read_only.flags.writeable = False
    forms = [
        *(array, read_only, array[::-1][::-1], np.asfortranarray(array)),
        *(array / 255, (array / 255).astype(np.float32), (array / 255).astype(">f4")),
        *(as_tensor(array), as_tensor(array).float() / 255, as_tensor(array).double() / 255),
        *(Image.fromarray(array), tmp_path / "image.png", str(tmp_path / "image.png")),
    ]
    Image.fromarray(array).save(tmp_path / "image.png")
    for form in forms:
        image = as_image(form)
        assert image.dtype == torch.uint8
        assert torch.equal(image, as_tensor(array))
    assert np.array_equal(to_array(as_tensor(picture())), picture())
    assert to_array(as_tensor(picture())).flags.c_contiguous


@pytest.mark.parametrize(
    "image",
    [
        *(as_tensor(picture()).int(), as_tensor(picture()).float(), as_tensor(picture()).float() / 255 - 0.1),
        torch.full((3, 4, 4), torch.nan),
        *(torch.zeros(*shape, dtype=torch.uint8) for shape in ((4, 4, 3), (1, 3, 4, 4), (3, 0, 4))),
        *(picture().astype(np.uint16), picture() > 3, picture().astype(object)),
        *(picture()[:, :, 0], np.zeros((4, 4, 4), np.uint8)),
        *([[1, 2], [3, 4]], None),
    ],
    ids=lambda image: f"{type(image).__name__}-{getattr(image, 'dtype', '')}-{tuple(getattr(image, 'shape', ()))}",
)
def test_other_things_are_refused(image):
    with pytest.raises(InputError, match="image"):
        as_image(image)


def test_normalize_is_its_formula():
    images = torch.stack([as_tensor(picture()), as_tensor(picture()[::-1].copy())])
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 1.0, 0.05])
    out = normalize(images, mean, std)
    expected = (images.double() / 255 - mean.double().view(3, 1, 1)) / std.double().view(3, 1, 1)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 1200))
def test_shorter_side_becomes_the_side(height, width, side):
    new_height, new_width = shorter_side_size(height, width, side)
    assert min(new_height, new_width) == side
    assert (new_height < new_width) <= (height < width)
    ratio = side / min(height, width)
    assert abs(new_height - height * ratio) <= 0.5 + 1e-9
    assert abs(new_width - width * ratio) <= 0.5 + 1e-9


def test_resizing_keeps_a_constant_and_the_middle_of_a_ramp():
    for side in (7, 20, 51):
        gray = resize_shorter_side(torch.full((3, 20, 30), 93, dtype=torch.uint8), side)
        assert gray.shape == (3, side, round(side * 1.5))
        assert (gray == 93).all()
    ramp = np.repeat(np.arange(0, 240, 8, dtype=np.uint8)[None, :, None], 10, axis=0).repeat(3, axis=2)  # 30 wide
    halved = resize_array(ramp, 5, 15)
    assert halved[0, :, 0].tolist() == list(range(4, 240, 16))  # the mean of each pair: area averaging
    doubled = resize_array(ramp, 20, 60)
    assert doubled[0, 1:-1, 0].tolist() == [2 + 4 * i for i in range(58)]  # bilinear, pixel centers aligned
