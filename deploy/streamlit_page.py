"""A page for those whose course asks for Streamlit: `python deploy/streamlit_page.py`, beside a running `make serve`.

BACKEND_URL=http://127.0.0.1:8000 (or SERVICE=...) says where that is, SERVING_KEY a key if it wants one. The service's
own page at / does more and is one process less. Streamlit's reports of usage are off: start it by this file.
"""

import json
import os
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable
from typing import Any

import streamlit
from streamlit import runtime
from streamlit.web import bootstrap

SERVICE = (os.environ.get("BACKEND_URL") or os.environ.get("SERVICE") or "http://127.0.0.1:8000").rstrip("/")
SURE = 0.5  # score from which on a box counts
VIDEOS = ("mp4", "webm", "mov")
TIMEOUT_S = 120  # a video takes as long as its frames


def ask(path: str, body: bytes | None = None) -> dict[str, Any]:
    """Ask the service; a problem is a dict with `title` and `detail`."""
    headers = {"Authorization": f"Bearer {os.environ['SERVING_KEY']}"} if "SERVING_KEY" in os.environ else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(SERVICE + path, body, headers), timeout=TIMEOUT_S) as answer:
            return json.load(answer)  # type: ignore[no-any-return]
    except urllib.error.HTTPError as problem:
        return json.load(problem)  # type: ignore[no-any-return]
    except OSError as error:
        return {"title": f"{SERVICE} does not answer", "detail": f"{error}; start it: make serve"}


def picture(file: Any) -> None:
    """The image or video itself; an array of frames has none."""
    ending = file.name.rpartition(".")[2].lower()
    if ending in VIDEOS:
        streamlit.video(file.getvalue())
    elif ending != "npz":
        streamlit.image(file.getvalue(), width=240)


def answer(said: dict[str, Any]) -> None:
    """Labels as bars, a clip's seconds as a table, things and frames as numbers."""
    if "top3" in said:
        streamlit.subheader(said["label"])  # which a threshold of the service may decide, not the longest bar
    for one in said.get("top3", []):
        streamlit.progress(one["probability"], f"{one['label']}: {one['probability']:.1%}")
    if timeline := said.get("timeline"):
        chances = (f"{one['probability']:.1%}" for one in timeline)
        rows = zip((one["second"] for one in timeline), (one["label"] for one in timeline), chances, strict=True)
        streamlit.table([dict(zip(("from second", "label", "probability"), row, strict=True)) for row in rows])
    if "boxes" in said:
        streamlit.write("found: " + counted(box["label"] for box in said["boxes"] if box["score"] >= SURE))
    elif isinstance(frames := said.get("frames"), list):  # of a video, frame by frame
        things = {box["track"]: box["label"] for one in frames for box in one.get("boxes") or [] if box["track"]}
        labels = things.values() if "boxes" in frames[0] else [one["label"] for one in frames]
        streamlit.write(("things: " if "boxes" in frames[0] else "frames: ") + counted(labels))


def counted(labels: Iterable[str]) -> str:
    """How many of each."""
    return ", ".join(f"{name} {count}" for name, count in sorted(Counter(labels).items())) or "nothing"


def page() -> None:
    """Uploads, their likeliest classes or how many things are found, and what is known of drift."""
    streamlit.title("What is on this image, or in this video?")
    kinds = ["jpg", "jpeg", "png", "webp", "npz", *VIDEOS]
    for file in streamlit.file_uploader("Images or short videos", kinds, accept_multiple_files=True) or []:
        picture(file)
        said = ask("/predict", file.getvalue())
        if "answers" not in said:
            streamlit.error(f"{said['title']}: {said['detail']}")
        else:
            answer(said["answers"][0])
    streamlit.header("Does the world still look as in training?")
    drift = ask("/drift")
    newest = drift.get("newest")
    for sentence in newest["summary"] if newest else [drift.get("detail", "No verdict yet: it takes a whole window.")]:
        streamlit.write(sentence)


if runtime.exists():
    page()
elif __name__ == "__main__":
    options = {"browser.gatherUsageStats": False, "server.address": "127.0.0.1", "server.headless": True}
    bootstrap.load_config_options(options | {"server.port": int(os.environ.get("PORT", "8501"))})
    bootstrap.run(__file__, False, [], {})
