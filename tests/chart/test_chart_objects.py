"""What the chart renders: hardened pods, stable selectors, bounded names, nothing that its schema does not allow."""

import re

import pytest

from rollout.runtime.settings import ControllerConfig, live, parse
from tests.chart.support import (
    CHART,
    CRD_CHART,
    NAMESPACE,
    ROOT,
    SETS,
    helm,
    named,
    of_kind,
    pods,
    rendered,
    run,
    template,
)

EVERYTHING = "everything"
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def containers(objects):
    return [(who, one) for who, pod in pods(objects) for one in pod["containers"]]


@pytest.mark.parametrize("values", SETS)
def test_helm_lint_finds_nothing(values):
    more = ["--values", CHART / f"ci/{values}-values.yaml"] if values else []
    done = run(helm(), "lint", "--strict", CHART, *more)
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_helm_lint_finds_nothing_in_the_chart_of_definitions():
    done = run(helm(), "lint", "--strict", CRD_CHART)
    assert done.returncode == 0, done.stdout


# --- pods ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", SETS)
def test_every_pod_satisfies_the_restricted_pod_security_standard_by_its_own_words(values):
    found = list(pods(rendered(values)))
    assert found
    for who, pod in found:
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, who
        assert isinstance(security["runAsUser"], int), who
        assert security["runAsUser"] > 0, who
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, who
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}, who
        assert {kind for volume in pod["volumes"] for kind in volume} <= {"name", "emptyDir", "configMap"}, (
            who
        )
    for who, one in containers(rendered(values)):
        security = one["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, who
        assert security["readOnlyRootFilesystem"] is True, who
        assert security["capabilities"] == {"drop": ["ALL"]}, who
        assert not security.get("privileged"), who
        assert not any("hostPort" in port for port in one.get("ports", ())), who


@pytest.mark.parametrize("values", SETS)
def test_every_container_has_bounded_memory_and_scratch_space(values):
    for who, one in containers(rendered(values)):
        assert one["resources"]["requests"]["memory"] == one["resources"]["limits"]["memory"], who
        assert one["resources"]["requests"]["cpu"], who
        written = [mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")]
        assert written == ["/tmp"], who
    for who, pod in pods(rendered(values)):
        scratch = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
        assert scratch, who
        assert all(one["sizeLimit"] for one in scratch), who


def test_there_are_two_controllers_apart_from_each_other_that_drains_leave_one_of():
    objects = rendered()
    deployment = named(objects, "Deployment", "surefoot")
    pod = deployment["spec"]["template"]["spec"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (term,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selector = deployment["spec"]["selector"]
    assert term["podAffinityTerm"]["labelSelector"] == selector
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["selector"] == selector


def test_a_single_controller_has_no_budget_that_would_block_a_drain():
    assert not of_kind(rendered("least"), "PodDisruptionBudget")


def test_probes_ask_the_health_server_on_the_port_that_the_controller_is_told():
    (_, one), *_ = containers(rendered(more={"metrics.port": 9999}))
    assert "--metrics-address=:9999" in one["args"]
    assert one["ports"] == [{"name": "metrics", "containerPort": 9999, "protocol": "TCP"}]
    paths = {name: one[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: ask["path"] for name, ask in paths.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {ask["port"] for ask in paths.values()} == {"metrics"}


@pytest.mark.parametrize("values", SETS)
def test_the_controller_understands_its_arguments_and_its_configuration(values, tmp_path):
    (_, one), *_ = containers(rendered(values))
    (tmp_path / "config.yaml").write_text(configuration(rendered(values)))
    args = [word.replace("/etc/surefoot", str(tmp_path)) for word in one["args"]]
    argv = [ROOT / ".venv/bin" / one["command"][0], *args, "--kubeconfig", "/nowhere/kubeconfig"]
    done = run(*argv)
    assert "/nowhere/kubeconfig" in done.stdout + done.stderr, done.stderr
    assert "No such option" not in done.stderr


def configuration(objects):
    """The file that is mounted for the controller."""
    (_, one), *_ = containers(objects)
    assert "--config=/etc/surefoot/config.yaml" in one["args"]
    (mount,) = [mount for mount in one["volumeMounts"] if mount["mountPath"] == "/etc/surefoot"]
    assert "subPath" not in mount, "it would never be updated"
    (pod,) = [one["spec"]["template"]["spec"] for one in of_kind(objects, "Deployment")]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
    return named(objects, "ConfigMap", volume["configMap"]["name"])["data"]["config.yaml"]


@pytest.mark.parametrize("values", SETS)
def test_what_is_in_the_configuration_takes_effect_without_a_restart(values):
    start, mounted = ControllerConfig(), parse(configuration(rendered(values)).encode())
    after, pending = live(start, mounted)
    assert (after, pending) == (mounted, ())


def test_values_reach_the_configuration():
    config = parse(configuration(rendered(EVERYTHING)).encode())
    assert config.analysis.providers == ("prometheus", "web")
    assert config.analysis.namespaces == {"ci": ("job", "chaos")}
    assert config.analysis.labelled_secrets is True
    more = {"controller.workers": 3, "controller.logLevel": "debug", "metrics.maxObjects": 7}
    config = parse(configuration(rendered(more=more)).encode())
    assert (config.workers, config.log_level, config.metrics.max_objects) == (3, "debug", 7)


def test_the_controller_is_told_the_features_that_have_roles():
    (_, one), *_ = containers(rendered())
    (said,) = [word.removeprefix("--features=") for word in one["args"] if word.startswith("--features=")]
    assert set(said.split(",")) == {"core", "decisions", "events", "gateway", "istio", "workloadRef"}
    (_, one), *_ = containers(rendered("least"))
    assert "--features=core" in one["args"]


def test_values_reach_the_controller():
    (_, one), *_ = containers(rendered(EVERYTHING))
    env = {variable["name"]: variable.get("value") for variable in one["env"]}
    assert env["SUREFOOT_LEASE_URL"] == "http://$(POD_IP):8090"
    assert env["SUREFOOT_PROMETHEUS_ADDRESS"] == "http://prometheus.monitoring:9090"
    assert env["SUREFOOT_LOAD_IMAGE"] == "surefoot/load:0.1.0"
    assert env["SUREFOOT_INJECTOR_IMAGE"] == "surefoot/injector:0.1.0"
    assert env["HTTP_PROXY"] == "http://proxy:3128"
    assert one["image"] == f"surefoot/controller@sha256:{'0' * 64}"
    assert "--instance-id=blue" in one["args"]
    assert f"--lease-namespace={NAMESPACE}" in one["args"]
    (_, one), *_ = containers(rendered("namespaced"))
    assert "--namespaces=shop,web" in one["args"]


def test_only_pods_of_the_chart_get_a_token():
    objects = rendered(EVERYTHING)
    assert all(one["automountServiceAccountToken"] is False for one in of_kind(objects, "ServiceAccount"))
    accounts = {one["metadata"]["name"] for one in of_kind(objects, "ServiceAccount")}
    assert {pod["serviceAccountName"] for _, pod in pods(objects)} == accounts


# --- names, selectors, namespaces ---------------------------------------------------------------------


def test_names_are_bounded_whatever_the_release_is_called():
    objects = rendered(EVERYTHING, release="a-very-long-name-of-a-release-as-somebody-may-like")
    for one in objects:
        if one["kind"] != "CustomResourceDefinition":
            assert DNS_LABEL.fullmatch(one["metadata"]["name"]), one["metadata"]["name"]
        labels = one["metadata"].get("labels") or {}
        assert all(len(value) <= 63 for value in labels.values())
    (cron_job,) = of_kind(objects, "CronJob")
    assert len(cron_job["metadata"]["name"]) <= 52


def test_no_two_objects_have_one_name():
    for values in SETS:
        keys = [
            (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"])
            for one in rendered(values)
        ]
        assert len(keys) == len(set(keys))


@pytest.mark.parametrize("values", SETS)
def test_an_upgrade_keeps_the_selector_whatever_the_values_and_versions_are(values):
    (deployment,) = of_kind(rendered(values), "Deployment")
    # Written out: a Deployment's selector cannot be changed, so this must hold for all time.
    assert deployment["spec"]["selector"] == {
        "matchLabels": {
            "app.kubernetes.io/name": "surefoot",
            "app.kubernetes.io/instance": "surefoot",
            "app.kubernetes.io/component": "controller",
        }
    }
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_selectors_of_services_and_monitors_meet_what_they_are_for():
    objects = rendered(EVERYTHING)
    (deployment,) = of_kind(objects, "Deployment")
    (service,) = of_kind(objects, "Service")
    (monitor,) = of_kind(objects, "ServiceMonitor")
    (policy,) = of_kind(objects, "NetworkPolicy")
    (cron_job,) = of_kind(objects, "CronJob")
    pod = deployment["spec"]["template"]["metadata"]["labels"]
    reaper = cron_job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= pod.items()
    assert not service["spec"]["selector"].items() <= reaper.items()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod.items() & reaper.items()


# --- network ------------------------------------------------------------------------------------------


def test_the_network_policy_names_every_way_in_and_out():
    (policy,) = of_kind(rendered(EVERYTHING), "NetworkPolicy")
    spec = policy["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (entry,) = spec["ingress"]
    assert entry["ports"] == [{"port": 8090, "protocol": "TCP"}]
    assert entry["from"] == [{"namespaceSelector": {}}]  # injectors ask for their lease from anywhere
    ports = [[port["port"] for port in way["ports"]] for way in spec["egress"]]
    assert ports == [[53, 53], [6443], [15090], [19001], [443], [9090]]
    assert spec["egress"][1]["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    assert all(way["ports"] for way in spec["egress"])


def test_without_network_faults_only_monitoring_asks_the_controller():
    (policy,) = of_kind(rendered(EVERYTHING, more={"features.chaosNetwork": False}), "NetworkPolicy")
    assert policy["spec"]["ingress"][0]["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]


def test_without_metric_servers_only_dns_and_the_api_are_reached():
    (policy,) = of_kind(rendered("least"), "NetworkPolicy")
    ports = [[port["port"] for port in way["ports"]] for way in policy["spec"]["egress"]]
    assert ports == [[53, 53], [443, 6443]]


# --- values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"replica": 3}, "replica"),
        ({"features.chaoss": True}, "chaoss"),
        ({"features.chaos": "yes"}, "chaos"),
        ({"features.chaosNetwork": True}, "features.chaosNetwork needs features.chaos"),
        ({"rbac.secretNames": ["token"]}, "rbac.secretNames needs features.secrets"),
        ({"rbac.secretNames": ["*"], "features.secrets": True}, "secretNames"),
        ({"rbac.kubernetesMetric": [{"apiGroups": ["*"], "resources": ["jobs"]}]}, "kubernetesMetric"),
        ({"rbac.kubernetesMetric": [{"apiGroups": [""], "resources": ["*"]}]}, "kubernetesMetric"),
        ({"rbac.kubernetesMetric": [{"apiGroups": [""], "resources": ["secrets"]}]}, "kubernetesMetric"),
        ({"image.digest": "latest"}, "digest"),
        ({"user": 0}, "user"),
        ({"namespaces": ["Shop"]}, "namespaces"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(more, said):
    done = template(more=more)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_reaper_runs_only_with_chaos():
    assert not of_kind(rendered(), "CronJob")
    assert of_kind(rendered(more={"features.chaos": True}), "CronJob")
    assert not of_kind(rendered(more={"features.chaos": True, "reaper.enabled": False}), "CronJob")
