"""`make label BASKET=...`: a page for people without a labelling tool: one image, one key, the next one.

In: a basket. Out: its basket.csv, written after every answer, so that a reload or a kill loses nothing; labels.py takes
it in. Loopback only, one person or several; a page from elsewhere gets no answer and can give none.
"""

import json
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from drift_detector_pipeline.commands import read_command, refuse_others, stopping, values_of
from drift_detector_pipeline.console import log as say
from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.lifecycle.labelling.basket_file import TABLE, Basket, newest_basket, read_basket
from drift_detector_pipeline.lifecycle.labelling.desk import Desk, picture

PORT = 8002
_LOOK_S = 0.5  # on Windows a wait that is longer hears of Ctrl+C at its end
_PAGE = Path(__file__).parent / "label_page"
_PARTS = {"/": ("index.html", "text/html"), "/label.js": ("label.js", "text/javascript"),
          "/label.css": ("label.css", "text/css")}  # fmt: skip
_HOSTS = ("127.0.0.1", "localhost", "::1")
_MOST_BYTES = 10_000  # of a body
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
}  # fmt: skip


@exit_status
def main() -> int:
    """Show the basket that is named, or the newest, until Ctrl+C."""
    set_up_logging()
    words = sys.argv[1:]
    command = read_command([word for word in words if not word.startswith("port=")])
    refuse_others(command.overrides, ("port",), "make label")
    basket = read_basket(command.target or newest_basket())
    desk = Desk(basket)
    desk.labels()  # damage is said now
    with open_desk(desk, _port(words)) as server, stopping() as stop:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say.info("http://127.0.0.1:%d shows %d images; Ctrl+C ends", server.server_port, len(basket.images))
        while not stop.wait(_LOOK_S):
            pass
        server.shutdown()
    say.info("%d of %d labelled; go on: make label BASKET=%s", len(desk.labels()), len(basket.images), _shown(basket))
    say.info("take the labels in: make labels FILE=%s/%s", _shown(basket), TABLE)
    return 0


def open_desk(desk: Desk, port: int = PORT) -> ThreadingHTTPServer:
    """A server on this machine's loopback address, 0: any free port. Raises ConfigError if the port is taken."""
    handler = type("Handler", (_Handler,), {"desk": desk})
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise ConfigError(f"port={port}: {error.strerror}; another one: ARGS=port={port + 1}, or 0 for any") from error
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    """One request. `desk` is set by `open_desk`."""

    desk: Desk
    protocol_version, timeout = "HTTP/1.1", 60
    _decoding = threading.Lock()  # one at a time: an image may take hundreds of megabytes

    def do_GET(self) -> None:
        """The page, the basket, an image."""
        path = urlsplit(self.path).path
        if not self._from_here():
            return
        if path in _PARTS:
            name, kind = _PARTS[path]
            self._answer(200, (_PAGE / name).read_bytes(), f"{kind}; charset=utf-8")
        elif path == "/basket":
            self._try(self._basket)
        else:
            self._image(path)

    def do_POST(self) -> None:
        """An answer, or one taken back."""
        length = self.headers.get("content-length", "")
        if not self._from_here():
            return
        if self.headers.get_content_type() != "application/json" or not length.isdecimal() or int(length) > _MOST_BYTES:
            self.close_connection = True
            self._say(415, "expected a few bytes of JSON")
            return
        body = self.rfile.read(int(length))
        actions = {"/label": self._label, "/undo": self._undo}
        action = actions.get(self.path)
        if action is None:
            self._say(404, "no such address")
        else:
            self._try(lambda: action(json.loads(body)))

    def log_message(self, *given: Any) -> None:
        """Say nothing of requests."""

    def _from_here(self) -> bool:
        """Whether this page asks, by an address of this machine: other pages may know ours and ask in its name."""
        own = self.headers.get("host", "")
        origin = self.headers.get("origin")
        if urlsplit(f"//{own}").hostname in _HOSTS and origin in (None, f"http://{own}"):
            return True
        self.close_connection = True
        self._say(403, "this page answers on 127.0.0.1 and localhost only")
        return False

    def _try(self, work: Any) -> None:
        try:
            self._answer(200, json.dumps(work()).encode(), "application/json")
        except DataError as error:
            self._say(409, str(error))
        except OSError as error:
            self._say(500, f"not saved: {error.filename}: {error.strerror}")
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            self._say(400, 'expected JSON such as {"file": "images/a.png", "label": "cat"}')

    def _basket(self) -> dict[str, Any]:
        basket, labels = self.desk.basket, self.desk.labels()
        images = [{"file": item.file, "label": labels.get(item.file, "")} for item in basket.images]
        return {"classes": basket.classes, "images": images, "table": f"{_shown(basket)}/{TABLE}"}

    def _label(self, asked: dict[str, Any]) -> dict[str, str]:
        file, label = asked["file"], asked["label"]
        self.desk.give(str(file), str(label))
        return {}

    def _undo(self, _: object) -> dict[str, str]:
        file, label = self.desk.undo()
        return {"file": file, "label": label}

    def _image(self, path: str) -> None:
        item = next((item for item in self.desk.basket.images if f"/{item.file}" == path), None)
        if item is None:
            self._say(404, "no such address")
            return
        try:
            with self._decoding:
                content, kind = picture((self.desk.basket.folder / item.file).read_bytes())
        except (DataError, OSError) as error:
            self._say(404, f"{item.file}: {error}")
            return
        self._answer(200, content, kind)

    def _say(self, status: int, problem: str) -> None:
        self._answer(status, json.dumps({"error": problem}).encode(), "application/json")

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _port(words: Sequence[str]) -> int:
    """Of the word port=8003. Raises ConfigError if it is none."""
    given = values_of([word for word in words if word.startswith("port=")]).get("port", str(PORT))
    if not given.isdecimal() or int(given) > 65_535:
        raise ConfigError(f"port={given}: expected a whole number in 0..65535")
    return int(given)


def _shown(basket: Basket) -> Path:
    """Its folder as it is typed here."""
    here = Path.cwd()
    return basket.folder.relative_to(here) if basket.folder.is_relative_to(here) else basket.folder


if __name__ == "__main__":
    sys.exit(main())
