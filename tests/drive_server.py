"""Not a test: a server that speaks as much of Google Drive's v2 API as dvc uses, over TLS, with faults on demand.

usage: python drive_server.py ACCOUNT_FOLDER [--port 443] [--objects FOLDER] [--shared-drive ID] [--fault NAME]

`make_account` fills ACCOUNT_FOLDER: a service account's key file, the certificate of a throw-away authority, and the
server's own for *.googleapis.com. Under a network alias of that name an unchanged dvc cannot tell it from Google's.
Uploads stay in memory. Each request is printed as one line, without headers.
"""

import argparse
import base64
import datetime
import hashlib
import itertools
import json
import re
import ssl
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ROOT_ID = "1RootFolderOfTheRemote"
EMAIL = "robot@drift-detector.iam.gserviceaccount.com"
FOLDER = "application/vnd.google-apps.folder"
PAGE = 2  # files per page of a listing: few, so that every listing has several
REASONS = {
    "rate_limit": (403, "userRateLimitExceeded", "User Rate Limit Exceeded"),
    "too_many": (429, "rateLimitExceeded", "Too Many Requests"),
    "internal": (500, "internalError", "Internal Error"),
    "no_quota": (403, "storageQuotaExceeded", "Service Accounts do not have storage quota."),
    "read_only": (403, "insufficientFilePermissions", "The user does not have sufficient permissions for this file."),
}
FAULTS = (*REASONS, "not_shared", "corrupted", "revoked")


@dataclass
class Entry:
    """A file or a folder of the drive."""

    id: str
    title: str
    parent: str | None
    content: bytes | None  # None: a folder
    drive: str | None

    def described(self) -> dict[str, Any]:
        """As the API describes it."""
        known: dict[str, Any] = {"kind": "drive#file", "id": self.id, "title": self.title}
        known["mimeType"] = FOLDER if self.content is None else "application/octet-stream"
        known["parents"] = [{"kind": "drive#parentReference", "id": self.parent}] if self.parent else []
        known["labels"] = {"trashed": False}
        if self.drive:
            known["driveId"] = self.drive
        if self.content is not None:
            known["fileSize"] = str(len(self.content))
            known["md5Checksum"] = hashlib.md5(self.content).hexdigest()
        return known


