"""Download Pascal VOC 2007 and 2012 (2.8 GB) into this folder: python data/voc/prepare.py"""

import sys
from pathlib import Path

from torchvision.datasets.voc import DATASET_YEAR_DICT

from detector.data.download import download, unpack
from detector.errors import InputError

if __name__ == "__main__":
    here = Path(__file__).parent
    try:
        for year in ("2007", "2007-test", "2012"):
            source = DATASET_YEAR_DICT[year]
            unpacked = here / f".{year}.unpacked"
            if not unpacked.exists():
                unpack(download(source["url"], here / source["filename"], md5=source["md5"]), here)
                unpacked.touch()
    except InputError as error:
        sys.exit(f"error: {error}")
    print(f"{here / 'VOCdevkit'} is ready: python tools/train.py experiment=voc")
