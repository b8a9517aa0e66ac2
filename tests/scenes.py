"""Small data sets on disk, and configs of the real tree."""

import json
import struct
from pathlib import Path

import cv2
import numpy as np
from hydra import compose, initialize_config_dir
from PIL import Image

from detector.build import plain

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
OFFLINE = ["backbone.weights=null", "backbone.frozen_stages=0", "backbone.batch_norm=train"]

SCENE = {  # file stem: (width, height), [(class, x1, y1, x2, y2)] with edges as coordinates from 0
    "a": ((80, 60), [("cat", 10, 5, 40, 30), ("dog", 42.5, 12.25, 70, 55)]),
    "b": ((64, 64), [("dog", 0, 0, 64, 64)]),
    "c": ((50, 70), []),
    "d": ((90, 40), [("cat", 60, 10, 90, 40), ("cat", 5, 5, 25, 25), ("dog", 30, 10, 50, 35)]),
}


def run_config(tmp_path: Path, *overrides: str) -> dict:
    """The plain config of a training run that writes to `tmp_path`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[f"output_dir={tmp_path}", "name=test", *overrides])
    return plain(config)


def write_image(file: Path, size: tuple[int, int], seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def write_video(file: Path, count: int = 10) -> None:
    """A bright square that moves to the right, 4 pixels a frame, 5 frames a second."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (96, 64))
    for number in range(count):
        frame = np.full((64, 96, 3), 40, np.uint8)
        frame[20:40, 4 * number + 5 : 4 * number + 25] = 255
        writer.write(frame)
    writer.release()


def object_xml(name: str, box: tuple, difficult: int = 0, extra: str = "") -> str:
    edges = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box))
    return f"""
  <object>
    <name>{name}</name><difficult>{difficult}</difficult>
    <bndbox>{edges}</bndbox>{extra}
  </object>"""


def annotation_xml(size: tuple[int, int], objects: str) -> str:
    return f"<annotation>\n  <size><width>{size[0]}</width><height>{size[1]}</height></size>{objects}\n</annotation>"


def write_voc(root: Path, scene: dict = SCENE, *, one_based: bool = False) -> Path:
    """The scene as Pascal VOC, all in the list `all`."""
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets/Main").mkdir(parents=True)
    for number, (stem, (size, objects)) in enumerate(scene.items()):
        write_image(root / "JPEGImages" / f"{stem}.png", size, number)
        text = "".join(object_xml(name, (x1 + one_based, y1 + one_based, x2, y2)) for name, x1, y1, x2, y2 in objects)
        (root / "Annotations" / f"{stem}.xml").write_text(annotation_xml(size, text))
    (root / "ImageSets/Main/all.txt").write_text("\n".join(scene) + "\n")
    return root


def write_coco(root: Path, scene: dict = SCENE) -> Path:
    """The scene as COCO JSON, category ids with a gap, in `annotations.json` and `images/`."""
    ids = {"cat": 3, "dog": 17}
    images, annotations = [], []
    for number, (stem, (size, objects)) in enumerate(scene.items()):
        write_image(root / "images" / f"{stem}.png", size, number)
        images.append({"id": 100 + number, "file_name": f"{stem}.png", "width": size[0], "height": size[1]})
        for name, x1, y1, x2, y2 in objects:
            annotations.append({
                "id": len(annotations) + 1, "image_id": 100 + number, "category_id": ids[name], "iscrowd": 0,
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1),
            })
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def write_folder(root: Path, counts: dict[str, int], ending: str = ".png") -> Path:
    """So many noisy pictures in each folder."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write_image(root / name / f"{number}{ending}", (9, 7), number)
    return root


def write_mnist(root: Path, name: str = "MNIST", counts: tuple[int, int] = (40, 6), images: int = 2051) -> Path:
    """Picture i is filled with the grey i, but for one black corner, and shows the class i modulo 10."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for prefix, count in zip(("train", "t10k"), counts):
        pixels = np.tile(np.arange(count, dtype=np.uint8)[:, None, None], (1, 28, 28))
        pixels[:, 0, 27] = 0
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">4i", images, count, 28, 28) + pixels.tobytes())
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels.tobytes())
    return root


def data_overrides(name: str, tmp_path: Path) -> list[str]:
    """How to point a data config at the small scene; a new format that fits neither writer adds its line here."""
    if name == "shapes":
        return ["data.dataset.splits={train: 4, val: 2, test: 2}"]
    if name == "classification/digits":
        return ["data.dataset.splits={train: [0, 0.05], val: [0.05, 0.1], test: [0.05, 0.1]}"]
    if name in ("classification/mnist", "classification/fashion_mnist"):
        folder = "MNIST" if name == "classification/mnist" else "FashionMNIST"
        return [f"data.dataset.root={write_mnist(tmp_path / 'data', folder, (100, 6))}", "data.num_workers=0"]
    if name == "classification/image_folder":
        write_folder(tmp_path / "data", {"cat": 10, "dog": 10})
        return [f"data.dataset.root={tmp_path / 'data'}", "data.num_workers=0"]
    if name == "classification/bccd_cells":
        everything = ["data.num_workers=0", "data.dataset.class_names=[cat,dog]", "data.canvas=[32,32]"]
        write_voc(tmp_path / "data")
        splits = "data.dataset.splits={train: all, val: all, test: all}"
        return [*everything, splits, f"data.dataset.root={tmp_path / 'data'}"]
    everything = [
        "data.canvas=[96,64]", "data.batch_size=2", "data.num_workers=0", "data.dataset.class_names=[cat,dog]"
    ]
    if "coco" in name:
        if not (tmp_path / "data").exists():
            write_coco(tmp_path / "data")
        files = "{annotations: annotations.json, images: images}"
    else:
        if not (tmp_path / "data").exists():
            write_voc(tmp_path / "data")
        files = "all"
    splits = f"data.dataset.splits={{train: {files}, val: {files}, test: {files}}}"
    return [*everything, splits, f"data.dataset.root={tmp_path / 'data'}"]


def data_of(experiment: str) -> str:
    """The data set an experiment chooses."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[f"experiment={experiment}"], return_hydra_config=True)
    return config.hydra.runtime.choices["data"]


def classification_experiments() -> list[str]:
    """Those whose task is not detection."""
    files = sorted((CONF / "experiment").glob("*.yaml"))
    return [file.stem for file in files if "  - /classification\n" in file.read_text()]
