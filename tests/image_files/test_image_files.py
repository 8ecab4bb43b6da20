"""Image files keep their pixels and metadata, and faulty ones are explained."""

from __future__ import annotations

import importlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from span_arch.errors import ImageError, MissingExtraError, OptionError, OutputError
from span_arch.image_files import (
    Animation,
    AnimationFrame,
    ImageInfo,
    StillImage,
    check_fits,
    read_image,
    read_images,
    write_image,
    write_images,
)

Base, IFD = ExifTags.Base, ExifTags.IFD
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WITH_METADATA = ["a.png", "a.jpg", "a.webp", "a.tiff", "a.avif"]
ANIMATED = ["a.gif", "a.webp", "a.png", "a.avif"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def image_of(channels: int, bits: int, size: tuple[int, int] = (5, 7), seed: int = 0) -> Tensor:
    top = 2**bits - 1
    levels = np.random.default_rng(seed).integers(0, top + 1, (1, *size, channels))
    return torch.from_numpy(levels.astype(np.float32) / np.float32(top))


def written_and_read(still: StillImage, name: str, **options: Any) -> StillImage:
    write_image(Path(name), still, overwrite=True, **options)
    return read_image(Path(name))


def levels(image: Tensor, top: int = 255) -> np.ndarray:
    return image[0].mul(top).round().numpy().astype(np.int64)


def smooth(height: int = 24, width: int = 32) -> Tensor:
    """Return an image that lossy formats hardly change."""
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    return torch.stack([rows.expand(height, width), columns.expand(height, width), (rows + columns) / 2], dim=-1)[None]


# Pixels


@settings(max_examples=40)
@given(
    channels=st.sampled_from([1, 3, 4]),
    bits=st.sampled_from([8, 16]),
    name=st.sampled_from(["a.png", "a.tiff", "a.webp"]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
def test_lossless_formats_keep_every_level(channels: int, bits: int, name: str, size: tuple[int, int], seed: int) -> None:
    image = image_of(channels, bits, size, seed)
    if name == "a.webp":
        image[:, 0, 0, 3:] = 0  # WebP drops an opaque alpha channel
    back = written_and_read(StillImage(image, ImageInfo(bits=bits)), name)
    kept = bits if name != "a.webp" else 8
    assert back.info.bits == kept
    assert (levels(back.image, 2**kept - 1) == levels(image, 2**kept - 1)).all()
    assert back.image.dtype == torch.float32


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", ["a.jpg", "a.avif", "a.webp"])
def test_lossy_formats_lose_less_with_higher_quality(name: str, bits: int) -> None:
    still = StillImage(smooth(), ImageInfo(bits=bits))

    def loss_and_size(**options: int) -> tuple[float, int]:
        back = written_and_read(still, name, **options)
        assert back.info.bits == 8
        return (back.image - still.image).abs().mean().item(), Path(name).stat().st_size

    (default, _), (little, large), (much, small) = loss_and_size(), loss_and_size(quality=98), loss_and_size(quality=5)
    assert default < 0.01
    assert little < much
    assert small < large


def test_webp_is_lossless_at_quality_100_and_by_default() -> None:
    image = image_of(3, 8)
    for quality in (None, 100):
        assert (levels(written_and_read(StillImage(image), "a.webp", quality=quality).image) == levels(image)).all()


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_out_of_range_is_an_error(quality: int) -> None:
    with pytest.raises(OptionError, match="1 to 100"):
        write_image(Path("a.jpg"), StillImage(smooth()), quality=quality)
    assert not list(Path().iterdir())


def test_format_can_be_given_by_name() -> None:
    write_image(Path("result"), StillImage(smooth()), format="webp")
    with Image.open("result") as file:
        assert file.format == "WEBP"
    with pytest.raises(OptionError, match="'bmq' is not an image format"):
        write_image(Path("result"), StillImage(smooth()), format="bmq")


PALETTE = Image.new("P", (2, 1))
PALETTE.putpalette([10, 20, 30, 40, 50, 60])
PALETTE.putpixel((1, 0), 1)


@pytest.mark.parametrize(
    ("image", "name", "extra", "expected"),
    [
        (Image.new("1", (1, 1), 1), "a.png", {}, [[255]]),
        (Image.new("LA", (1, 1), (9, 8)), "a.png", {}, [[9, 9, 9, 8]]),
        (PALETTE, "a.png", {}, [[10, 20, 30], [40, 50, 60]]),
        (PALETTE, "a.png", {"transparency": 1}, [[10, 20, 30, 255], [40, 50, 60, 0]]),
        (PALETTE, "a.png", {"transparency": b"\x80\x07"}, [[10, 20, 30, 128], [40, 50, 60, 7]]),
        (PALETTE, "a.gif", {}, [[10, 20, 30], [40, 50, 60]]),
        (Image.new("RGB", (1, 1), (1, 2, 3)), "a.png", {"transparency": (1, 2, 3)}, [[1, 2, 3, 0]]),
        (Image.new("L", (1, 1), 5), "a.png", {"transparency": 5}, [[5, 5, 5, 0]]),
        (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "a.tiff", {}, [[255, 0, 0]]),
        (Image.new("YCbCr", (1, 1), (76, 85, 255)), "a.tiff", {}, [[254, 0, 0]]),
        (Image.new("RGB", (1, 1), (1, 2, 3)), "a.bmp", {}, [[1, 2, 3]]),
        (Image.new("I;16", (1, 1), 257), "a.tiff", {}, [[1]]),
        (Image.new("I", (1, 1), 514), "a.tiff", {}, [[2]]),
        (Image.new("F", (1, 1), 0.2), "a.tiff", {}, [[51]]),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)
def test_every_mode_is_converted(image: Image.Image, name: str, extra: dict[str, Any], expected: list[list[int]]) -> None:
    image.save(name, **extra)
    assert np.abs(levels(read_image(Path(name)).image)[0] - expected).max() <= 1


@pytest.mark.parametrize("profile", [None, b"broken" * 40])
def test_cmyk_jpeg_is_not_inverted_and_loses_its_profile(profile: bytes | None) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save("a.jpg", icc_profile=profile)
    still = read_image(Path("a.jpg"))
    assert np.abs(levels(still.image)[3, 3] - [255, 0, 0]).max() < 4
    assert still.info.icc_profile is None


def test_cmyk_is_converted_with_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("CMYK", (1, 1)).save("a.tiff", icc_profile=SRGB)  # no library here can create a CMYK profile
    monkeypatch.setattr(ImageCms, "profileToProfile", lambda *_, outputMode: Image.new(outputMode, (1, 1), (1, 2, 3)))
    assert levels(read_image(Path("a.tiff")).image).tolist() == [[[1, 2, 3]]]


def test_lab_becomes_srgb() -> None:
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (4, 4), (200, 30, 60)),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")),
        outputMode="LAB",
    )
    lab.save("a.tiff")
    assert np.abs(levels(read_image(Path("a.tiff")).image)[0, 0] - [200, 30, 60]).max() < 6


@pytest.mark.parametrize("value", [-0.5, 255.0, float("nan")])
def test_values_outside_the_range_are_an_error(value: float) -> None:
    Image.new("F", (2, 2), value).save("a.tiff")
    with pytest.raises(ImageError, match="instead of 0 to 1"):
        read_image(Path("a.tiff"))


def test_transparent_colour_of_16_bits_becomes_alpha() -> None:
    ramp = np.arange(4, dtype=np.uint16)[None] * 20000
    Image.fromarray(ramp).save("a.png", transparency=20000)
    still = read_image(Path("a.png"))
    assert still.info.bits == 16
    assert levels(still.image, 65535)[0].tolist() == [[v, v, v, 0 if v == 20000 else 65535] for v in ramp[0].tolist()]


def tiff(tags: dict[int, Any], pixels: bytes, name: str = "a.tiff") -> None:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2()
    for tag, value in {259: 1, 278: tags[257], **tags}.items():
        directory[tag] = value
    with Path(name).open("wb") as file:
        directory.save(file)
        file.write(pixels)


def test_premultiplied_tiff_is_divided_by_alpha() -> None:
    pixels = np.array([[[1000, 500, 0, 2000], [0, 0, 0, 0]]], dtype="<u2")
    tiff({256: 2, 257: 1, 258: (16,) * 4, 262: 2, 273: 0, 277: 4, 279: 16, 338: 1}, pixels.tobytes())
    assert levels(read_image(Path("a.tiff")).image, 65535)[0].tolist() == [[32768, 16384, 0, 2000], [0, 0, 0, 0]]


def test_planar_tiff_is_read() -> None:
    pixels = np.arange(12, dtype="<u2").reshape(3, 2, 2) * 5000
    tiff({256: 2, 257: 2, 258: (16,) * 3, 262: 2, 273: (0, 8, 16), 277: 3, 279: (8, 8, 8), 284: 2}, pixels.tobytes())
    assert (levels(read_image(Path("a.tiff")).image, 65535) == np.moveaxis(pixels, 0, -1)).all()


def test_grey_tiff_with_white_at_zero_is_inverted() -> None:
    tiff({256: 2, 257: 1, 258: 16, 262: 0, 273: 0, 277: 1, 279: 4}, np.array([0, 65535], dtype="<u2").tobytes())
    assert read_image(Path("a.tiff")).image.flatten().tolist() == [1, 0]


def test_missing_imagecodecs_is_reported_for_16_bit_colour_only(monkeypatch: pytest.MonkeyPatch) -> None:
    deep, grey = StillImage(image_of(3, 16), ImageInfo(bits=16)), StillImage(image_of(1, 16), ImageInfo(bits=16))
    write_image(Path("a.png"), deep)
    import_module = importlib.import_module

    def import_other(name: str, package: str | None = None) -> Any:
        if name == "imagecodecs":
            raise ImportError
        return import_module(name, package)

    monkeypatch.setattr(importlib, "import_module", import_other)
    with pytest.raises(MissingExtraError, match="pip install imagecodecs"):
        read_image(Path("a.png"))
    with pytest.raises(MissingExtraError, match="pip install imagecodecs"):
        write_image(Path("b.png"), deep)
    assert written_and_read(grey, "c.png").info.bits == 16
    assert written_and_read(deep, "d.jpg").info.bits == 8
    assert not Path("b.png").exists()


def test_written_tensor_does_not_change() -> None:
    image = smooth()
    before = image.clone()
    write_image(Path("a.png"), StillImage(image))
    write_image(Path("b.png"), StillImage(image, ImageInfo(bits=16)))
    assert torch.equal(image, before)


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("name", "bits"), [("a.png", 8), ("a.png", 16), ("a.tiff", 8), ("a.tiff", 16), ("a.webp", 8), ("a.avif", 8)])
def test_pixels_are_turned_upright_and_the_tag_is_reset(name: str, bits: int, orientation: int) -> None:
    stored = smooth(6, 4)
    write_image(Path(name), StillImage(stored, ImageInfo(bits=bits)), quality=100)
    turn(name, orientation)
    still = read_image(Path(name))
    upright = Image.fromarray(levels(stored).astype(np.uint8))
    upright.getexif()[Base.Orientation] = orientation
    expected = np.asarray(ImageOps.exif_transpose(upright))
    assert np.abs(levels(still.image) - expected).max() <= 3
    assert still.info.bits == bits
    for target in WITH_METADATA:
        back = written_and_read(still, target)
        assert back.image.shape == still.image.shape
        with Image.open(target) as file:
            assert file.getexif().get(Base.Orientation, 1) == 1


def turn(name: str, orientation: int) -> None:
    """Write the orientation tag into a file that has none, without changing its pixels."""
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    path = Path(name)
    if name == "a.png":
        from PIL.PngImagePlugin import putchunk

        data, chunk = path.read_bytes(), io.BytesIO()
        putchunk(chunk, b"eXIf", exif.tobytes()[6:])
        path.write_bytes(data[:33] + chunk.getvalue() + data[33:])
    elif name == "a.tiff":
        with Image.open(path) as file:
            tags = dict(file.tag_v2)
            offset, size = tags[273][0], sum(tags[279])
        tiff({**tags, 273: 0, 274: orientation}, path.read_bytes()[offset : offset + size])
    else:
        with Image.open(path) as file:
            file.load()
            file.save(path, exif=exif, lossless=True, quality=100, subsampling="4:4:4")


# Metadata


def full_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Copyright], exif[Base.Orientation] = "Maker", "Me", 1
    exif[IFD.Exif] = {
        Base.ExifImageWidth: 7,
        Base.ExifImageHeight: 5,
        Base.ISOSpeedRatings: 200,
        Base.UserComment: b"ASCII\0\0\0parameters",
        Base.SubjectLocation: (3, 2),
        IFD.Interop: {1: "R98"},
    }
    exif[IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    return exif


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="kept" exif:PixelXDimension="7"/></x:xmpmeta>'


def with_metadata(bits: int = 8) -> StillImage:
    """Return an image with every kind of metadata, as read from a file."""
    texts = PngInfo()
    texts.add_text("prompt", '{"3": {}}')
    texts.add_text("workflow", '{"nodes": []}')
    texts.add_itxt("Title", "Über", lang="de", tkey="Titel")
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    Image.new("RGB", (7, 5), "red").save("full.png", pnginfo=texts, exif=full_exif(), icc_profile=SRGB, dpi=(300, 150))
    still = read_image(Path("full.png"))
    return StillImage(image_of(3, bits, (20, 28)), replace(still.info, bits=bits))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", WITH_METADATA)
def test_metadata_is_kept_where_the_format_holds_it(name: str, bits: int) -> None:
    before = with_metadata(bits).info
    after = written_and_read(with_metadata(bits), name).info
    assert after.icc_profile == SRGB
    assert after.dpi == pytest.approx((300, 150), abs=0.1)
    assert b'dc:title="kept"' in (after.xmp or b"")
    assert after.text == (before.text if name == "a.png" else {})
    with Image.open(name) as file:
        exif = file.getexif()
        assert exif[Base.Copyright] == "Me"
        tags = exif.get_ifd(IFD.Exif)
        assert tags[Base.ISOSpeedRatings] == 200
        assert tags[Base.UserComment] == b"ASCII\0\0\0parameters"
        assert exif.get_ifd(IFD.Interop) == {1: "R98"}
        assert exif.get_ifd(IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}


@pytest.mark.parametrize("name", WITH_METADATA)
def test_metadata_about_the_size_is_dropped_or_updated(name: str) -> None:
    still = with_metadata()
    assert b"Orientation" not in (still.info.xmp or b"")
    assert b"PixelXDimension" not in (still.info.xmp or b"")
    write_image(Path(name), still)
    with Image.open(name) as file:
        tags = file.getexif().get_ifd(IFD.Exif)
        assert (tags[Base.ExifImageWidth], tags[Base.ExifImageHeight]) == (28, 20)
        assert Base.SubjectLocation not in tags


def test_thumbnails_are_dropped() -> None:
    head, ifd = b"II*\0\x08\0\0\0", b"\x01\0" + b"\x0f\x01\x02\0\x02\0\0\0A\0\0\0"
    thumbnail = b"\x01\0" + b"\x01\x02\x04\0\x01\0\0\0\x00\0\0\0" + b"\0\0\0\0"
    exif = b"Exif\0\0" + head + ifd + (8 + len(ifd) + 4).to_bytes(4, "little") + thumbnail
    Image.new("RGB", (2, 2)).save("a.jpg", exif=exif)
    with Image.open("a.jpg") as file:
        assert file.getexif().get_ifd(IFD.IFD1)
    write_image(Path("b.jpg"), read_image(Path("a.jpg")))
    with Image.open("b.jpg") as file:
        assert file.getexif()[Base.Make] == "A"
        assert not file.getexif().get_ifd(IFD.IFD1)


def test_png_texts_keep_their_language_and_may_follow_the_pixels() -> None:
    write_image(Path("a.png"), with_metadata(16))
    title = read_image(Path("a.png")).info.text["Title"]
    assert (title, title.lang, title.tkey) == ("Über", "de", "Titel")
    late = PngInfo()
    late.add(b"tEXt", b"late\0text", after_idat=True)
    Image.new("L", (2, 2)).save("b.png", pnginfo=late)
    data = Path("b.png").read_bytes()
    if b"late" not in data:  # some versions of Pillow ignore after_idat
        from PIL.PngImagePlugin import putchunk

        chunk = io.BytesIO()
        putchunk(chunk, b"tEXt", b"late\0text")
        Path("b.png").write_bytes(data[:-12] + chunk.getvalue() + data[-12:])
    assert read_image(Path("b.png")).info.text == {"late": "text"}


@pytest.mark.parametrize("name", ["a.webp", "a.avif"])
def test_workflow_is_written_where_comfyui_looks_for_it(name: str) -> None:
    still = with_metadata()
    write_image(Path(name), replace(still, info=replace(still.info, exif=None)))
    with Image.open(name) as file:
        exif = file.getexif()
        assert exif[Base.Model] == 'prompt:{"3": {}}'
        assert exif[Base.Make] == 'workflow:{"nodes": []}'


def test_comments_are_kept() -> None:
    Image.new("L", (2, 2)).save("a.jpg", comment=b"hello")
    still = read_image(Path("a.jpg"))
    assert written_and_read(still, "b.jpg").info.comment == b"hello"
    assert written_and_read(still, "b.gif").info.comment == b"hello"
    assert written_and_read(still, "b.png").info.text == {"Comment": "hello"}


def test_colour_profile_is_not_written_for_grey() -> None:
    assert written_and_read(StillImage(image_of(1, 8), ImageInfo(icc_profile=SRGB)), "a.png").info.icc_profile is None


def test_storage_tags_of_a_tiff_are_dropped() -> None:
    Image.new("RGB", (3, 3)).save("a.tiff", compression="tiff_lzw", software="kept")
    still = written_and_read(read_image(Path("a.tiff")), "b.jpg")
    exif = Image.Exif()
    exif.load(still.info.exif or b"")
    assert dict(exif) == {Base.Software: "kept", Base.Orientation: 1}


def test_metadata_too_long_for_a_jpeg_is_left_out() -> None:
    exif = Image.Exif()
    exif[Base.ImageDescription] = "x" * 70000
    still = StillImage(smooth(), ImageInfo(exif=exif.tobytes(), xmp=b"x" * 70000, comment=b"x" * 70000))
    info = written_and_read(still, "a.jpg").info
    assert (info.exif, info.xmp, info.comment) == (None, None, None)


@settings(max_examples=100)
@given(data=st.binary(max_size=60))
def test_damaged_exif_does_not_affect_the_pixels(data: bytes) -> None:
    Image.new("RGB", (2, 2)).save("a.webp", exif=b"II*\0\x08\0\0\0" + data)
    still = read_image(Path("a.webp"))
    for name in WITH_METADATA:
        assert written_and_read(still, name).image.shape == (1, 2, 2, 3)


# Animations


def moving_square(count: int = 4, channels: int = 3, plays: int = 0, durations: tuple[int, ...] = (40, 100, 60, 200)) -> Animation:
    """Return frames in which a square moves across a field."""

    def frames() -> Iterator[AnimationFrame]:
        for index in range(count):
            image = torch.zeros(1, 24, 32, channels)
            left = 4 * (index % 6)
            image[:, 4:12, left : left + 8] = 1
            image[:, 4, left] = 0
            yield AnimationFrame(image, durations[index % len(durations)])

    return Animation(frames(), ImageInfo(plays=plays), count)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", ANIMATED)
def test_animations_keep_frames_and_durations(name: str, channels: int) -> None:
    write_images(Path(name), moving_square(channels=channels))
    back = read_images(Path(name))
    frames, expected = list(back.frames), list(moving_square(channels=channels).frames)
    assert back.count == len(frames) == 4
    assert [frame.duration for frame in frames] == [40, 100, 60, 200]
    for frame, before in zip(frames, expected, strict=True):
        assert frame.image.shape == (1, 24, 32, channels)
        assert (frame.image - before.image).abs().mean() < 0.01
    assert len(list(back.frames)) == 4  # iteration can be repeated


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
@pytest.mark.parametrize("plays", [0, 1, 2, 7])
def test_animations_keep_the_number_of_plays(name: str, plays: int) -> None:
    write_images(Path(name), moving_square(plays=plays))
    assert read_images(Path(name)).info.plays == plays


@pytest.mark.parametrize("source", ANIMATED)
@pytest.mark.parametrize("target", ANIMATED)
def test_animations_convert_between_all_formats(source: str, target: str) -> None:
    write_images(Path(source), moving_square())
    target = target.replace("a.", "b.")
    write_images(Path(target), read_images(Path(source)))
    assert [frame.duration for frame in read_images(Path(target)).frames] == [40, 100, 60, 200]


def test_still_image_is_an_animation_of_one_frame() -> None:
    still = with_metadata(16)
    write_images(Path("a.png"), Animation([AnimationFrame(still.image)], still.info))
    back = read_images(Path("a.png"))
    (frame,) = back.frames
    assert back.count == 1
    assert back.info.bits == 16
    assert torch.equal(frame.image, still.image)


def test_partial_frames_of_a_gif_are_composed() -> None:
    red, hole = Image.new("P", (4, 4), 0), Image.new("P", (4, 4), 2)
    for image in (red, hole):
        image.putpalette([255, 0, 0, 0, 0, 255, 9, 9, 9])
    hole.putpixel((0, 0), 1)
    gif = {"save_all": True, "append_images": [hole], "transparency": 2, "optimize": False, "duration": 50}
    red.save("a.gif", disposal=1, **gif)
    first, second = (levels(frame.image) for frame in read_images(Path("a.gif")).frames)
    assert first.shape == second.shape == (4, 4, 3)
    assert second[0, 0].tolist() == [0, 0, 255]
    assert second[1, 1].tolist() == [255, 0, 0]
    red.save("b.gif", disposal=2, **gif)
    first, second = (levels(frame.image) for frame in read_images(Path("b.gif")).frames)
    assert first.shape == second.shape == (4, 4, 4)
    assert second[1, 1, 3] == 0


@pytest.mark.parametrize("count", [1, 3])
def test_gif_is_transparent_where_alpha_is_below_a_half(count: int) -> None:
    def frames() -> Iterator[AnimationFrame]:
        for index in range(count):
            image = torch.full((1, 8, 8, 4), index / 4)
            image[..., 3] = torch.linspace(0, 1, 8)
            yield AnimationFrame(image, 50)

    write_images(Path("a.gif"), Animation(frames(), count=count))
    back = list(read_images(Path("a.gif")).frames)
    assert [levels(frame.image)[0, :, 3].tolist() for frame in back] == count * [[0] * 4 + [255] * 4]


@given(durations=st.lists(st.integers(10, 300), min_size=2, max_size=8).map(tuple))
@settings(max_examples=20)
def test_rounded_durations_of_a_gif_do_not_drift(durations: tuple[int, ...]) -> None:
    write_images(Path("a.gif"), moving_square(len(durations), durations=durations), overwrite=True)
    read = [frame.duration for frame in read_images(Path("a.gif")).frames]
    assert np.abs(np.cumsum(read) - np.cumsum(durations)).max() <= 5


def test_default_image_of_an_animated_png_is_not_a_frame() -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "lime", "blue")]
    frames[0].save("a.png", save_all=True, append_images=frames[1:], default_image=True, duration=50)
    assert [levels(frame.image)[0, 0].tolist() for frame in read_images(Path("a.png")).frames] == [[0, 255, 0], [0, 0, 255]]


