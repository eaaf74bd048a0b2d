"""Discovery, reviews, and what core kinds and definitions refuse, word by word."""

from __future__ import annotations

from tests.conformance.exchanges.furniture import (
    AGGREGATED,
    BUDGETS,
    CONFIG_MAPS,
    DEFINITIONS,
    DEPLOYMENTS,
    GROUP,
    JOBS,
    LEASES,
    PODS,
    SCALERS,
    SECRETS,
    SERVICES,
    WIDGETS,
    budget,
    definition,
    deployment,
    lease,
    meta,
    pod,
    pod_spec,
    service,
    widget,
)
from tests.conformance.exchanges.play import Play, case


@case
def discovery_of_a_group_and_its_version(play: Play) -> None:
    play.get(f"/apis/{GROUP}")
    play.get(f"/apis/{GROUP}/v1")
    play.get("/apis/coordination.k8s.io")
    play.get("/apis/nobody.example.com")
    play.get("/apis/nobody.example.com/v1")
    play.get(f"/apis/{GROUP}/v7")


@case
def discovery_of_resources_of_batch(play: Play) -> None:
    answer = play.get("/apis/batch/v1", kept=False)
    wanted = [one for one in answer.body["resources"] if one["name"].startswith("jobs")]
    play.note("jobs", {"resources": wanted})


@case
def discovery_of_resources_of_apps(play: Play) -> None:
    answer = play.get("/apis/apps/v1", kept=False)
    names = ("deployments", "replicasets")
    wanted = [one for one in answer.body["resources"] if one["name"].startswith(names)]
    play.note("apps", {"resources": wanted})


@case
def discovery_of_resources_of_core(play: Play) -> None:
    answer = play.get("/api/v1", kept=False)
    names = ("configmaps", "secrets", "events", "namespaces", "services", "serviceaccounts", "nodes", "pods")
    kept = [one for one in answer.body["resources"] if one["name"].split("/")[0] in names]
    kept = [one for one in kept if one["name"].rpartition("/")[2] not in _NOT_OURS]
    play.note("core", {"resources": kept})


_NOT_OURS = ("attach", "exec", "portforward", "proxy", "token", "resize")


@case
def aggregated_discovery_of_custom_resources(play: Play) -> None:
    answer = play.get("/apis", accept=AGGREGATED, kept=False)
    play.note("type", answer.headers["content-type"])
    play.note("group", [one for one in answer.body["items"] if one["metadata"]["name"] == GROUP])


@case
def the_schema_of_a_custom_resource_is_published(play: Play) -> None:
    path = f"/openapi/v3/apis/{GROUP}/v1"
    play.until(lambda: play.get(path, kept=False).status == 200)
    found = play.get(path, kept=False).body["components"]["schemas"]
    play.note("widget", next(one for name, one in found.items() if name.endswith(".Widget")))


@case
def who_i_am_and_what_i_may_do(play: Play) -> None:
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    asked = {"namespace": "x", "verb": "get", "resource": "pods"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = play.post(path, review | {"spec": {"resourceAttributes": asked}}, kept=False)
    play.note("allowed", [answer.status, answer.body["status"]["allowed"], answer.body["spec"]])
    who = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = play.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", who, kept=False)
    groups = answer.body["status"]["userInfo"]["groups"]
    play.note("groups", [answer.status, sorted(groups)])


@case
def tokens_and_the_rights_of_others_can_be_asked_for(play: Play) -> None:
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "nonsense"}}
    play.post("/apis/authentication.k8s.io/v1/tokenreviews", token)
    asked = {"user": "nobody", "resourceAttributes": {"verb": "get", "resource": "pods"}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": asked}
    play.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)


@case
def an_autoscaler_of_the_first_version(play: Play) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    body = meta("web") | {"spec": {"scaleTargetRef": target, "maxReplicas": 3}}
    play.post("/apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers", body)


