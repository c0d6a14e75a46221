"""Descriptions for Kubernetes, KServe, Cloud Run and Azure: valid, strictly, and of one mind with the service."""

import copy
import json
import shutil
import subprocess
import sys

import jsonschema
import pytest
import yaml
from conftest import ROOT, needs_clone

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.lifecycle.watching.notify import COMMAND_S, WEBHOOK_S
from drift_detector_pipeline.serving.__main__ import _FINISH_S
from drift_detector_pipeline.settings_in_use import Monitor, Serving

DEPLOY = ROOT / "deploy"
CRON = DEPLOY / "monitor_cronjob.yaml"
PLAIN = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
TEXT, NUMBER, YES_OR_NO, LIST = ({"type": kind} for kind in ("string", "integer", "boolean", "array"))

pytestmark = needs_clone


def only(required="", **properties):
    """The schema of an object with these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


SECONDS = {"type": "string", "pattern": "^[0-9]+s$"}
METADATA = only("name", name=TEXT, annotations={"type": "object", "additionalProperties": TEXT})
FORMAT = only("name", name=TEXT, version=TEXT, autoSelect=YES_OR_NO)
# What of the custom kinds is used here, as their definitions have it; Kubernetes' own schema checks the pods in them.
CUSTOM = {
    "ServingRuntime": only(
        "apiVersion kind metadata spec",
        apiVersion={"const": "serving.kserve.io/v1alpha1"},
        kind=TEXT,
        metadata=METADATA,
        spec=only(
            "containers",
            supportedModelFormats={"type": "array", "items": FORMAT},
            protocolVersions={"type": "array", "items": {"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]}},
            containers=LIST,
            volumes=LIST,
        ),
    ),
    "InferenceService": only(
        "apiVersion kind metadata spec",
        apiVersion={"const": "serving.kserve.io/v1beta1"},
        kind=TEXT,
        metadata=METADATA,
        spec=only(
            "predictor",
            predictor=only(
                "model",
                minReplicas=NUMBER,
                maxReplicas=NUMBER,
                containerConcurrency=NUMBER,
                timeout=NUMBER,
                terminationGracePeriodSeconds=NUMBER,
                automountServiceAccountToken=YES_OR_NO,
                model=only("modelFormat", modelFormat=FORMAT, runtime=TEXT, protocolVersion=TEXT, storageUri=TEXT),
            ),
        ),
    ),
    "RunMonitoring": only(  # as the types of its reader, run-gmp-sidecar, have it
        "apiVersion kind metadata spec",
        apiVersion={"const": "monitoring.googleapis.com/v1beta"},
        kind=TEXT,
        metadata=METADATA,
        spec=only(
            "endpoints",
            endpoints={
                "type": "array",
                "items": only("port interval", port=NUMBER, path=TEXT, interval=SECONDS, timeout=SECONDS),
            },
            targetLabels=only(
                "metadata",
                metadata={"type": "array", "items": {"enum": ["instance", "revision", "service", "configuration"]}},
            ),
        ),
    ),
    "Service": only(  # Knative's, as Cloud Run reads it
        "apiVersion kind metadata spec",
        apiVersion={"const": "serving.knative.dev/v1"},
        kind=TEXT,
        metadata=METADATA,
        spec=only(
            "template",
            template=only(
                "spec",
                metadata=only(annotations={"type": "object", "additionalProperties": TEXT}),
                spec=only(
                    "containers",
                    containerConcurrency=NUMBER,
                    timeoutSeconds=NUMBER,
                    serviceAccountName=TEXT,
                    containers=LIST,
                    volumes=LIST,
                ),
            ),
        ),
    ),
}
PROBE = only(
    "type httpGet",
    type={"enum": ["Liveness", "Readiness", "Startup"]},
    httpGet=only("path port", path=TEXT, port=NUMBER),
    periodSeconds={"type": "integer", "minimum": 1, "maximum": 240},
    timeoutSeconds={"type": "integer", "minimum": 1, "maximum": 240},
    failureThreshold={"type": "integer", "minimum": 1, "maximum": 10},
    initialDelaySeconds={"type": "integer", "minimum": 1, "maximum": 60},
)
AZURE = only(
    "type location properties",
    type={"const": "Microsoft.App/containerApps"},
    location=TEXT,
    identity=only("type", type=TEXT),
    properties=only(
        "environmentId configuration template",
        environmentId=TEXT,
        configuration=only(
            activeRevisionsMode={"enum": ["Single", "Multiple"]},
            ingress=only("targetPort", external=YES_OR_NO, targetPort=NUMBER, transport=TEXT, allowInsecure=YES_OR_NO),
            secrets={"type": "array", "items": only("name", name=TEXT, keyVaultUrl=TEXT, identity=TEXT)},
        ),
        template=only(
            "containers scale",
            terminationGracePeriodSeconds={"type": "integer", "maximum": 600},
            containers={
                "type": "array",
                "items": only(
                    "name image",
                    name=TEXT,
                    image=TEXT,
                    args=LIST,
                    env={"type": "array", "items": only("name", name=TEXT, value=TEXT, secretRef=TEXT)},
                    resources=only("cpu memory", cpu={"type": "number"}, memory=TEXT),
                    probes={"type": "array", "items": PROBE},
                    volumeMounts={
                        "type": "array",
                        "items": only("volumeName mountPath", volumeName=TEXT, mountPath=TEXT),
                    },
                ),
            },
            volumes={
                "type": "array",
                "items": only("name storageType", name=TEXT, storageType=TEXT, storageName=TEXT),
            },
            scale=only(
                minReplicas=NUMBER,
                maxReplicas=NUMBER,
                rules={
                    "type": "array",
                    "items": only("name", name=TEXT, http=only(metadata=only(concurrentRequests=TEXT))),
                },
            ),
        ),
    ),
)


def documents(name):
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def one(name, kind):
    return next(found for found in documents(name) if found["kind"] == kind)


def kubernetes_says(path):
    """What is wrong with a file of Kubernetes' own kinds. `--strict` must come first, or typing errors pass."""
    pytest.importorskip("kubernetes_validate")
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