@pytest.mark.parametrize("name", ["a.jpg", "a.tiff", "a.bmp"])
def test_animation_in_a_still_format_is_an_error(name: str) -> None:
    with pytest.raises(OutputError, match="4 frames"):
        write_images(Path(name), moving_square())
    assert not list(Path().iterdir())


def test_frames_are_taken_one_at_a_time() -> None:
    alive: list[int] = []

    class Counted(AnimationFrame):
        def __del__(self) -> None:
            alive.pop()

    def frames() -> Iterator[AnimationFrame]:
        for frame in moving_square(12).frames:
            alive.append(1)
            assert len(alive) <= 4
            yield Counted(frame.image, frame.duration)

    write_images(Path("a.webp"), Animation(frames(), count=12))


def test_missing_frames_and_different_shapes_are_errors() -> None:
    frames = [AnimationFrame(torch.zeros(1, 2, 2, 3)), AnimationFrame(torch.zeros(1, 2, 3, 3))]
    with pytest.raises(ImageError, match="Frame 2 has the shape"):
        write_images(Path("a.gif"), Animation(frames, count=2))
    with pytest.raises(ImageError, match="no frames"):
        write_images(Path("a.gif"), Animation([], count=0))
    assert not list(Path().iterdir())


def test_failure_between_frames_leaves_no_file() -> None:
    def frames() -> Iterator[AnimationFrame]:
        yield from moving_square(3).frames
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_images(Path("a.png"), Animation(frames(), count=9))
    assert not list(Path().iterdir())


