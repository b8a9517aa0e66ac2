"""Drawing what a detector finds in pictures and videos, or what a classifier names."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from glob import glob
from pathlib import Path

import torch
from omegaconf import DictConfig
from PIL import Image
from rich.progress import track

from detector.checkpoint import load
from detector.classification.namer import Namer
from detector.classification.pictures.reading_picture import frames as reading_frames
from detector.classification.pictures.reading_picture import reading_picture
from detector.commands.say_plainly import require_writable
from detector.data.dataset import IMAGE_ENDINGS, read_image
from detector.detections import Detections
from detector.errors import InputError
from detector.pictures.animation import frames, save_gif, save_mp4
from detector.pictures.drawing import draw, sheet
from detector.pictures.video import ENDINGS, detect_in_video
from detector.predictor import Predictor

log = logging.getLogger(__name__)
ANIMATIONS = {"gif": save_gif, "mp4": save_mp4}
THUMBNAIL, COLUMNS, ON_A_SHEET = 320, 5, 60


def predict(config: DictConfig) -> None:
    """Draw what is found in pictures and videos and write it as JSON."""
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.animation not in (None, *ANIMATIONS):
        raise InputError(f"animation is {config.animation!r}; there are {', '.join(ANIMATIONS)}, or null for none")
    files = _sources(config.source)
    names = drawn_names(files, config.animation)
    if config.batch_size < 1:
        raise InputError(f"batch_size is {config.batch_size}; it must be at least 1")
    folder = Path(config.output_dir)
    if folder.resolve() in {file.parent.resolve() for file in files}:
        raise InputError(f"output_dir {folder} holds what is to be read, which would be overwritten; give another")
    require_writable(folder, "output_dir")
    predictor = load(config.checkpoint, device=config.device, allow=config.allow)
    if isinstance(predictor, Namer):
        return _name(predictor, files, names, folder, config)
    videos = [file for file in files if file.suffix.lower() in ENDINGS]
    found, thumbnails = list[dict](), []
    try:
        for file in track([file for file in files if file not in videos], description="predicting"):
            try:
                drawn = folder / f"{names[file]}.png"
                picture, detections = _draw(file, drawn, predictor, config)
                found.append({"file": str(file), "drawn": drawn.name, "detections": _rows(detections)})
                picture.thumbnail((THUMBNAIL, THUMBNAIL))
                thumbnails.append(picture)
            except InputError as error:
                log.warning("%s; skipped", error)
        for file in videos:
            try:
                of_frames, started = list[list[dict]](), time.perf_counter()
                drawn = folder / f"{names[file]}.mp4"
                for detections in detect_in_video(
                    file, drawn, predictor, threshold=config.threshold, batch_size=config.batch_size
                ):
                    if not of_frames:
                        found.append({"file": str(file), "drawn": drawn.name, "frames": of_frames})
                    of_frames.append(_rows(detections))
                found[-1]["fps"] = round(len(of_frames) / (time.perf_counter() - started), 2)
                print(f"{file.name}: {len(of_frames)} frames, {found[-1]['fps']} a second, read, drawn and written")
            except InputError as error:
                log.warning("%s; skipped", error)
    except KeyboardInterrupt:
        raise InputError(f"interrupted; what was found until then is in {folder}") from None
    finally:
        (folder / "predictions.json").write_text(json.dumps(found, indent=1))
        for number in range(0, len(thumbnails) if len(thumbnails) > 1 else 0, ON_A_SHEET):
            page = sheet(thumbnails[number : number + ON_A_SHEET], COLUMNS)
            page.save(folder / f"sheet_{number // ON_A_SHEET + 1}.jpg")
    skipped = f", {len(files) - len(found)} unreadable skipped" if len(found) < len(files) else ""
    many = f"{len(thumbnails)} pictures" + (f" and {len(found) - len(thumbnails)} videos" if videos else "")
    print(f"{many}{skipped}; what was drawn and predictions.json are in {folder}")


def _name(namer: Namer, files: list[Path], names: dict[Path, str], folder: Path, config: DictConfig) -> None:
    """Draw what a classifier believes of pictures as it reads them, and write its answers as JSON."""
    if config.threshold is not None:
        raise InputError("threshold is for detectors, the checkpoint is a classifier: it names every picture; leave it "
                         "out")
    if videos := [file.name for file in files if file.suffix.lower() in ENDINGS]:
        raise InputError(f"{videos[0]} is a video, the checkpoint is a classifier, which names pictures; give those")
    found = list[dict]()
    try:
        for file in track(files, description="predicting"):
            try:
                image, drawn = read_image(file), folder / f"{names[file]}.png"
            except InputError as error:
                log.warning("%s; skipped", error)
                continue
            named, as_given = namer.predict(image), namer.as_given(image)
            places = namer.classifier.reads.places.cpu()
            reading_picture(as_given, named, places).save(drawn)
            if config.animation:
                ANIMATIONS[config.animation](
                    reading_frames(as_given, named, places), drawn.with_suffix(f".{config.animation}")
                )
            found.append({
                "file": str(file), "drawn": drawn.name, "name": named.name,
                "probabilities": {name: round(value, 4) for name, value in named.by_name().items()},
            })
            print(f"{file.name}: {named.name} {named.probability:.2f}")
    except KeyboardInterrupt:
        raise InputError(f"interrupted; what was named until then is in {folder}") from None
    finally:
        (folder / "predictions.json").write_text(json.dumps(found, indent=1))
    skipped = f", {len(files) - len(found)} unreadable skipped" if len(found) < len(files) else ""
    print(f"{len(found)} pictures{skipped}; what was drawn and predictions.json are in {folder}")


def drawn_names(files: list[Path], animation: str | None) -> dict[Path, str]:
    """The name, without ending, under which each file is drawn: its stem, or, where another would have the same, its
    path from the folder on that all have in common (`a/1.jpg` is drawn as `a_1.jpg.png`)."""
    of_video = {file: file.suffix.lower() in ENDINGS and animation != "mp4" for file in files}
    claims = Counter((file.stem.casefold(), of_video[file]) for file in files)  # one file where case does not count
    taken = {stem for (stem, _), count in claims.items() if count == 1}
    root = os.path.commonpath([file.parent.absolute() for file in files])
    names = {}
    for file in files:
        name = file.stem
        if claims[name.casefold(), of_video[file]] > 1:
            name = "_".join(file.absolute().relative_to(root).parts)
            while name.casefold() in taken:
                name += "_"
            taken.add(name.casefold())
        names[file] = name
    return names


def _draw(file: Path, drawn: Path, predictor: Predictor, config: DictConfig) -> tuple[Image.Image, Detections]:
    image = read_image(file)
    output = predictor.output([image])
    (detections,) = predictor.detections(output, [image.shape[:2]], config.threshold)
    picture = draw(image, detections)
    picture.save(drawn)
    if config.animation:
        asked, lowest = config.threshold, predictor.thresholds
        lowest = lowest if asked is None else torch.full_like(lowest, asked)
        steps = frames(image, output, class_names=predictor.class_names, thresholds=lowest)
        ANIMATIONS[config.animation](steps, drawn.with_suffix(f".{config.animation}"))
    return picture, detections


def _rows(detections: Detections) -> list[dict]:
    return [
        {"box": [round(v, 2) for v in box], "score": round(score, 4), "class": name, "step": step + 1}
        for box, score, name, step in zip(
            detections.boxes.tolist(), detections.scores.tolist(), detections.names, detections.steps.tolist()
        )
    ]


def _sources(source: str) -> list[Path]:
    if Path(source).is_dir():
        files = sorted(p for p in Path(source).iterdir() if p.suffix.lower() in (*IMAGE_ENDINGS, *ENDINGS))
    else:
        files = [Path(name) for name in sorted({*glob(source, recursive=True)})]
    if not files:
        raise InputError(
            f"no pictures or videos at {source!r}; give one, a folder that holds some, or a pattern in quotes"
        )
    return files
