"""Pascal VOC's format: one XML file an image."""

from __future__ import annotations

import logging
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from detector.data.annotations import Record, Report, fraction, label_of, make_record, require_split
from detector.data.dataset import IMAGE_ENDINGS, DetectionDataset
from detector.data.transform import Transform
from detector.errors import InputError

log = logging.getLogger(__name__)


class VOC(DetectionDataset):
    """Images with Pascal VOC annotations.

    Only direct children of the root called `object` are objects (a person's `part`s have boxes of their own);
    `difficult` ones neither train nor count.

    Args:
        root: holds `Annotations/`, `JPEGImages/` and perhaps `ImageSets/Main/`; or one such folder a year; or XML files
            and images side by side. A `VOCdevkit` folder in between is found.
        splits: what each split is made of: names of lists in `ImageSets/Main` (`train`, or `VOC2007/train` where the
            root holds several folders), or for every split a fraction of all annotated images.
        split: which one this is.
        class_names: labels in order; None reads them from the annotations of all splits, sorted.
        one_based: whether pixels count from 1 with both edges inside the box (VOC itself) or edges are coordinates
            from 0 (most tools).
        unknown_classes: `raise` or `skip` an object of another class.
        ignore_above: finite numbers by names of tags, such as `covered: 0.95`: an object with a larger number in one of
            them is treated like a `difficult` one, an object without them is not.
        exclude: a folder of annotations: images of the same names are left out of every split but `test`, so that a
            detector can be tested on those.
        transform, on_bad_sample, seed: see `DetectionDataset`.
        how_to_get: a sentence for the error where the data is missing.
    """

    def __init__(
        self, *, root: str, splits: dict[str, str | Sequence[str] | float | None], split: str,
        class_names: Sequence[str] | None, transform: Transform, one_based: bool, unknown_classes: str = "raise",
        ignore_above: object = None, exclude: str | None = None, on_bad_sample: str = "skip", seed: int = 0,
        how_to_get: str = "set data.dataset.root (tools/eval.py: root)",
    ):
        require_split(splits, split)
        limits = _limits(ignore_above)
        base = Path(root)
        if not base.is_dir():
            raise InputError(f"no data folder {base}; {how_to_get}")
        if (base / "VOCdevkit").is_dir():
            base = base / "VOCdevkit"
        report = Report(f"{base} ({split})", on_bad_sample)
        files = _annotation_files(base, splits[split], how_to_get)
        if isinstance(splits[split], (int, float)):
            files = fraction(files, splits, split)
        if exclude and split != "test":
            files = _without(files, Path(exclude), f"{base} ({split})")
        trees = {file: tree for file in files if (tree := _parse(file, report)) is not None}
        if class_names is None:
            whole = {file for wanted in splits.values() for file in _annotation_files(base, wanted, how_to_get)}
            unheard = Report("other splits")  # which say themselves what is wrong with theirs
            others = (_parse(file, unheard) for file in whole - {*files})
            found = (tree.findall("object") for tree in (*trees.values(), *others) if tree is not None)
            class_names = sorted({name for objects in found for one in objects if (name := one.findtext("name"))})
        tags = {tag.tag for tree in trees.values() for tag in tree.iterfind("object/*")} if limits else set()
        if tags and (missing := [tag for tag in limits if tag not in tags]):
            log.warning(
                "%s: no object has a tag %s, which data.dataset.ignore_above names; correct it there (the tags are %s)",
                report.source, " or ".join(missing), ", ".join(sorted(tags)),
            )
        records, names = [], list(class_names)
        for number, (file, tree) in enumerate(trees.items()):
            try:
                records.append(_record(number, file, tree, names, one_based, unknown_classes, limits, report))
            except KeyError as error:
                report.skip(error.args[0])
        report.say()
        if not records:
            raise InputError(f"split {split!r} of {base} is empty: none of {len(files)} annotations could be used")
        super().__init__(
            class_names=class_names, records=records, transform=transform, on_bad_sample=on_bad_sample, seed=seed
        )