# Faults


@pytest.mark.parametrize("name", [*WITH_METADATA, "a.gif"])
@settings(max_examples=15)
@given(data=st.data())
def test_truncated_files_are_errors(name: str, data: st.DataObject) -> None:
    write_image(Path(name), StillImage(image_of(3, 8, (40, 40))), overwrite=True)
    whole = Path(name).read_bytes()
    Path(name).write_bytes(whole[: data.draw(st.integers(0, len(whole) - 40))])
    with pytest.raises(ImageError, match=r"cannot be read|is not an image"):
        read_images(Path(name))


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_truncated_files_of_16_bits_are_errors(name: str) -> None:
    write_image(Path(name), StillImage(image_of(3, 16, (40, 40)), ImageInfo(bits=16)))
    Path(name).write_bytes(Path(name).read_bytes()[:-900])
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(Path(name))


def test_truncated_animation_is_an_error() -> None:
    write_images(Path("a.webp"), moving_square())
    Path("a.webp").write_bytes(Path("a.webp").read_bytes()[:-30])
    with pytest.raises(ImageError):
        list(read_images(Path("a.webp")).frames)


def test_unreadable_paths_are_errors() -> None:
    Path("folder").mkdir()
    for name, words in [("folder", "is a folder"), ("none.png", "no file"), ("x" * 300 + ".png", "longer than the system allows")]:
        with pytest.raises(ImageError, match=words):
            read_images(Path(name))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can read every file")
