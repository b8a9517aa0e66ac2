import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from detector.data.download import download, unpack
from detector.errors import InputError

CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT, understands `Range`, and breaks off after `break_after` bytes where told to."""

    break_after: int | None = None
    asked: list = []

    def do_GET(self):
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        type(self).asked.append(start)
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : self.break_after])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    Handler.break_after, Handler.asked = None, []
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/file"
        http.shutdown()
        thread.join()


def test_a_broken_off_download_goes_on(server, tmp_path):
    Handler.break_after = 70_000
    with pytest.raises(InputError, match="run the command again"):
        download(server, tmp_path / "file", md5=MD5)
    Handler.break_after = None
    assert download(server, tmp_path / "file", md5=MD5).read_bytes() == CONTENT
    assert Handler.asked == [0, 70_000]
    download(server, tmp_path / "file", md5=MD5)  # it is there: nothing is asked for
    assert Handler.asked == [0, 70_000]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_complete_part_is_checked_and_kept(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert download(server, tmp_path / "file", md5=MD5).read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused(server, tmp_path):
    with pytest.raises(InputError, match=f"checksum {MD5}, expected 0000"):
        download(server, tmp_path / "file", md5="0000")
    assert not list(tmp_path.iterdir())


def test_no_server_there(tmp_path):
    with pytest.raises(InputError, match="broke off"):
        download("http://127.0.0.1:9/file", tmp_path / "file", md5=None)


def test_unpacking(tmp_path):
    import tarfile

    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/a.txt").write_text("a")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "inner", "inner")
    (tmp_path / "out/inner").mkdir(parents=True)
    (tmp_path / "out/inner/b.txt").write_text("b")  # of an earlier archive
    unpack(tmp_path / "x.tar", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out/inner").iterdir()) == ["a.txt", "b.txt"]
    (tmp_path / "broken.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(tmp_path / "broken.zip", tmp_path / "out")
