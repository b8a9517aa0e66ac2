"""Download COCO 2017 (19 GB) into this folder: python data/coco/prepare.py"""

import sys
from pathlib import Path

from detector.data.download import download, unpack
from detector.errors import InputError

SOURCES = {  # archive: (md5, where it is unpacked)
    "annotations/annotations_trainval2017.zip": ("f4bbac642086de4f52a3fdda2de5fa2c", "."),
    "zips/val2017.zip": ("442b8da7639aecaf257c1dceb8ba8c80", "images"),
    "zips/train2017.zip": ("cced6f7f71b7629ddf16f17bbcfab6b2", "images"),
}

if __name__ == "__main__":
    here = Path(__file__).parent
    try:
        for path, (md5, folder) in SOURCES.items():
            name = Path(path).name
            unpacked = here / f".{name}.unpacked"
            if not unpacked.exists():
                (here / folder).mkdir(exist_ok=True)
                unpack(download(f"http://images.cocodataset.org/{path}", here / name, md5=md5), here / folder)
                unpacked.touch()
    except InputError as error:
        sys.exit(f"error: {error}")
    print(f"{here} is ready: python tools/train.py experiment=coco")
