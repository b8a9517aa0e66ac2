"""Download BCCD (8 MB) into this folder: python data/bccd/prepare.py"""

import shutil
import sys
from pathlib import Path

from detector.data.download import download, unpack
from detector.errors import InputError

URL = "https://github.com/Shenggan/BCCD_Dataset/archive/refs/tags/v1.0.zip"

if __name__ == "__main__":
    here = Path(__file__).parent
    try:
        unpack(download(URL, here / "bccd.zip", md5=None), here)  # GitHub's archives have no lasting checksum
    except InputError as error:
        sys.exit(f"error: {error}")
    (inner,) = here.glob("BCCD_Dataset-*/BCCD")
    shutil.copytree(inner, here, dirs_exist_ok=True)
    shutil.rmtree(inner.parent)
    found = len(list((here / "Annotations").glob("*.xml")))
    if found != 364:
        sys.exit(f"error: {here} holds {found} annotations, expected 364; remove bccd.zip and run the command again")
    print(f"{here} is ready: python tools/train.py experiment=bccd")
