"""Not a test: a real HTTP server on loopback that takes a webhook's news, or refuses it."""

import contextlib
import http.server
import json
import threading


class Hook(http.server.ThreadingHTTPServer):
    """Answers with the statuses it is given, in turn, the last one for good; keeps what it got."""

    def __init__(self, *statuses):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses, self.got = list(statuses or [204]), []
        self.address = f"http://127.0.0.1:{self.server_address[1]}/hook"

    @property
    def told(self):
        """The ids of news that were answered with success."""
        return [headers["Idempotency-Key"] for headers, _, status in self.got if status < 300]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        statuses = self.server.statuses
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        self.server.got.append((dict(self.headers), body, status))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        self.server.got.append((dict(self.headers), b"", 599))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def hook(*statuses):
    """One that answers until the end of the `with`."""
    server = Hook(*statuses)
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def news(got):
    """The JSON of something a hook got."""
    return json.loads(got[1])
