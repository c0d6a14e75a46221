"""A small Hugging Face Hub on loopback: takes commits with large files, checks tokens, tells what it has.

As much of the protocol as `huggingface_hub` needs to make a repository and to commit to it. Not a test;
`test_hub_push.py` uses it.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

TOKEN, COMMIT = "hf_" + "a" * 30, "c" * 40  # of this test only


class Server(ThreadingHTTPServer):
    """What a test sees: repositories, with `private` and files by name; `spoils` changes large files on their way."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, Any]] = {}
        self.large: dict[str, bytes] = {}  # by the SHA-256 they were announced with
        self.unknown: list[str] = []
        self.spoils = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving() -> Iterator[Server]:
    """Run a hub until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body, path = self.rfile.read(int(self.headers.get("Content-Length") or 0)), self.path.partition("?")[0]
        parts = path.strip("/").split("/")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid credentials"})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.server.repositories.setdefault(name, {"private": asked.get("visibility") == "private", "files": {}})
            self._send(200, {"url": f"{self.server.url}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self._send(200, {"warnings": [], "errors": []})
        elif parts[4:5] == ["preupload"]:
            files = [{"path": one["path"], "shouldIgnore": False,
                      "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular"}
                     for one in json.loads(body)["files"]]  # fmt: skip
            self._send(200, {"files": files})
        elif path.endswith(".git/info/lfs/objects/batch"):
            wanted = [one | {"actions": {"upload": {"href": f"{self.server.url}/large/{one['oid']}"}}}
                      for one in json.loads(body)["objects"]]  # fmt: skip
            self._send(200, {"transfer": "basic", "objects": wanted})
        elif parts[4:5] == ["commit"]:
            self._commit("/".join(parts[2:4]), body)
        elif parts[4:5] == ["paths-info"]:
            self._send(200, [self._told("/".join(parts[2:4]), name) for name in self._asked_paths(body)])
        else:
            self.server.unknown.append(path)
            self._send(404, {})

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.large[self.path.rpartition("/")[2]] = content + b"!" * self.server.spoils
        self._send(200, {})

    def log_message(self, *ignored: object) -> None:
        """Say nothing."""

    def _asked_paths(self, body: bytes) -> list[str]:
        given = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
        return list(given) if isinstance(given, list) else [given]

    def _commit(self, name: str, body: bytes) -> None:
        files = self.server.repositories[name]["files"]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        self._send(200, {"commitUrl": f"{self.server.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def _told(self, name: str, path: str) -> dict[str, Any]:
        content = self.server.repositories[name]["files"][path]
        oid = hashlib.sha256(content).hexdigest()
        return {"type": "file", "path": path, "size": len(content), "oid": oid[:40],
                "lfs": {"oid": oid, "size": len(content), "pointerSize": 1}}  # fmt: skip

    def _send(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