# Below these people choose the keys.
FREE = ("labels", "matchLabels", "selector", "annotations", "limits", "requests", "volumeAttributes")


def misspelt(found, path=()):
    """Where a document has keys that could be misspelt."""
    if isinstance(found, dict):
        for key, value in found.items():
            if path:
                yield (*path, key)
            if key not in FREE:
                yield from misspelt(value, (*path, key))
    elif isinstance(found, list):
        for place, value in enumerate(found):
            yield from misspelt(value, (*path, place))


def with_another_key(found, path):
    changed = copy.deepcopy(found)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1] + "x"] = place.pop(path[-1])
    return changed


@pytest.mark.parametrize("path", [*PLAIN, CRON], ids=lambda path: path.name)
def test_kubernetes_own_kinds_are_valid_strictly(path):
    assert kubernetes_says(path) == ""


@pytest.mark.slow
@pytest.mark.parametrize("path", [*PLAIN, CRON], ids=lambda path: path.name)
def test_any_misspelt_key_is_found(path, tmp_path):
    """Every key in turn, but those that people name themselves."""
    validate = pytest.importorskip("kubernetes_validate")
    for document in yaml.safe_load_all(path.read_text()):
        for place in misspelt(document):
            with pytest.raises((validate.ValidationError, validate.InvalidSchemaError, KeyError)):
                validate.validate(with_another_key(document, place), "1.37", strict=True)
                pytest.fail(f"{document['kind']} {place}")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("kserve.yaml", "ServingRuntime"),
        ("kserve.yaml", "InferenceService"),
        ("cloud_run.yaml", "Service"),
        ("google/run_monitoring.yaml", "RunMonitoring"),
    ],
)
def test_custom_kinds_are_valid_and_so_are_the_pods_in_them(name, kind, tmp_path):
    document = one(name, kind)
    jsonschema.validate(document, CUSTOM[kind])
    for place in misspelt({key: document[key] for key in ("metadata", "spec")}):
        if "containers" not in place[:-1] and "volumes" not in place[:-1]:
            changed = with_another_key(document, place)
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(changed, CUSTOM[kind])
                pytest.fail(str(place))
    pod = document["spec"].get("template", document)["spec"]
    if "containers" in pod:
        spec = {key: pod[key] for key in ("containers", "volumes")}
        described = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
        (tmp_path / "pod.yaml").write_text(yaml.safe_dump(described))
        assert kubernetes_says(tmp_path / "pod.yaml") == ""


def test_azure_s_description_is_valid_and_a_misspelt_key_is_not():
    [document] = documents("azure_container_app.yaml")
    jsonschema.validate(document, AZURE)
    for place in misspelt(document):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(with_another_key(document, place), AZURE)
            pytest.fail(str(place))


def test_the_kustomization_holds_all_of_it_under_the_image_that_it_names():
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    command = ["kubectl", "kustomize", str(DEPLOY / "kubernetes")]
    built = list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert len(built) == sum(len(documents(path)) for path in PLAIN)
    deployments = [found for found in built if found["kind"] == "Deployment"]
    containers = [found["spec"]["template"]["spec"]["containers"][0] for found in deployments]
    assert {one["name"] for one in containers} == {"monitor", "service"}
    assert {one["image"] for one in containers} == {"registry.example.com/drift-detector-service:0.1.0"}


def words(container):
    """The settings that a container is started with."""
    given = [word for word in container["args"] if word.startswith("serving.")]
    return load_section(Serving, given)


