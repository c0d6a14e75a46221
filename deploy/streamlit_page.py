"""A page for those whose course asks for Streamlit: `python deploy/streamlit_page.py`, beside a running `make serve`.

SERVICE=http://127.0.0.1:8000 says where that is, SERVING_KEY a key if it wants one. The service's own page at / does
more and is one process less. Streamlit's reports of usage are off: start it by this file.
"""

import json
import os
import urllib.error
import urllib.request
from typing import Any

import streamlit
from streamlit import runtime
from streamlit.web import bootstrap

SERVICE = os.environ.get("SERVICE", "http://127.0.0.1:8000")


def ask(path: str, body: bytes | None = None) -> dict[str, Any]:
    """Ask the service; a problem is a dict with `title` and `detail`."""
    headers = {"Authorization": f"Bearer {os.environ['SERVING_KEY']}"} if "SERVING_KEY" in os.environ else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(SERVICE + path, body, headers), timeout=30) as answer:
            return json.load(answer)  # type: ignore[no-any-return]
    except urllib.error.HTTPError as problem:
        return json.load(problem)  # type: ignore[no-any-return]
    except OSError as error:
        return {"title": f"{SERVICE} does not answer", "detail": f"{error}; start it: make serve"}


def page() -> None:
    """One upload, its three likeliest classes, and what is known of drift."""
    streamlit.title("What is on this image?")
    for file in streamlit.file_uploader("Images", ["jpg", "jpeg", "png", "webp"], accept_multiple_files=True) or []:
        streamlit.image(file.getvalue(), width=240)
        said = ask("/predict", file.getvalue())
        if "answers" not in said:
            streamlit.error(f"{said['title']}: {said['detail']}")
            continue
        for one in said["answers"][0]["top3"]:
            streamlit.progress(one["probability"], f"{one['label']}: {one['probability']:.1%}")
    streamlit.header("Does the world still look as in training?")
    drift = ask("/drift")
    newest = drift.get("newest")
    streamlit.write(newest["summary"] if newest else drift.get("detail", "No verdict yet: it takes a whole window."))


if runtime.exists():
    page()
elif __name__ == "__main__":
    options = {"browser.gatherUsageStats": False, "server.address": "127.0.0.1", "server.headless": True}
    bootstrap.load_config_options(options | {"server.port": int(os.environ.get("PORT", "8501"))})
    bootstrap.run(__file__, False, [], {})
