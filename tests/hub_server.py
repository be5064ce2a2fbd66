"""A server that answers as the hub does."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from spacy_universalner.records import sha256_file


class Hub:
    """A server of one repository at one revision, which counts what it is asked."""

    def __init__(self, folder, name="org/tiny"):
        self.folder = folder
        self.name = name
        self.sha = "abc123"
        self.requests = []
        self.listed = {path.name: sha256_file(path) for path in folder.glob("model.safetensors")}
        self.info = None
        self.token = None
        self.cut = None
        self.ranges = []

    def answer(self, path):
        self.requests.append(path)
        if path in (f"/api/models/{self.name}?blobs=true", f"/api/models/{self.name}/revision/{self.sha}?blobs=true"):
            return json.dumps(self.describe() if self.info is None else self.info).encode()
        name = path.removeprefix(f"/{self.name}/resolve/{self.sha}/")
        return (self.folder / name).read_bytes() if (self.folder / name).is_file() else None

    def describe(self):
        files = []
        for path in sorted(self.folder.iterdir()):
            lfs = {"lfs": {"sha256": self.listed[path.name]}} if path.name in self.listed else {}
            files.append({"rfilename": path.name, "size": path.stat().st_size, **lfs})
        return {"sha": self.sha, "siblings": files}


def make_handler(hub):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = hub.answer(self.path)
            if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.reply(401, b"")
            if body is None:
                return self.reply(404, b"")
            if wanted := self.headers.get("Range"):
                hub.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                return self.reply(206, body[start:])
            self.reply(200, body, cut=hub.cut if "model.safetensors" in self.path else None)

        def reply(self, status, body, *, cut=None):
            """Answer; or begin to, and hang up after so many bytes."""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])

        def log_message(self, *args):
            pass

    return Handler


@contextmanager
def serve(hub) -> Iterator[str]:
    """Answer for a hub. YIELDS (str): the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(hub))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
