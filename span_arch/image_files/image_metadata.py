"""The metadata of image files: read it, drop entries that are wrong after enlarging, and write the rest if the format can hold it."""

from __future__ import annotations

import re
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from .image_types import ImageInfo

_Base, _IFD = ExifTags.Base, ExifTags.IFD
_SUBJECT_AREA = 0x9214

_KEPT = {
    *(_Base.ImageDescription, _Base.Make, _Base.Model, _Base.Software, _Base.DateTime, _Base.Artist, _Base.HostComputer, _Base.Copyright),
    *(_Base.XResolution, _Base.YResolution, _Base.ResolutionUnit, _Base.DocumentName, _Base.PageName, _Base.Rating, _Base.RatingPercent),
    *(_Base.XPTitle, _Base.XPComment, _Base.XPAuthor, _Base.XPKeywords, _Base.XPSubject),
}
"""Tags kept from the first directory. The others in a TIFF describe how pixels are stored, or their size on a map."""
_STALE = {
    *(_SUBJECT_AREA, _Base.SubjectLocation),  # in pixels of the image
    *(_Base.FocalPlaneXResolution, _Base.FocalPlaneYResolution, _Base.FocalPlaneResolutionUnit),  # in pixels of the sensor
}
_STALE_XMP = re.compile(
    rb"""\b(?:tiff:(?:Orientation|ImageWidth|ImageLength)|exif:Pixel[XY]Dimension)\s*=\s*(?:"[^"]*"|'[^']*')"""
    rb"|<(tiff:(?:Orientation|ImageWidth|ImageLength)|exif:Pixel[XY]Dimension|xmp:Thumbnails)\b[^>]*>.*?</\1>",
    re.DOTALL,
)
_XMP_TAG = 700
_XMP_KEYWORD = "XML:com.adobe.xmp"
_METADATA_KEYWORDS = (_XMP_KEYWORD, "Raw profile type exif", "Raw profile type APP1", "Raw profile type xmp", "Raw profile type icc")
_COMFYUI = {"prompt": _Base.Model, "workflow": _Base.Make}
"""The EXIF tags in which ComfyUI stores and finds these in a WebP file."""
_LONGEST_JPEG_SEGMENT = 65502
"""Bytes of EXIF or XMP in a JPEG file, without the header of the segment."""
_CONVERTED = ("CMYK", "LAB")


def read_info(file: Image.Image, bits: int) -> ImageInfo:
    """Return the metadata of an open file. This decodes a PNG, because texts may follow its pixels."""
    text: dict[str, str] = getattr(file, "text", {})
    exif = file.getexif()
    xmp = file.info.get("xmp") or text.get(_XMP_KEYWORD)
    comment = file.info.get("comment")
    return ImageInfo(
        bits=bits,
        icc_profile=None if file.mode in _CONVERTED else file.info.get("icc_profile"),
        exif=_clean(exif),
        xmp=_STALE_XMP.sub(b"", xmp.encode() if isinstance(xmp, str) else xmp) if xmp else None,
        dpi=_dpi(file.info.get("dpi") or _dpi_of_exif(exif)),
        text={key: value for key, value in text.items() if key not in _METADATA_KEYWORDS},
        comment=comment.encode() if isinstance(comment, str) else comment,
        plays=_plays(file),
    )


def save_options(info: ImageInfo, format: str, width: int, height: int, channels: int) -> dict[str, Any]:
    """Return the options for Pillow's ``save`` that write as much of ``info`` as the format holds, for an image of this size."""
    exif = _exif(info, width, height)
    options: dict[str, Any] = {"dpi": info.dpi, "icc_profile": _matching_profile(info.icc_profile, channels)}
    if format == "PNG":
        options |= {"exif": _bytes(exif), "pnginfo": _texts(info)}
    elif format == "JPEG":
        options |= {"exif": _short(_bytes(exif)), "xmp": _short(info.xmp), "comment": _short(info.comment)}
    elif format == "TIFF":
        if info.xmp:
            exif[_XMP_TAG] = info.xmp
        options |= {"exif": exif}
    elif format in ("WEBP", "AVIF"):  # they have no other place for resolution and texts
        _add_resolution(exif, info.dpi)
        _add_workflow(exif, info.text)
        options = {"icc_profile": options["icc_profile"], "exif": _bytes(exif).removeprefix(b"Exif\0\0"), "xmp": info.xmp}
    elif format == "GIF":
        options = {"comment": info.comment}
    return {name: value for name, value in options.items() if value}


