"""Prometheus, Alertmanager and Grafana's dashboard: rules as simulated series, and all of it on a real service."""

import contextlib
import copy
import json
import re
import shutil
import socket
import subprocess
import sys
import time

import httpx
import pytest
import yaml
from conftest import ROOT, module_command, needs_clone
from running import process
from small_artefact import png, world

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.settings_in_use import Monitor

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "drift.json"

pytestmark = needs_clone


def program(*names):
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"needs {names[0]}: apt-get install prometheus prometheus-alertmanager")
    return found


def run(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def read(path):
    return yaml.safe_load(path.read_text())


def alerts():
    return [rule for group in read(RULES)["groups"] for rule in group["rules"]]


def expressions():
    """What the dashboard asks, by panel and letter; its window of time is a minute."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "1m")
        for panel in panels
        for target in panel["targets"]
    }


def test_what_prometheus_and_alertmanager_read_is_valid():
    for command in (
        [program("promtool"), "check", "config", DEPLOY / "prometheus" / "prometheus.yml"],
        [program("promtool"), "check", "rules", RULES],
        [program("amtool"), "check-config", DEPLOY / "alertmanager.yml"],
    ):
        done = run(*command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_raised_and_not_raised_by_simulated_series():
    done = run(program("promtool"), "test", "rules", RULES.with_name("rules_test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    cases = [one for test in read(RULES.with_name("rules_test.yml"))["tests"] for one in test["alert_rule_test"]]
    for name in (rule["alert"] for rule in alerts()):
        assert {bool(one["exp_alerts"]) for one in cases if one["alertname"] == name} == {True, False}, name


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("DriftAlert", ">= 2", ">= 1"),
        ("DriftNotice", "== 1", "== 0"),
        ("EstimatedAccuracyLow", 'bound="high"', 'bound="low"'),
        ("EstimatedMap50Low", 'bound="high"', 'bound="low"'),
        ("ChangeAlert", "alert", "notice"),
        ("ChangeNotice", "notice", "alert"),
        ("MonitorDown", "== 0", "== 1"),
        ("MonitorBehind", "> 600", "> 60"),
        ("NewsUntold", "> 0", "> 3"),
        ("MostlyCopies", "> 0.9", "> 0.7"),
        ("SourcesRefused", "> 0", ">= 0"),
        ("LogDropped", "> 0", "> 100"),
        ("ServiceDown", 'job="drift"', 'job=~".+"'),
        ("SlowAnswers", "0.99", "0.5"),
        ("FailedAnswers", "5..", "2.."),
        ("FailedAnswers", ',status!="503"', ""),
        ("ManyRefused", 'reason="busy"', 'reason=~".+"'),
    ],
)
@pytest.mark.slow
def test_the_simulated_series_find_a_rule_that_says_something_else(rule, before, after, tmp_path):
    rules = read(RULES)
    [wrong] = [one for group in rules["groups"] for one in group["rules"] if one["alert"] == rule]
    assert before in wrong["expr"]
    wrong["expr"] = wrong["expr"].replace(before, after)
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    shutil.copy(RULES.with_name("rules_test.yml"), tmp_path)
    assert run(program("promtool"), "test", "rules", tmp_path / "rules_test.yml").returncode != 0


def test_alerts_go_to_receivers_that_exist_by_severities_that_rules_give():
    manager = read(DEPLOY / "alertmanager.yml")
    names = {receiver["name"] for receiver in manager["receivers"]}
    routes = [manager["route"], *manager["route"]["routes"]]
    assert {route["receiver"] for route in routes} == names
    assert {rule["labels"]["severity"] for rule in alerts()} == {"critical", "warning"}
    inhibited = re.findall(r'alertname="(\w+)"', (DEPLOY / "alertmanager.yml").read_text())
    assert set(inhibited) <= {rule["alert"] for rule in alerts()}


def test_the_page_on_operations_lists_every_alert_with_its_severity():
    page = (ROOT / "docs" / "operations.md").read_text()
    listed = re.findall(r"^\| ([A-Z]\w+) \| .* \| (critical|warning) \|$", page, re.MULTILINE)
    assert sorted(listed) == sorted((rule["alert"], rule["labels"]["severity"]) for rule in alerts())


def test_compose_follows_its_schema_and_a_misspelt_key_does_not(tmp_path):
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = run(*command, DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((DEPLOY / "compose.yaml").read_text().replace("depends_on:", "depend_on:"))
    assert run(*command, wrong).returncode != 0


def test_compose_mounts_what_is_there_pins_images_and_opens_ports_to_this_machine_only():
    composed = read(DEPLOY / "compose.yaml")
    for name, service in composed["services"].items():
        assert re.search(r":v?\d+\.\d+|^\$\{IMAGE", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for place in (volume.split(":")[0] for volume in service.get("volumes", [])):
            assert (DEPLOY / place).exists() or place in composed["volumes"] or place.startswith("${"), place
    for service in (composed["services"][name] for name in ("service", "monitor")):
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert "ports" not in composed["services"]["postgres"]


def test_the_names_that_containers_call_each_other_by_agree():
    composed = read(DEPLOY / "compose.yaml")["services"]
    prometheus = read(DEPLOY / "prometheus" / "prometheus.yml")
    service, monitor = (job["dns_sd_configs"][0] for job in prometheus["scrape_configs"])
    assert service["names"] == ["service"] and f":{service['port']}" in composed["service"]["ports"][0]
    words = [word.replace("${MONITOR_WEBHOOK:-null}", "null") for word in composed["monitor"]["command"]]
    assert monitor["names"] == ["monitor"] and monitor["port"] == load_section(Monitor, words).metrics_port
    called = prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"][0]
    assert called.split(":")[0] in composed
    [source] = read(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"].split("/")[2].split(":")[0] in composed
    dashboard = json.loads(DASHBOARD.read_text())
    asked = {target["datasource"]["uid"] for panel in dashboard["panels"] for target in panel["targets"]}
    assert asked == {source["uid"]}
    [files] = read(DEPLOY / "grafana/provisioning/dashboards/files.yaml")["providers"]
    assert f"./grafana/dashboards:{files['options']['path']}:ro" in composed["grafana"]["volumes"]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


@contextlib.contextmanager
def server(ready, *command):
    """Run a program until the `with` ends; wait until `ready` is answered."""
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as started:
        try:
            until(lambda: answers(ready), f"{command[0]} at {ready}")
            yield
        finally:
            started.kill()


def answers(address):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(address).status_code == 200
    return False


def until(condition, what, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.2)


def here(folder, manager, **jobs):
    """deploy/prometheus/prometheus.yml for this machine: other addresses, each second."""
    config = copy.deepcopy(read(DEPLOY / "prometheus" / "prometheus.yml"))
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["rule_files"] = [str(RULES)]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [manager]
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [jobs[job["job_name"]]]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def watched(models, tmp_path_factory):
    """Addresses of Prometheus and Alertmanager that watch a service which has seen the dark, and some nonsense."""
    folder = tmp_path_factory.mktemp("watched")
    asked, told = (f"127.0.0.1:{free_port()}" for _ in range(2))
    prometheus, manager = program("prometheus"), program("prometheus-alertmanager", "alertmanager")
    manager_command = [
        manager, f"--config.file={DEPLOY}/alertmanager.yml", f"--storage.path={folder}/alerts",
        f"--web.listen-address={told}", "--cluster.listen-address=",
    ]  # fmt: skip
    port = free_port()
    monitor = [*module_command("lifecycle.watching.monitor"), f"monitor.database=sqlite:///{folder}/requests.sqlite",
               f"monitor.models_path={models}", f"monitor.metrics_port={port}"]  # fmt: skip
    with (
        process(models / "first", folder, "serving.window=32") as (_, address),
        server(f"http://127.0.0.1:{port}/metrics", *monitor),
    ):
        config = here(folder, told, drift=address.removeprefix("http://"), monitor=f"127.0.0.1:{port}")
        command = [prometheus, f"--config.file={config}", f"--storage.tsdb.path={folder}/series",
                   f"--web.listen-address={asked}"]  # fmt: skip
        with server(f"http://{told}/-/ready", *manager_command), server(f"http://{asked}/-/ready", *command):
            trouble(address)
            yield f"http://{asked}", f"http://{told}"


def trouble(address):
    """A window of the usual, one of the dark, a body that is too large and one that is no image."""
    with httpx.Client(base_url=address) as client:
        for images in (world(40, 11)[0], world(40, 12, light=40.0)[0]):
            for image in images:
                assert client.post("/predict", content=png(image)).status_code == 200
        assert client.post("/predict", content=bytes(11_000_000)).status_code == 413
        assert client.post("/predict", content=b"no image").status_code == 415
        until(lambda: "drift_level" in client.get("/metrics").text, "a verdict")


def ask(prometheus, expression):
    said = httpx.get(f"{prometheus}/api/v1/query", params={"query": expression}).json()
    assert said["status"] == "success", said
    return said["data"]["result"]


@pytest.mark.slow
@pytest.mark.parametrize("panel", expressions())
def test_every_question_of_the_dashboard_is_answered_by_a_prometheus_that_watches_a_service(panel, watched):
    until(lambda: ask(watched[0], expressions()[panel]), panel)


@pytest.mark.slow
def test_a_rule_asks_for_nothing_that_the_service_does_not_say(watched):
    said = {one["metric"]["__name__"] for one in ask(watched[0], '{job=~"drift|monitor"}')}
    asked = {name for rule in alerts() for name in re.findall(r"\b(?:drift_\w+|up)\b", rule["expr"])}
    asked |= {name for one in expressions().values() for name in re.findall(r"\bdrift_\w+", one)}
    assert asked - {"drift_map50_estimate"} <= said  # which a service of boxes says in place of accuracy


@pytest.mark.slow
def test_the_dark_reaches_who_is_to_be_told(watched):
    def told():
        found = httpx.get(f"{watched[1]}/api/v2/alerts").json()
        return {(one["labels"]["alertname"], one["receivers"][0]["name"]) for one in found}

    until(lambda: told() & {("DriftAlert", "now"), ("DriftNotice", "today")}, "an alert of drift")
    until(lambda: told() & {("ChangeAlert", "now"), ("ChangeNotice", "today")}, "an alarm of the monitor")
