"""Files for clouds and for several machines: valid by the types of whoever reads them, and of one mind with us.

Types of Cloud Build, Kubeflow Trainer and AWS are installed for developing. Those of Vertex AI, Azure ML, SkyPilot and
dstack are large: the tests that ask them are skipped where they are not there. None of this has run in a cloud.
"""

import base64
import json
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from conftest import ROOT, ci_environment, needs_clone

from drift_detector_pipeline.config import load
from drift_detector_pipeline.deploy.cloud_secret import split_words
from drift_detector_pipeline.errors import ConfigError

DEPLOY = ROOT / "deploy"
pytestmark = needs_clone


def read(name):
    """The documents of a file."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def test_cloud_build_s_own_message_takes_its_file_and_no_misspelt_key():
    builds = pytest.importorskip("google.cloud.devtools.cloudbuild_v1", reason="installed for developing")
    [described] = read("google/cloudbuild.yaml")
    build = builds.Build.from_json(json.dumps(described), ignore_unknown_fields=False)
    assert [step.id for step in build.steps] == ["training", "service"]
    assert all((ROOT / step.args[step.args.index("--file") + 1]).is_file() for step in build.steps)
    tags = [step.args[step.args.index("--tag") + 1] for step in build.steps]
    assert tags == list(build.images)
    with pytest.raises(Exception, match="stepz"):
        builds.Build.from_json(json.dumps(described | {"stepz": []}), ignore_unknown_fields=False)
    used = set(re.findall(r"\$\{(_\w+)\}", (DEPLOY / "google" / "cloudbuild.yaml").read_text()))
    assert used == described["substitutions"].keys()


def test_vertex_ai_s_own_message_takes_its_job():
    vertex = pytest.importorskip("google.cloud.aiplatform_v1", reason="large: google-cloud-aiplatform")
    from google.protobuf.json_format import ParseDict

    [described] = read("google/vertex_job.yaml")
    job = ParseDict(described, vertex.CustomJobSpec.pb(vertex.CustomJobSpec()))
    assert job.worker_pool_specs[0].machine_spec.accelerator_count == 1


def test_aws_batch_s_own_model_takes_its_job_and_no_misspelt_key():
    session = pytest.importorskip("botocore.session", reason="comes with dvc[s3]").get_session()
    validator = pytest.importorskip("botocore.validate").ParamValidator()
    described = json.loads((DEPLOY / "aws" / "batch_job_definition.json").read_text())
    shape = session.get_service_model("batch").operation_model("RegisterJobDefinition").input_shape
    assert not validator.validate(described, shape).has_errors()
    described["containerProperties"]["secretz"] = []
    assert "secretz" in validator.validate(described, shape).generate_report()


def test_kubeflow_s_own_types_take_its_job_and_lose_nothing_of_it():
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="installed for developing")
    runtime, job = read("machines/kubeflow.yaml")
    for kind, described in ((models.TrainerV1alpha1TrainingRuntime, runtime), (models.TrainerV1alpha1TrainJob, job)):
        assert kind.from_dict(described).to_dict() == described  # what it does not know would be gone
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]


def test_azure_ml_s_own_schema_takes_its_job():
    ml = pytest.importorskip("azure.ai.ml", reason="large: azure-ai-ml")
    job = ml.load_job(DEPLOY / "azure" / "ml_job.yaml")
    assert (job.type, job.outputs["kept"].mode) == ("command", "rw_mount")


def test_skypilot_s_own_schema_takes_its_task():
    schemas = pytest.importorskip("sky.utils.schemas", reason="large: skypilot")
    import jsonschema

    [described] = read("machines/skypilot.yaml")
    jsonschema.validate(described, schemas.get_task_schema())


def test_dstack_s_own_types_take_its_task():
    types = pytest.importorskip("dstack._internal.core.models.configurations", reason="large: dstack")
    [described] = read("machines/dstack.yml")
    assert types.parse_run_configuration(described).type == "task"


def test_the_batch_script_of_slurm_is_sound_and_asks_for_what_there_is():
    path = DEPLOY / "machines" / "slurm.sbatch"
    assert subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=True).stderr == ""
    asked = re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", path.read_text(), re.MULTILINE)
    known = {"job-name", "nodes", "ntasks-per-node", "cpus-per-task", "mem", "time", "signal", "requeue", "open-mode",
             "output"}  # fmt: skip
    assert {name for name, _ in asked} == known
    assert len(asked) == path.read_text().count("#SBATCH --") - 1  # one stands in a remark


def commands():
    """What each file trains with: the words after the program that trains."""
    [vertex], [azure], [sky], [dstack] = map(
        read, ("google/vertex_job.yaml", "azure/ml_job.yaml", "machines/skypilot.yaml", "machines/dstack.yml")
    )
    batch = json.loads((DEPLOY / "aws" / "batch_job_definition.json").read_text())["containerProperties"]
    found = {
        "vertex": vertex["workerPoolSpecs"][0]["containerSpec"]["args"][-1],
        "aws": batch["command"][-1],
        "azure": azure["command"],
        "skypilot": sky["run"],
        "dstack": dstack["commands"][-1],
        "kubeflow": " ".join(["make train", *read("machines/kubeflow.yaml")[1]["spec"]["trainer"]["args"]]),
    }
    return {name: re.split(r"(?:make|drift-pipeline) train", text)[1] for name, text in found.items()}


@pytest.mark.parametrize("name", sorted(commands()) if DEPLOY.exists() else [])
def test_each_trains_with_settings_that_there_are_and_goes_on_where_a_machine_was_taken_away(name):
    words = shlex.split(commands()[name].replace("ARGS=", ""))
    words = words[0].split() if len(words) == 1 else words
    settings = load(words).settings
    assert (settings.run.resume, settings.run.threads) == ("auto", 8)


def test_no_file_holds_a_secret_or_somebodys_name():
    for path in [*(DEPLOY / "google").iterdir(), *(DEPLOY / "aws").iterdir(), *(DEPLOY / "azure").iterdir(),
                 *(DEPLOY / "machines").iterdir()]:  # fmt: skip
        assert not re.search(r"\b[0-9a-f]{32,}\b|\b\d{12}\b|AKIA|hf_\w{20}|[\w.]+@(?!PROJECT)\w+\.\w", path.read_text())


class _Google(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.endswith("/default/token") and self.headers["Metadata-Flavor"] == "Google":
            answer = {"access_token": "t0ken"}
        elif self.path == "/v1/projects/p/secrets/key/versions/latest:access":
            allowed = self.headers["Authorization"] == "Bearer t0ken"
            answer = {"payload": {"data": base64.b64encode("s3cret, ü".encode()).decode()}} if allowed else {}
        else:
            answer = {}
        content = json.dumps(answer).encode()
        self.send_response(200 if answer else 403)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *ignored):
        pass


def test_a_secret_reaches_the_environment_of_one_command_and_a_refusal_is_explained():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Google)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    environment = ci_environment() | {"GCE_METADATA_HOST": host,
                                      "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"http://{host}/"}  # fmt: skip
    start = [sys.executable, "-m", "drift_detector_pipeline.deploy.cloud_secret"]
    show = [sys.executable, "-c", "import os; print(os.environ['KEY'], end='')"]
    for secret, status, said in (("key", 0, "s3cret, ü"), ("other", 1, "")):
        words = [*start, f"KEY=projects/p/secrets/{secret}/versions/latest", "--", *show]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (status, said)
        assert ("secretAccessor" in done.stderr) == (status == 1)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("words", [["KEY=mine", "--", "x"], ["KEY=projects/p/secrets/s/versions/1"], ["--"]])
def test_words_that_name_no_secret_or_no_command_are_refused(words):
    with pytest.raises(ConfigError, match="expected NAME="):
        split_words(words)