def _annotation_files(base: Path, wanted: str | Sequence[str] | float | None, how_to_get: str) -> list[Path]:
    """What lists name; of a fraction, all there are."""
    if isinstance(wanted, (int, float)):
        return sorted(base.rglob("*.xml"))
    files = []
    for name in [wanted] if isinstance(wanted, str) else wanted or ():
        folder, _, listed = name.rpartition("/")
        lists = base / folder / "ImageSets" / "Main"
        if not (lists / f"{listed}.txt").is_file():
            found = ", ".join(sorted(str((p.parent.parent.parent / p.stem).relative_to(base))
                                     for p in base.glob("**/ImageSets/Main/*.txt"))[:20])
            raise InputError(f"no list {lists / listed}.txt; there are: {found or 'none'}; {how_to_get}")
        stems = [line.split()[0] for line in (lists / f"{listed}.txt").read_text().splitlines() if line.strip()]
        files += [base / folder / "Annotations" / f"{stem}.xml" for stem in stems]
    return files


def _without(files: list[Path], excluded: Path, source: str) -> list[Path]:
    """Those of other names than the annotations in a folder."""
    names = {file.stem for file in excluded.rglob("*.xml")}
    if not names:
        raise InputError(f"data.dataset.exclude is {excluded}, where no annotation (*.xml) is; give a folder of them")
    left = [file for file in files if file.stem not in names]
    log.info("%s: %d image(s) left out, as data.dataset.exclude says", source, len(files) - len(left))
    return left


def _parse(file: Path, report: Report) -> ElementTree.Element | None:
    """The annotation, each object knowing the line on which it starts."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, OSError) as error:
        report.skip(f"{file}: not an XML annotation ({error})")
        return None
    starts = (text.count("\n", 0, match.start()) + 1 for match in re.finditer(r"<object\b", text))
    for element, line in zip(root.findall("object"), starts):
        element.set("line", str(line))
    return root


def _record(
    number: int, file: Path, root: ElementTree.Element, class_names: list[str], one_based: bool, unknown: str,
    limits: dict[str, float], report: Report,
) -> Record:
    size = (round(_number(root, "size/height", file)), round(_number(root, "size/width", file)))
    objects = []
    for element in root.findall("object"):
        place = f"{file}, line {element.get('line')}"
        name = element.findtext("name")
        if not name:
            raise KeyError(f"{place}: object without a <name>")
        label = label_of(name, class_names, place, unknown, report)
        if label is None:
            continue
        box = [_number(element, f"bndbox/{edge}", place) for edge in ("xmin", "ymin", "xmax", "ymax")]
        box[:2] = box[0] - one_based, box[1] - one_based
        above = [_number(element, tag, place) > most for tag, most in limits.items() if element.find(tag) is not None]
        ignored = element.findtext("difficult", "0").strip() == "1" or any(above)
        objects.append((box, label, ignored, False, None, place))
    return make_record(number, _image_of(file, root), size, objects, report)


def _limits(given: object) -> dict[str, float]:
    """The option `ignore_above`, None being as good as empty."""
    limits = {} if given is None else given
    if isinstance(limits, dict) and all(
        isinstance(tag, str) and re.fullmatch(r"\w[\w.-]*", tag) and type(most) in (int, float) and math.isfinite(most)
        for tag, most in limits.items()
    ):
        return limits
    raise InputError(
        f"data.dataset.ignore_above is {given!r}; it must give numbers by names of tags, such as {{covered: 0.95}}"
    )


def _number(element: ElementTree.Element, path: str, place: object) -> float:
    text = element.findtext(path)
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise KeyError(f"{place}: <{path}> is {'missing' if text is None else repr(text)}, expected a number")
    return number


def _image_of(file: Path, root: ElementTree.Element) -> Path:
    """The image of an annotation: of the same name, in `JPEGImages`, `images` or beside it."""
    folders = [file.parent.parent / "JPEGImages", file.parent.parent / "images", file.parent]
    candidates = [folder / (file.stem + ending) for folder in folders for ending in IMAGE_ENDINGS]
    candidates += [folder / root.findtext("filename", file.stem) for folder in folders]
    return next((path for path in candidates if path.is_file()), candidates[0])
