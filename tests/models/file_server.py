"""A local web server that serves files well or badly, and known models at its addresses."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from span_arch.models.catalogue import KnownFile, KnownModel


@dataclass
class FileServer:
    """A web server. Its attributes may be changed between requests."""

    address: str
    content: bytes
    ranges: bool = True
    """Answer requests for the end of the file."""
    cut: int | None = None
    """Break off after that many bytes."""
    silence: threading.Event = field(default_factory=threading.Event)
    """A broken-off answer waits for this event, if it is cleared, before it ends."""
    page: bool = False
    """State that the content is a web page."""
    length: bool = True
    """State the length of the content."""
    requests: list[str] = field(default_factory=list)
    """The requests so far: path and first byte."""

    def model(self, content: bytes | None = None, path: str = "file/network.pth") -> KnownModel:
        """Return a known model with a content, by default the server's, at this server."""
        content = self.content if content is None else content
        file = KnownFile(".pth", len(content), hashlib.sha256(content).hexdigest(), (f"{self.address}/{path}",))
        return KnownModel("4x-Test", "Test", "somebody", "CC-BY-NC-4.0", 4, "photo", (), (file,))


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """Serve a content under ``/file/...``. ``/moved/...`` redirects there, and every other path is missing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted and state.ranges else 0
            state.requests.append(f"{self.path} {start}")
            if self.path.startswith("/moved/"):
                self.send_response(302)
                self.send_header("Location", self.path.replace("/moved/", "/file/"))
                self.end_headers()
            elif not self.path.startswith("/file/"):
                self.send_error(404)
            elif start >= len(state.content):
                self.send_error(416)
            else:
                self.send_content(state.content[start:], partial=start > 0)

        def send_content(self, content: bytes, partial: bool) -> None:
            self.send_response(206 if partial else 200)
            if state.page:
                self.send_header("Content-Type", "text/html; charset=utf-8")
            if state.length:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: state.cut])
            self.wfile.flush()
            if state.cut is not None:
                state.silence.wait(20)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = FileServer(f"http://127.0.0.1:{server.server_port}", content)
    state.silence.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.silence.set()
        server.shutdown()
        thread.join()
        server.server_close()
