"""Nobody is told that a model answers: whoever would be is reached through a proxy here, which listens."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from drift_detector_pipeline.release import executable

ANSWER = """
import sys, time
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"]
graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString())
session.run(["b"], {"a": numpy.ones(1, numpy.float32)})
time.sleep(8)  # it tells after some seconds
"""


@pytest.mark.slow
def test_onnx_runtime_tells_nobody_that_it_answers(tmp_path: Path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = "http://{}:{}".format(*proxy.getsockname())
        environment = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
        environment |= {"HOME": str(tmp_path), "HTTPS_PROXY": address, "https_proxy": address}
        loaded = f"import {executable.__name__}\n"
        subprocess.run([sys.executable, "-c", loaded + ANSWER], env=environment, check=True, timeout=120)
        proxy.settimeout(0.1)
        with pytest.raises(TimeoutError):
            proxy.accept()
    assert list(tmp_path.rglob("*")) == []
