"""Tell whether a text is a service account's key for Google Drive, and whose.

In: the text of a key file. Out: the account's e-mail, or a `DataError` that never repeats any of the key. Read by
remote.py before dvc starts and by deploy/entrypoint.py when a container starts.
"""

import json

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.json_files import parsed

GUIDE = "see docs/data_remotes.md"
_NEEDED = ("client_email", "private_key", "token_uri")


def account_of(key: str, origin: str) -> str:
    """Return the e-mail address in a key file's text; `origin` is what messages call it.

    Raises DataError if it is not JSON, no service account's key, or its private key is cut or altered.
    """
    try:
        fields = parsed(key)
    except ValueError as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "its encoding"
        raise DataError(f"{origin} is not JSON ({where}); paste the whole key file; {GUIDE}") from None
    if not isinstance(fields, dict) or not all(isinstance(fields.get(name), str) for name in _NEEDED):
        raise DataError(f"{origin} is JSON but no service account's key (no {', '.join(_NEEDED)}); {GUIDE}")
    try:
        load_pem_private_key(fields["private_key"].encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # cryptography's own words may quote what it was given
        raise DataError(f"{origin}: its private_key is damaged; paste the whole key file; {GUIDE}") from None
    return str(fields["client_email"])
