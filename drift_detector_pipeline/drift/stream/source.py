"""What is known of one stream: bets, evidence of harm, dependence, the last bins; it goes into a file and back.

In: an image's bins, its predicted error, whether it was seen before. Out: which level is due. Read by the detector.
"""

import base64
import zlib
from collections import deque
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float64s, Labels
from drift_detector_pipeline.drift.stream.alarm import Alarm, Level, alarm_from, alarm_state
from drift_detector_pipeline.drift.stream.bets import Bets
from drift_detector_pipeline.drift.stream.dependence import FAR, Dependence
from drift_detector_pipeline.drift.stream.harm import Harm

REMEMBERED = 1024  # images, in which the beginning of a change is looked for
_BETS = ("balls", "tilted", "learned", "money")  # in another order of adding, `tilted` has other bits than `balls` give


class Row(NamedTuple):
    """An image, or one of a group, as the bets see it."""

    image: int  # its number, from 1
    bins: Labels  # (K,)
    risk: float  # predicted error; of a group the mean


class Group(NamedTuple):
    """Frames that count as one image."""

    key: str
    row: Row  # one of them, all equally likely
    frames: int
    risk: float  # their sum


class Source:
    """One stream. After a notice its bets rest until `restart`; whether it hurts is asked further."""

    def __init__(self, gaps: Labels, channels: int, limits: tuple[float, float, int]) -> None:
        self._gaps, self._channels, self._limits = gaps, channels, limits
        self.images = 0  # seen, ever
        self.group: Group | None = None
        self.dependence = Dependence()
        self.restart()

    def restart(self) -> None:
        """Begin anew, as after a change that was mended; images go on being counted."""
        self.level: Level = "quiet"
        self.bets, self.harm = Bets(self._gaps, self._channels), Harm(*self._limits)
        self.evidence: Float64s = np.zeros(self._channels)
        self.last = deque[Row](maxlen=REMEMBERED)
        self.alarm: Alarm | None = None  # the newest

    def rows_from(self, row: Row | None, key: str | None, luck: int) -> list[Row]:
        """Take an image of the group `key`, or None at the end; return what is complete by that: a group, the image.

        Of a group one frame is drawn, by `luck` in 0..2^32-1. Their mean would not do: it is less spread than images
        of the reference, and no longer exchangeable with them.
        """
        open_one = self.group
        if row is not None and key is not None and open_one is not None and open_one.key == key:
            frames = open_one.frames + 1
            kept = row if luck * frames < 2**32 else open_one.row
            self.group = Group(key, kept, frames, open_one.risk + row.risk)
            return []
        self.group = None if row is None or key is None else Group(key, row, 1, row.risk)
        closed = [] if open_one is None else [open_one.row._replace(risk=open_one.risk / open_one.frames)]
        return closed + ([row] if row is not None and key is None else [])

    def step(self, row: Row, threshold: float) -> Level | None:
        """Take a row; return the level that is due, if any."""
        if len(self.last) >= FAR:
            self.dependence.step(row.bins, self.last[-1].bins, self.last[-FAR].bins)
        self.last.append(row)
        hurts = self.harm.step(row.risk, self.dependence.block())
        if self.level == "quiet":
            self.evidence = self.bets.step(row.bins)
            if self.evidence.max() < threshold:
                return None
            self.level = "notice"
            self.harm.notice()
            return "notice"
        if self.level == "notice" and hurts:
            self.level = "alert"
            return "alert"
        return None

    def state(self) -> dict[str, Any]:
        """All that changes, as plain values."""
        rows = np.array([row.bins for row in self.last], dtype=np.uint8).reshape(-1, self._channels)
        return {
            "level": self.level, "images": self.images, "group": _group_state(self.group),
            "alarm": self.alarm and alarm_state(self.alarm),
            "bets": {name: _packed(getattr(self.bets, name)) for name in _BETS},
            "evidence": self.evidence.tolist(), "harm": self.harm.state(), "dependence": self.dependence.state(),
            "last": {"bins": _packed(rows), "images": _packed(np.array([row.image for row in self.last], np.int64)),
                "risks": [row.risk for row in self.last]},
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Undo `state`. Raises LookupError, TypeError or ValueError if it is none."""
        self.level, self.images = state["level"], state["images"]
        self.alarm = state["alarm"] and alarm_from(state["alarm"])
        self.group = _group_from(state["group"])
        for name in _BETS:
            kept = getattr(self.bets, name)
            kept[...] = _unpacked(state["bets"][name], np.float64).reshape(kept.shape)
        self.bets.total = float(self.bets.balls[0].sum())
        self.evidence = np.array(state["evidence"])
        self.harm.restore(state["harm"])
        self.dependence.restore(state["dependence"])
        last = state["last"]
        bins = _unpacked(last["bins"], np.uint8).reshape(-1, self._channels).astype(np.int64)
        rows = zip(_unpacked(last["images"], np.int64).tolist(), bins, last["risks"], strict=True)
        self.last = deque((Row(image, row, risk) for image, row, risk in rows), maxlen=REMEMBERED)


def _group_state(group: Group | None) -> dict[str, Any] | None:
    if group is None:
        return None
    row = group.row._replace(bins=group.row.bins.tolist())
    return group._asdict() | {"row": row._asdict()}


def _group_from(state: dict[str, Any] | None) -> Group | None:
    if state is None:
        return None
    row = Row(**state["row"])
    return Group(**state | {"row": row._replace(bins=np.array(row.bins, dtype=np.int64))})


def _packed(values: npt.NDArray[Any]) -> str:
    """An array's bytes, compressed, as text: to the bit, and a third of what digits take."""
    content = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(zlib.compress(content, 6)).decode("ascii")


def _unpacked(text: str, kind: Any) -> npt.NDArray[Any]:
    try:
        content = zlib.decompress(base64.b64decode(text, validate=True))
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return np.frombuffer(content, np.dtype(kind).newbyteorder("<")).astype(kind)
