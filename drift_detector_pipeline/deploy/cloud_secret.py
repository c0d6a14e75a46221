"""Secrets of Google Cloud for a command: `python -m drift_detector_pipeline.deploy.cloud_secret NAME=VERSION -- WORDS`.

In: names of variables, each with a version in Secret Manager (projects/P/secrets/S/versions/latest). Out: the command
WORDS, in this process's place, with those variables. Jobs of Vertex AI take no secrets by themselves, and whoever may
list jobs can read what stands in their description. The machine's own account asks; nothing is written anywhere.
"""

import base64
import json
import os
import re
import sys
import urllib.request
from collections.abc import Sequence
from typing import Any

from drift_detector_pipeline.errors import ConfigError, exit_status

_VERSION = re.compile(r"([A-Za-z_]\w*)=(projects/[\w:.-]+/secrets/[\w-]+/versions/\w+)")
_TIMEOUT_S = 20


@exit_status
def main() -> int:
    """Fetch the secrets, then become the command."""
    names, command = split_words(sys.argv[1:])
    fetched = {name: fetch_secret(version) for name, version in names.items()}
    os.execvpe(command[0], list(command), os.environ | fetched)  # noqa: S606  # the job's own words


def split_words(words: Sequence[str]) -> tuple[dict[str, str], Sequence[str]]:
    """Variables with their versions, and the command after `--`. Raises ConfigError if a word is neither."""
    end = list(words).index("--") if "--" in words else len(words)
    found = [_VERSION.fullmatch(word) for word in words[:end]]
    if wrong := [word for word, match in zip(words, found, strict=False) if match is None]:
        raise ConfigError(f"{wrong[0]}: expected NAME=projects/PROJECT/secrets/SECRET/versions/latest")
    if not words[end + 1 :]:
        raise ConfigError("no command after the secrets; expected NAME=VERSION ... -- COMMAND")
    return {match[1]: match[2] for match in found if match}, words[end + 1 :]


def fetch_secret(version: str) -> str:
    """The text of a version. Raises ConfigError if the machine's account may not read it, or there is none."""
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")  # as Google's own libraries have it
    secrets = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", "https://secretmanager.googleapis.com/")
    account = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    try:
        token = _ask(account, {"Metadata-Flavor": "Google"})["access_token"]
        answer = _ask(f"{secrets}v1/{version}:access", {"Authorization": f"Bearer {token}"})
        return base64.b64decode(answer["payload"]["data"]).decode()
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"{version}: cannot be read ({error}); the job's service account needs roles/secretmanager.secretAccessor"
        ) from error


def _ask(address: str, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(address, headers=headers)  # noqa: S310  # the addresses above
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
