"""Windows of the log -> verdicts, beside the requests and never in their way.

In: rows of the log and, if they are kept, the newest crops. Out: counted verdicts, in the log and as metrics; looks on
demand. One thread, of lower priority where the system has such.
"""

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.serving.engine import Engine
from drift_detector_pipeline.serving.metrics import Metrics
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings import Serving


class Judge:
    def __init__(self, log: RequestLog, metrics: Metrics, settings: Serving) -> None:
        self.log = log

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def follow(self, engine: Engine) -> None: ...
    def saw(self, engine: Engine, source: str, sha256: bytes, crop: Pixels) -> None: ...
