"""Downloads that show their progress, go on where they broke off, and are checked."""

from __future__ import annotations

import hashlib
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from rich.progress import Progress

from detector.errors import InputError

CHUNK = 1 << 20


def download(url: str, file: Path, *, md5: str | None) -> Path:
    """Fetch a file, or what is missing of it.

    A broken-off download stays as `FILE.part`, and the next call goes on behind its last byte.

    Args:
        url: where from.
        file: where to; nothing is fetched if it is there already.
        md5: checksum in hex; None where the source has none that lasts.

    Raises:
        InputError: the source cannot be reached, or what came has another checksum (it is removed then).
    """
    if file.exists():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer, Progress() as progress:
            resumed = answer.status == 206
            length = answer.headers.get("Content-Length")
            total = int(length) + (have if resumed else 0) if length else None
            bar = progress.add_task(file.name, total=total, completed=have if resumed else 0)
            with part.open("ab" if resumed else "wb") as out:
                while chunk := answer.read(CHUNK):
                    out.write(chunk)
                    progress.advance(bar, len(chunk))
            if total is not None and part.stat().st_size < total:
                raise ConnectionError(f"it ended after {part.stat().st_size} of {total} bytes")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: there is nothing behind the last byte; the checksum decides
            raise InputError(f"{url} cannot be downloaded ({error})") from error
    except OSError as error:
        raise InputError(f"{url} broke off ({error}); run the command again to go on from there") from error
    if md5 is not None:
        with part.open("rb") as content:
            found = hashlib.file_digest(content, "md5").hexdigest()
        if found != md5:
            part.unlink()
            raise InputError(f"{url}: checksum {found}, expected {md5}; it was removed, run the command again")
    return part.rename(file)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive (zip, tar) into a folder, in one go: a broken-off unpacking leaves nothing behind.

    Raises:
        InputError: it is no archive.
    """
    scratch = folder / f".{archive.name}.unpacking"
    shutil.rmtree(scratch, ignore_errors=True)
    print(f"unpacking {archive.name}")
    options: dict = {} if archive.suffix == ".zip" else {"filter": "data"}
    try:
        shutil.unpack_archive(archive, scratch, **options)
    except (shutil.ReadError, OSError) as error:
        raise InputError(f"{archive} cannot be unpacked ({error}); remove it and run the command again") from error
    shutil.copytree(scratch, folder, dirs_exist_ok=True, copy_function=shutil.move)
    shutil.rmtree(scratch)
