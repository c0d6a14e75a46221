"""A small W&B server on loopback: keeps runs, history lines, files and artifacts in memory, or refuses, or hangs.

As much of the protocol of `wandb` as a run needs: the GraphQL operations of runs and artifacts, the stream of history
lines, and uploads. Not a test; `test_wandb.py` uses it.
"""

import gzip
import json
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote

API_KEY = "0" * 40
ENTITY = {"id": "entity", "name": "somebody"}


Answer = dict[str, Any]


class Server(ThreadingHTTPServer):
    """What a test sees: what arrived, and `mood`, which says how requests are answered from now on."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mood = "answers"  # answers, refuses (500), denies (403), hangs
        self.refused: set[str] = set()  # operations that are denied
        self.released = threading.Event()  # lets hanging requests end
        self.unknown: list[str] = []  # operations this server has no answer for
        self.history: dict[str, list[dict[str, Any]]] = defaultdict(list)  # by run id
        self.config: dict[str, dict[str, Any]] = defaultdict(dict)
        self.shown: dict[str, dict[str, Any]] = defaultdict(dict)  # a run's name for people, and its tags
        self.exit_codes: dict[str, list[int]] = defaultdict(list)
        self.files: dict[str, bytes] = {}  # by name
        self.artifacts: list[dict[str, Any]] = []
        self.elsewhere: list[str] = []  # hosts asked for through this server as HTTPS proxy
        self.sweep = ""  # its configuration
        self.trials: list[Answer] = []  # what a sweep's agent is to run
        self.stopped = False  # somebody pressed "stop" on the run's page

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed, or give up, hang up in the middle."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._reply()

    do_POST = do_PUT = do_GET  # noqa: N815

    def do_CONNECT(self) -> None:
        """Refuse, and note, to be the proxy for another host."""
        self.server.elsewhere.append(self.path)
        self._send(403, {})

    def log_message(self, *ignored: object) -> None:
        """Say nothing."""

    def _reply(self) -> None:
        body = self._body()
        if self.server.mood == "hangs":
            self.server.released.wait(600)
            self.close_connection = True
        elif self.server.mood == "refuses":
            self._send(500, {"errors": [{"message": "something broke"}]})
        elif self.server.mood == "denies":
            self._send(403, {"errors": [{"message": "permission denied"}]})
        elif self.path == "/graphql":
            asked = json.loads(body)
            name = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"]).group(1)
            answer = None if name in self.server.refused else self.operations.get(name)
            if answer is None:
                self.server.unknown.append(name)
                self._send(400, {"errors": [{"message": f"{name} is unknown here"}]})
            else:
                self._send(200, {"data": answer(self, **(asked.get("variables") or {}))})
        elif self.path.endswith("/file_stream"):
            self._stream(self.path.split("/")[-2], json.loads(body))
            self._send(200, {"exitcode": None, "limits": {}, "stopped": self.server.stopped})
        elif self.path.startswith("/upload/"):
            self.server.files[unquote(self.path.removeprefix("/upload/"))] = body
            self._send(200, {})
        else:
            self._send(404, {})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True  # who asked is gone

    def _stream(self, run: str, content: dict[str, Any]) -> None:
        if part := content.get("files", {}).get("wandb-history.jsonl"):
            rows = [json.loads(line) for line in part["content"]]
            self.server.history[run][part["offset"] :] = rows
        if content.get("complete"):
            self.server.exit_codes[run].append(content["exitcode"])

    def _viewer(self) -> Answer:
        return {"viewer": {"id": "user", "entity": "somebody", "username": "somebody", "email": "", "flags": "{}",
                           "teams": {"edges": []}}}  # fmt: skip

    def _resume_status(self, name: str, project: str, **_: Any) -> Answer:
        if name not in self.server.config:
            return {"model": None}
        lines = self.server.history[name]
        bucket = {
            "id": f"id-{name}", "name": name, "summaryMetrics": "{}", "displayName": name, "logLineCount": 0,
            "historyLineCount": len(lines), "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(lines[-1])] if lines else []), "eventsTail": "[]", "config": "{}",
            "tags": [], "notes": None, "wandbConfig": "{}",
        }  # fmt: skip
        return {"model": {"id": "project", "name": project, "entity": ENTITY, "bucket": bucket}}

    def _upsert(self, name: str, project: str | None, config: str | None, **more: Any) -> Answer:
        known = name in self.server.config
        self.server.shown[name] |= {key: more[key] for key in ("displayName", "tags") if more.get(key)}
        self.server.config[name] |= json.loads(config or "{}")
        bucket = {
            "id": f"id-{name}", "name": name, "displayName": name, "description": None, "config": "{}",
            "sweepName": None, "project": {"id": "project", "name": project or "none", "entity": ENTITY},
            "historyLineCount": len(self.server.history[name]),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": not known}}

    def _organization(self, **_: Any) -> Answer:
        return {"entity": None}

    def _run_files(self, run: str, files: list[str], **_: Any) -> Answer:
        listed = [{"name": name, "uploadUrl": f"{self.server.url}/upload/{name}"} for name in files]
        return {"createRunFiles": {"runID": f"id-{run}", "uploadHeaders": [], "files": listed}}

    def _features(self) -> Answer:
        return {"serverInfo": {"features": []}}

    def _artifact_type(self, **_: Any) -> Answer:
        return {"project": {"artifact": None}}

    def _create_artifact(self, input: dict[str, Any]) -> Answer:
        self.server.artifacts.append(input)
        sequence = {"latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": "artifact", "state": "PENDING", "artifactSequence": sequence}}}

    def _create_manifest(self, **_: Any) -> Answer:
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": self._file("manifest.json")}}}

    def _artifact_files(self, input: dict[str, Any]) -> Answer:
        nodes = [
            {
                "storagePath": file["name"], "uploadUrl": f"{self.server.url}/upload/{file['name']}",
                "uploadHeaders": [], "uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]},
            }
            for file in input["artifactFiles"]
        ]  # fmt: skip
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _commit(self, **_: Any) -> Answer:
        return {"commitArtifact": {"artifact": {"id": "artifact", "digest": "0"}}}

    def _artifact(self, **_: Any) -> Answer:
        created = self.server.artifacts[-1]
        project = {"id": "project", "internalId": "1", "name": created["projectName"], "entity": ENTITY}
        sequence = {"__typename": "ArtifactSequence", "name": created["artifactCollectionName"], "project": project}
        return {"artifact": {
            "__typename": "Artifact", "id": "artifact", "artifactSequence": sequence, "versionIndex": 0,
            "artifactType": {"name": created["artifactTypeName"]}, "description": None, "metadata": "{}",
            "ttlDurationSeconds": -2, "ttlIsInherited": True, "tags": [], "historyStep": None, "state": "COMMITTED",
            "size": 1, "digest": created["digest"], "digestAlgorithm": "MANIFEST_MD5", "commitHash": "0",
            "fileCount": 1, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": None, "aliases": [],
        }}  # fmt: skip

    def _sweep(self, config: str, projectName: str, **_: Any) -> Answer:  # noqa: N803
        self.server.sweep = config
        project = {"id": "project", "name": projectName, "entity": ENTITY}
        return {"upsertSweep": {"sweep": {"name": "sweep", "project": project}, "configValidationWarnings": []}}

    def _sweep_state(self, **_: Any) -> Answer:
        sweep = {
            "id": "sweep", "name": "sweep", "method": "bayes", "state": "RUNNING", "description": None,
            "config": self.server.sweep, "createdAt": "2026-01-01T00:00:00Z", "heartbeatAt": None, "updatedAt": None,
            "earlyStopJobRunning": False, "bestLoss": None, "controller": None, "scheduler": None,
            "runs": {"edges": []},
        }  # fmt: skip
        return {"project": {"sweep": sweep}}

    def _agent(self, **_: Any) -> Answer:
        return {"createAgent": {"agent": {"id": "agent"}}}

    def _heartbeat(self, runState: str, **_: Any) -> Answer:  # noqa: N803
        """Hand out one trial at a time; when the last is over, the agent may go."""
        commands: list[Answer] = []
        if not json.loads(runState):
            commands = [self.server.trials.pop(0)] if self.server.trials else [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}

    def _file(self, name: str) -> Answer:
        return {"id": name, "uploadUrl": f"{self.server.url}/upload/{name}", "uploadHeaders": []}

    operations: ClassVar[dict[str, Callable[..., Answer]]] = {
        "Viewer": _viewer,
        "RunResumeStatus": _resume_status,
        "UpsertBucket": _upsert,
        "OrganizationCoreWeaveOrganizationID": _organization,
        "CreateRunFiles": _run_files,
        "ServerFeaturesQuery": _features,
        "ArtifactType": _artifact_type,
        "CreateArtifact": _create_artifact,
        "CreateArtifactManifest": _create_manifest,
        "CreateArtifactFiles": _artifact_files,
        "CommitArtifact": _commit,
        "ArtifactByID": _artifact,
        "UpsertSweep": _sweep,
        "SweepWithRuns": _sweep_state,
        "CreateAgent": _agent,
        "Heartbeat": _heartbeat,
    }
