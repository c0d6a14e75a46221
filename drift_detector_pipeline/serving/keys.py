"""Who may ask: keys from the environment, compared by hash in the same time whether they fit or not.

In: SERVING_API_KEYS (several, separated by commas) and SERVING_ADMIN_KEY. Out: whether a request's key opens a door.
Read by admission.py.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

_BEARER = b"bearer "


class Keys(NamedTuple):
    """SHA-256 of the keys; no keys at all: everybody may ask, and nobody may change the model."""

    ask: tuple[bytes, ...]
    admin: bytes | None

    def may_ask(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether requests with these headers are answered."""
        return not self.ask or _is_one_of(headers, (*self.ask, *self._admins()))

    def may_change(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether requests with these headers may exchange the model."""
        return _is_one_of(headers, self._admins())

    def _admins(self) -> tuple[bytes, ...]:
        return () if self.admin is None else (self.admin,)


def keys_of(environment: Mapping[str, str]) -> Keys:
    """Read both variables; an empty one counts as none."""
    several = [key.strip() for key in environment.get("SERVING_API_KEYS", "").split(",")]
    admin = environment.get("SERVING_ADMIN_KEY", "").strip()
    return Keys(tuple(_hash(key.encode()) for key in several if key), _hash(admin.encode()) if admin else None)


def _is_one_of(headers: Mapping[bytes, bytes], known: tuple[bytes, ...]) -> bool:
    given = headers.get(b"x-api-key", b"")
    bearer = headers.get(b"authorization", b"")
    if not given and bearer.lower().startswith(_BEARER):
        given = bearer[len(_BEARER) :].strip()
    found = _hash(given)
    fits = [hmac.compare_digest(found, one) for one in known]  # all of them, so that time tells nothing
    return any(fits)


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