@case
def a_custom_resource_that_breaks_its_schema_is_refused(play: Play) -> None:
    for wrong in (
        {"size": 0},
        {"size": 10},
        {"size": "x"},
        {"size": 1.5},
        {"color": "blue"},
        {"code": "ABC"},
        {"ratio": 0},
        {"ratio": 0.7},
        {"on": "yes"},
        {"when": "yesterday"},
        {"maybe": 3},
        {"tags": ["a", "a"]},
        {"plain": []},
        {"steps": [{"name": "a"}, {"name": "a"}]},
        {"steps": [{"weight": 1}]},
        {"steps": [{"name": "aaaaaaaaa"}]},
        {"steps": [{"name": ""}]},
        {"steps": [{"name": n} for n in "abcd"]},
        {"steps": [{"name": "a", "weight": 101}]},
        {"steps": [{"name": "a", "pause": {"seconds": 1.5}}]},
        {"labels": {"a": "1", "b": "2", "c": "3"}},
        {"amount": True},
        {"oneOf": {}},
        {"oneOf": {"a": "1", "b": "2"}},
        {"size": 1, "code": "ab"},
        {"size": None},
        {"color": None},
        {"size": 0, "color": "blue", "code": "ABC"},
    ):
        play.post(WIDGETS, widget(**wrong))


@case
def a_custom_resource_without_what_it_needs_is_refused(play: Play) -> None:
    bare = widget()
    play.post(WIDGETS, {key: value for key, value in bare.items() if key != "spec"})
    play.post(WIDGETS, bare | {"spec": {}})
    play.post(WIDGETS, bare | {"spec": None})
    play.post(WIDGETS, bare | {"spec": []})
    play.post(WIDGETS, {key: value for key, value in bare.items() if key != "kind"})
    play.post(WIDGETS, {key: value for key, value in bare.items() if key != "apiVersion"})
    play.post(WIDGETS, bare | {"kind": "Gadget"})
    play.post(WIDGETS, bare | {"metadata": {"name": "Not A Name"}})
    play.post(WIDGETS, bare | {"metadata": {"name": "a", "labels": {"x": "not a value!"}}})
    play.post(WIDGETS, bare | {"metadata": {"name": "a", "labels": {"x": 1}}})


@case
def a_rule_of_transition_is_held(play: Play) -> None:
    play.make(WIDGETS, widget(fixed="a"))
    play.patch(f"{WIDGETS}/first", {"spec": {"fixed": "b"}})
    play.patch(f"{WIDGETS}/first", {"spec": {"fixed": None}}, kept=False)
    play.get(f"{WIDGETS}/first")


@case
def a_definition_that_breaks_the_rules_is_refused(play: Play) -> None:
    def changed(**spec: object) -> dict[str, object]:
        base = definition()
        return {**base, "spec": {**base["spec"], **spec}}

    versions = definition()["spec"]["versions"]
    play.post(DEFINITIONS, changed(group="other.example.com"))
    play.post(DEFINITIONS, changed(scope="Everywhere"))
    play.post(DEFINITIONS, changed(versions=[]))
    play.post(DEFINITIONS, changed(versions=[versions[0] | {"storage": False}]))


@case
def a_deployment_that_makes_no_sense_is_refused(play: Play) -> None:
    bare = deployment()

    def with_spec(**spec: object) -> dict[str, object]:
        return bare | {"spec": bare["spec"] | spec}

    play.post(DEPLOYMENTS, with_spec(replicas=-1))
    play.post(DEPLOYMENTS, with_spec(selector={"matchLabels": {"app": "other"}}))
    play.post(DEPLOYMENTS, with_spec(selector={}))
    play.post(DEPLOYMENTS, with_spec(selector=None))
    play.post(DEPLOYMENTS, with_spec(minReadySeconds=-1, revisionHistoryLimit=-1))
    play.post(DEPLOYMENTS, with_spec(progressDeadlineSeconds=1, minReadySeconds=5))
    play.post(DEPLOYMENTS, with_spec(strategy={"type": "Sideways"}))
    play.post(DEPLOYMENTS, with_spec(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}))
    play.post(DEPLOYMENTS, with_spec(strategy={"rollingUpdate": {"maxUnavailable": "150%"}}))
    play.post(DEPLOYMENTS, with_spec(replicas="three"))
    template = {"metadata": {"labels": {"app": "web"}}}
    play.post(DEPLOYMENTS, with_spec(template={**template, "spec": {"containers": []}}))
    play.post(DEPLOYMENTS, with_spec(template={**template, "spec": pod_spec(restartPolicy="Never")}))
    play.post(DEPLOYMENTS, meta("web"))