@dataclass
class Drive:
    """What the server holds: entries by id, uploads that are under way, and the fault it was asked for."""

    key: rsa.RSAPublicKey
    fault: str = ""
    shared_drive: str | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    uploads: dict[str, tuple[dict[str, Any], bytearray]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    lock: threading.RLock = field(default_factory=threading.RLock)
    failures: int = 0  # requests answered with the fault so far

    def add(self, title: str, parent: str | None, content: bytes | None, entry_id: str = "") -> Entry:
        """Store a file or, without content, a folder."""
        entry = Entry(entry_id or f"entry{next(self.numbers)}", title, parent, content, self.shared_drive)
        self.entries[entry.id] = entry
        return entry

    def add_tree(self, folder: Path) -> None:
        """Store what lies below `folder` in the remote's root."""
        ids = {folder: ROOT_ID}
        for path in sorted(folder.rglob("*")):
            content = path.read_bytes() if path.is_file() else None
            ids[path] = self.add(path.name, ids[path.parent], content).id

    def children(self, query: str) -> list[Entry]:
        """The entries a `q` parameter asks for."""
        parents = set(re.findall(r"'([^']+)' in parents", query))
        title = re.search(r"title='((?:\\.|[^'\\])*)'", query)
        wanted = title and title[1].replace("\\'", "'").lower()  # Drive compares titles without regard to case
        return [
            entry
            for entry in self.entries.values()
            if entry.parent in parents and (wanted is None or entry.title.lower() == wanted)
        ]


class RefusedError(Exception):
    """An error as the API words it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        problem = {"domain": "usageLimits", "reason": reason, "message": message}
        self.body = {"error": {"errors": [problem], "code": code, "message": message}}


class Handler(BaseHTTPRequestHandler):
    """One connection; `drive` is set by `serve`."""

    protocol_version = "HTTP/1.1"
    drive: Drive

    def answer(self) -> None:
        """Dispatch any request."""
        address = urllib.parse.urlsplit(self.path)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(address.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            with self.drive.lock:
                self.route(address.path, query, body)
        except RefusedError as refusal:
            print(f"  refused: {refusal.code} {refusal}", flush=True)
            self.send(refusal.code, json.dumps(refusal.body).encode())

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  # names of the standard library

    def route(self, path: str, query: dict[str, str], body: bytes) -> None:
        print(f"{self.headers['Host']} {self.command} {path} {query.get('q', '')}", flush=True)
        if path == "/token":
            return self.token(body)
        if self.headers["Authorization"] != "Bearer token-of-an-hour":
            raise RefusedError(401, "authError", "Invalid Credentials")
        self.fail_on_purpose(path)
        if path.startswith("/upload/"):
            return self.upload(path, query, body)
        if path == "/drive/v2/files":
            return self.list(query) if self.command == "GET" else self.make_folder(json.loads(body))
        return self.one_file(path.removeprefix("/drive/v2/files/"), query)

    def token(self, body: bytes) -> None:
        """Exchange a signed claim for a token; the signature is checked."""
        assertion = urllib.parse.parse_qs(body.decode())["assertion"][0]
        signed, _, signature = assertion.rpartition(".")
        claim = json.loads(_decoded(signed.split(".")[1]))
        try:
            self.drive.key.verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
            known = claim["iss"] == EMAIL and "auth/drive" in claim["scope"] and self.drive.fault != "revoked"
        except InvalidSignature:
            known = False
        if not known:
            said = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return self.send(400, json.dumps(said).encode())
        token = {"access_token": "token-of-an-hour", "expires_in": 3600, "token_type": "Bearer"}
        return self.send(200, json.dumps(token).encode())

    def fail_on_purpose(self, path: str) -> None:
        fault, drive = self.drive.fault, self.drive
        if fault in ("no_quota", "read_only") and not path.startswith("/upload/"):
            return
        if fault in ("rate_limit", "internal") and drive.failures == 3:  # it passes
            return
        if fault in REASONS:
            drive.failures += 1
            raise RefusedError(*REASONS[fault])

    def list(self, query: dict[str, str]) -> None:
        if self.drive.shared_drive and query.get("driveId") != self.drive.shared_drive:
            return self.send(200, json.dumps({"kind": "drive#fileList", "items": []}).encode())
        found, start = self.drive.children(query["q"]), int(query.get("pageToken", 0))
        page: dict[str, Any] = {"kind": "drive#fileList"}
        page["items"] = [entry.described() for entry in found[start : start + PAGE]]
        if start + PAGE < len(found):
            page["nextPageToken"] = str(start + PAGE)
        return self.send(200, json.dumps(page).encode())

    def make_folder(self, wanted: dict[str, Any]) -> None:
        entry = self.drive.add(wanted["title"], self.parent_of(wanted), None)
        self.send(200, json.dumps(entry.described()).encode())

    def one_file(self, entry_id: str, query: dict[str, str]) -> None:
        entry = self.drive.entries.get(entry_id)
        describe = query.get("alt") != "media"
        hidden = describe and self.drive.shared_drive and query.get("supportsAllDrives", "").lower() != "true"
        if entry is None or self.drive.fault == "not_shared" or hidden:
            raise RefusedError(404, "notFound", f"File not found: {entry_id}")
        if describe:
            return self.send(200, json.dumps(entry.described()).encode())
        content = entry.content or b""
        if self.drive.fault == "corrupted":
            content = bytes([content[0] ^ 1]) + content[1:]
        return self.send_content(content)

    def send_content(self, content: bytes) -> None:
        """A file's bytes, or the part that a Range header asks for."""
        part = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if part is None:
            return self.send(200, content)
        if not content:
            return self.send(416, b"", {"Content-Range": "bytes */0"})
        first, last = int(part[1]), min(int(part[2] or len(content) - 1), len(content) - 1)
        return self.send(206, content[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    def upload(self, path: str, query: dict[str, str], body: bytes) -> None:
        """Open a resumable upload, or take a part of one."""
        drive = self.drive
        if path == "/upload/drive/v2/files":
            number = str(next(drive.numbers))
            drive.uploads[number] = (json.loads(body), bytearray())
            return self.send(200, b"", {"Location": f"https://{self.headers['Host']}/upload/session/{number}"})
        wanted, received = drive.uploads[path.rsplit("/", 1)[1]]
        received += body
        total = (self.headers.get("Content-Range") or "bytes */0").rsplit("/", 1)[1]
        if total == "*" or len(received) < int(total):
            return self.send(308, b"", {"Range": f"bytes=0-{len(received) - 1}"})
        entry = drive.add(wanted["title"], self.parent_of(wanted), bytes(received))
        return self.send(200, json.dumps(entry.described()).encode())

    def parent_of(self, wanted: dict[str, Any]) -> str:
        parent = str(wanted["parents"][0]["id"])
        if parent not in self.drive.entries:
            raise RefusedError(404, "notFound", f"File not found: {parent}")
        return parent

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (
            {"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})
        ).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def make_account(folder: Path) -> str:
    """Write key.json, ca.pem and server.pem to `folder`; return the text of the key file."""
    account = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    (folder / "public.pem").write_bytes(
        account.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    _make_certificates(folder)
    described = {"type": "service_account", "project_id": "drift-detector", "private_key_id": "1", "client_id": "1"}
    key = json.dumps(
        described
        | {"client_email": EMAIL, "private_key": _pem(account), "token_uri": "https://oauth2.googleapis.com/token"}
    )
    (folder / "key.json").write_text(key)
    return key


def serve(folder: Path, port: int, drive: Drive, host: str = "") -> ThreadingHTTPServer:
    """Open the server; the caller runs it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = ThreadingHTTPServer((host, port), type("Bound", (Handler,), {"drive": drive}))
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("account", type=Path)
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--objects", type=Path)
    parser.add_argument("--shared-drive")
    parser.add_argument("--fault", choices=FAULTS, default="")
    chosen = parser.parse_args()
    key = serialization.load_pem_public_key((chosen.account / "public.pem").read_bytes())
    assert isinstance(key, rsa.RSAPublicKey)
    drive = Drive(key, chosen.fault, chosen.shared_drive)
    drive.add("remote", None, None, ROOT_ID)
    if chosen.objects:
        drive.add_tree(chosen.objects)
    server = serve(chosen.account, chosen.port, drive)
    print("ready", flush=True)
    server.serve_forever()
    return 0


def _make_certificates(folder: Path) -> None:
    authority, server = (rsa.generate_private_key(public_exponent=65_537, key_size=2048) for _ in range(2))
    of_authority = _certificate("throw-away authority", authority, "throw-away authority", authority)
    of_server = _certificate("www.googleapis.com", server, "throw-away authority", authority)
    (folder / "ca.pem").write_bytes(of_authority.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(of_server.public_bytes(serialization.Encoding.PEM) + _pem(server).encode())


def _certificate(subject: str, key: rsa.RSAPrivateKey, issuer: str, signed_by: rsa.RSAPrivateKey) -> x509.Certificate:
    now, is_authority = datetime.datetime.now(datetime.UTC), subject == issuer
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    origin = x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key())
    builder = builder.add_extension(origin, critical=False)
    if not is_authority:
        names = x509.SubjectAlternativeName([x509.DNSName("*.googleapis.com")])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signed_by, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: rsa.RSAPrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


if __name__ == "__main__":
    sys.exit(main())