def test_file_without_read_permission_is_an_error() -> None:
    Path("a.png").touch(mode=0o000)
    with pytest.raises(ImageError, match="permission denied"):
        read_images(Path("a.png"))


def test_permission_error_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refused)
    with pytest.raises(ImageError, match="permission denied"):
        read_images(Path("a.png"))


def test_image_beyond_the_pixel_limit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(Path("a.png"), StillImage(smooth()))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 32 // 2)
    assert read_image(Path("a.png")).image.shape == (1, 24, 32, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 32 // 2 - 1)
    with pytest.raises(ImageError, match=r"766 pixels.*MAX_IMAGE_PIXELS"):
        read_image(Path("a.png"))


@pytest.mark.parametrize("name", [*WITH_METADATA, "a.gif", "deep.png", "deep.tiff"])
def test_full_disk_leaves_no_file(name: str) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    still = StillImage(image_of(3, 8, (64, 64)), ImageInfo(bits=16 if "deep" in name else 8))
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(OutputError, match=re.escape(f"{name} cannot be written: {os.strerror(27)}.")):
            write_image(Path(name), still)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(Path().iterdir())


def test_unusable_targets_are_errors() -> None:
    Path("folder.png").mkdir()
    cases = [("folder.png", "is a folder"), ("none/a.png", "no folder"), ("a.xyz", "not an image format"), ("a", "not an image format")]
    for name, words in [*cases, ("x" * 300 + ".png", "cannot be written")]:
        with pytest.raises(OutputError, match=words):
            write_image(Path(name), StillImage(smooth()))
    assert [path.name for path in Path().iterdir()] == ["folder.png"]


@pytest.mark.parametrize("name", ["é" * 125 + ".png", "x" * 251 + ".png", "𠮷" * 62 + ".png"])
def test_longest_file_names_can_be_written(name: str) -> None:
    assert written_and_read(StillImage(smooth()), name).image.shape == (1, 24, 32, 3)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [("a.webp", (16384, 1), "16383"), ("a.jpg", (1, 65501), "65500"), ("a.gif", (65536, 1), "65535"), ("a.avif", (65537, 1), "65536")],
)
def test_size_beyond_the_format_is_an_error(name: str, size: tuple[int, int], words: str) -> None:
    height, width = size
    with pytest.raises(OutputError, match=words):
        write_image(Path(name), StillImage(torch.zeros(1, height, width, 1)))
    with pytest.raises(OutputError, match=words):
        check_fits(Path(name), width=width, height=height, channels=3)
    assert not list(Path().iterdir())


def test_largest_size_of_each_format_can_be_written() -> None:
    for name, longest in [("a.webp", 16383), ("a.jpg", 65500), ("a.gif", 65535)]:
        assert written_and_read(StillImage(torch.zeros(1, 1, longest, 1)), name).image.shape[2] == longest