@case
def a_pod_that_makes_no_sense_is_refused(play: Play) -> None:
    def container(**more: object) -> dict[str, object]:
        return pod(containers=[{"name": "web", "image": "web:1", **more}])

    play.post(PODS, meta("web") | {"spec": {"containers": []}})
    play.post(PODS, pod(containers=[{"name": "web"}]))
    play.post(PODS, pod(containers=[{"image": "x"}]))
    play.post(PODS, pod(containers=[{"name": "Not_A_Name", "image": "x"}]))
    play.post(PODS, pod(containers=[{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]))
    play.post(PODS, container(imagePullPolicy="Sometimes"))
    play.post(PODS, container(ports=[{"containerPort": 0}]))
    play.post(PODS, container(ports=[{"containerPort": 99999}]))
    play.post(PODS, container(env=[{"name": ""}]))
    play.post(PODS, container(volumeMounts=[{"name": "x", "mountPath": "/x"}]))
    play.post(PODS, container(resources={"limits": {"cpu": "x"}}))
    play.post(PODS, container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}))
    play.post(PODS, container(readinessProbe={}))
    play.post(PODS, container(readinessProbe={"httpGet": {"port": 80}, "periodSeconds": -1}))
    play.post(PODS, pod(restartPolicy="Sometimes"))
    play.post(PODS, pod(terminationGracePeriodSeconds=-1))
    play.post(PODS, pod(dnsPolicy="Sometimes"))
    play.post(PODS, pod(volumes=[{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]))
    play.post(PODS, meta("Not_A_Name") | {"spec": pod_spec()})


@case
def services_that_make_no_sense_are_refused(play: Play) -> None:
    play.post(SERVICES, service(ports=[]))
    play.post(SERVICES, service(ports=[{"port": 0}]))
    play.post(SERVICES, service(ports=[{"port": 80}, {"port": 81}]))
    play.post(SERVICES, service(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]))
    play.post(SERVICES, service(ports=[{"port": 80, "protocol": "ICMP"}]))
    play.post(SERVICES, service(type="Sometimes"))
    play.post(SERVICES, service(type="ExternalName"))
    play.post(SERVICES, service(clusterIP="x"))
    play.post(SERVICES, service("1web"))
    play.post(SERVICES, service(sessionAffinity="Sometimes"))


@case
def other_kinds_that_make_no_sense_are_refused(play: Play) -> None:
    play.post(BUDGETS, budget(maxUnavailable=1))
    play.post(BUDGETS, budget(minAvailable="x"))
    play.post(BUDGETS, budget(minAvailable=-1))
    play.post(LEASES, lease(leaseDurationSeconds=0))
    play.post(LEASES, lease(leaseTransitions=-1))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    play.post(SCALERS, meta("web") | {"spec": {"scaleTargetRef": target, "maxReplicas": 0}})
    play.post(SCALERS, meta("web") | {"spec": {"scaleTargetRef": target, "maxReplicas": 1, "minReplicas": 2}})
    play.post(SECRETS, meta("s") | {"data": {"a": "not base64!"}})
    play.post(SECRETS, meta("s") | {"data": {"not a key": "MQ=="}})
    play.post(CONFIG_MAPS, meta("c") | {"data": {"not a key": "1"}})
    play.post(CONFIG_MAPS, meta("c") | {"data": {"a": 1}})
    play.post(CONFIG_MAPS, meta("c") | {"data": {"a": "1"}, "binaryData": {"a": "MQ=="}})
    play.post(JOBS, meta("j") | {"spec": {"template": {"spec": pod_spec()}}})
    play.post("/api/v1/namespaces", meta("Not_A_Name"))


@case
def labels_and_annotations_that_make_no_sense_are_refused(play: Play) -> None:
    for wrong in (
        {"labels": {"not a key": "x"}},
        {"labels": {"a": "not a value!"}},
        {"labels": {"a": "x" * 64}},
        {"labels": {"a/b/c": "x"}},
        {"annotations": {"not a key": "x"}},
        {"labels": "x"},
        {"labels": {"a": 1}},
        {"annotations": {"a": True}},
        {"labels": []},
    ):
        play.post(CONFIG_MAPS, meta("c", **wrong))


@case
def bodies_that_cannot_be_read_are_bad_requests(play: Play) -> None:
    for body in (b"", b"{", b"[]", b"nonsense", b"null", b'"x"', b'{"metadata": []}', b'{"kind": 3}'):
        play.post(CONFIG_MAPS, body)
    play.post(CONFIG_MAPS, {"kind": "Secret", "apiVersion": "v1", **meta("c")})
    play.post(CONFIG_MAPS, {"kind": "ConfigMap", "apiVersion": "v2", **meta("c")})
    play.post(CONFIG_MAPS, {"kind": "Gizmo", "apiVersion": "example.com/v1", **meta("c")})