def _clean(exif: Image.Exif) -> bytes | None:
    """Return the tags that still hold, as bytes, or None if there are none or the directory is damaged."""
    kept = Image.Exif()
    try:
        for tag in _KEPT.intersection(exif):
            kept[tag] = exif[tag]
        for group in (_IFD.Exif, _IFD.GPSInfo):
            if tags := {tag: value for tag, value in exif.get_ifd(group).items() if tag not in _STALE}:
                kept[group] = tags
        if _IFD.Interop in kept.get(_IFD.Exif, {}):
            kept[_IFD.Exif][_IFD.Interop] = dict(exif.get_ifd(_IFD.Interop))
        if _Base.Orientation in exif or len(kept):
            kept[_Base.Orientation] = 1  # the reader turns the pixels
        return kept.tobytes() if len(kept) else None
    except Exception:  # a damaged directory fails in many ways, and the pixels matter more
        return None


def _exif(info: ImageInfo, width: int, height: int) -> Image.Exif:
    exif = Image.Exif()
    if info.exif:
        exif.load(info.exif)
        tags = exif.get_ifd(_IFD.Exif)
        for tag, size in ((_Base.ExifImageWidth, width), (_Base.ExifImageHeight, height)):
            if tag in tags:
                tags[tag] = size
        if _IFD.Interop in tags:
            tags[_IFD.Interop] = dict(exif.get_ifd(_IFD.Interop))  # instead of its offset in the old file
    return exif


def _bytes(exif: Image.Exif) -> bytes:
    return exif.tobytes() if len(exif) else b""


def _short(data: bytes | None) -> bytes | None:
    return data if data and len(data) <= _LONGEST_JPEG_SEGMENT else None


def _matching_profile(profile: bytes | None, channels: int) -> bytes | None:
    """Return the profile unless it is for colour and the image is grey, or the reverse, as for grey with an added alpha channel."""
    wrong = b"RGB " if channels == 1 else b"GRAY"
    return None if profile is None or profile[16:20] == wrong else profile


def _texts(info: ImageInfo) -> PngInfo:
    texts = PngInfo()
    for keyword, value in info.text.items():
        texts.add_text(keyword, value)  # keeps the language of international texts
    if info.comment and "Comment" not in info.text:
        texts.add_text("Comment", info.comment.decode(errors="replace"))
    if info.xmp:
        texts.add_itxt(_XMP_KEYWORD, info.xmp.decode(errors="replace"))
    return texts


def _add_resolution(exif: Image.Exif, dpi: tuple[float, float] | None) -> None:
    if dpi is not None:
        exif[_Base.XResolution], exif[_Base.YResolution], exif[_Base.ResolutionUnit] = *dpi, 2


def _add_workflow(exif: Image.Exif, text: dict[str, str]) -> None:
    for keyword, tag in _COMFYUI.items():
        if keyword in text and tag not in exif:
            exif[tag] = f"{keyword}:{text[keyword]}"


def _dpi_of_exif(exif: Image.Exif) -> tuple[Any, Any] | None:
    per_inch = {2: 1, 3: 2.54}.get(exif.get(_Base.ResolutionUnit, 0))
    across, down = exif.get(_Base.XResolution), exif.get(_Base.YResolution)
    return (across * per_inch, down * per_inch) if per_inch and across and down else None


def _dpi(values: Any) -> tuple[float, float] | None:
    """Return the resolution if every format can write it."""
    try:
        across, down = (float(value) for value in values)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 <= across <= 65535 and 1 <= down <= 65535 else None


def _plays(file: Image.Image) -> int:
    if file.format != "GIF":
        return file.info.get("loop", 0)
    repeats = file.info.get("loop")  # after the first time
    return 1 if repeats is None else repeats and repeats + 1