def test_a_pod_is_given_the_time_that_a_service_takes_to_end():
    pod = one("kubernetes/service.yaml", "Deployment")["spec"]["template"]["spec"]
    runtime = one("kserve.yaml", "ServingRuntime")["spec"]
    predictor = one("kserve.yaml", "InferenceService")["spec"]["predictor"]
    azure = documents("azure_container_app.yaml")[0]["properties"]["template"]
    for container, given in (
        (pod["containers"][0], pod["terminationGracePeriodSeconds"]),
        (runtime["containers"][0], predictor["terminationGracePeriodSeconds"]),
        (azure["containers"][0], azure["terminationGracePeriodSeconds"]),
    ):
        settings = words(container)
        assert given > settings.drain_s + _FINISH_S
        assert settings.drain_s >= 2 * 2 + 1  # two failed looks at /ready, two seconds apart, and their spread


def test_what_sends_requests_sends_no_more_than_a_service_takes():
    settings = load_section(Serving, [])
    assert one("cloud_run.yaml", "Service")["spec"]["template"]["spec"]["containerConcurrency"] == settings.in_flight
    assert one("kserve.yaml", "InferenceService")["spec"]["predictor"]["containerConcurrency"] == settings.in_flight
    [rule] = documents("azure_container_app.yaml")[0]["properties"]["template"]["scale"]["rules"]
    assert int(rule["http"]["metadata"]["concurrentRequests"]) < settings.in_flight


def test_the_collector_on_cloud_run_is_told_where_the_service_has_its_numbers():
    run = one("cloud_run.yaml", "Service")["spec"]["template"]
    service, collector = run["spec"]["containers"]
    [endpoint] = one("google/run_monitoring.yaml", "RunMonitoring")["spec"]["endpoints"]
    assert [port["containerPort"] for port in service["ports"]] == [endpoint["port"]]
    assert "ports" not in collector  # only one container of Cloud Run may have some
    assert int(endpoint["timeout"][:-1]) <= int(endpoint["interval"][:-1])
    text = (ROOT / "drift_detector_pipeline" / "serving" / "app.py").read_text()
    assert f'@app.get("{endpoint["path"]}"' in text
    annotations = run["metadata"]["annotations"]
    assert json.loads(annotations["run.googleapis.com/container-dependencies"]) == {"collector": ["service"]}
    [mount] = collector["volumeMounts"]
    [volume] = [one for one in run["spec"]["volumes"] if one["name"] == mount["name"]]
    assert (mount["mountPath"], volume["secret"]["items"][0]["path"]) == ("/etc/rungmp", "config.yaml")  # all it opens


def test_containers_may_do_as_little_as_possible():
    pods = [one(f"kubernetes/{name}.yaml", "Deployment")["spec"]["template"]["spec"] for name in ("service", "monitor")]
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        security = pod["securityContext"]
        assert security["runAsNonRoot"] and security["seccompProfile"] == {"type": "RuntimeDefault"}
    alone = one("kserve.yaml", "ServingRuntime")["spec"]["containers"][0]
    for container in (*(pod["containers"][0] for pod in pods), alone):
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_probes_ask_what_the_service_answers():
    from drift_detector_pipeline.serving.admission import _OPEN

    names = ("kubernetes/service.yaml", "kserve.yaml", "cloud_run.yaml", "azure_container_app.yaml")
    text = "".join((DEPLOY / name).read_text() for name in names)
    asked = {line.split("path: ")[1].split(",")[0] for line in text.splitlines() if "httpGet" in line}
    assert asked == {"/ready", "/health", "/v2/health/ready", "/v2/health/live"}
    assert asked <= set(_OPEN)


def test_a_monitor_once_a_minute_looks_once_and_is_otherwise_the_one_that_stays():
    job = one("monitor_cronjob.yaml", "CronJob")["spec"]
    pod = job["jobTemplate"]["spec"]["template"]
    stays = one("kubernetes/monitor.yaml", "Deployment")["spec"]["template"]
    [container], [other] = (found["spec"]["containers"] for found in (pod, stays))
    assert load_section(Monitor, container["args"]).once and job["concurrencyPolicy"] == "Forbid"
    assert pod["metadata"]["labels"] == stays["metadata"]["labels"]  # which its network policy asks for
    for key in ("image", "command", "env", "securityContext", "resources", "volumeMounts"):
        assert container[key] == other[key]
    for key in ("automountServiceAccountToken", "securityContext", "volumes"):
        assert pod["spec"][key] == stays["spec"][key]


def test_one_monitor_starts_with_settings_that_there_are_and_is_asked_where_it_answers():
    deployment = one("kubernetes/monitor.yaml", "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    settings = load_section(Monitor, container["args"])
    assert settings.metrics_port == container["ports"][0]["containerPort"] and settings.metrics_host == "0.0.0.0"
    assert deployment["spec"]["replicas"] == 1 and deployment["spec"]["strategy"] == {"type": "Recreate"}
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert f"{settings.models_path}/artefact" in mounted
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > COMMAND_S + WEBHOOK_S
