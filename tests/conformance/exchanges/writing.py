"""Creating, replacing, patching; preconditions, dry runs, subresources."""

from __future__ import annotations

from tests.conformance.exchanges.furniture import (
    BUDGETS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    LEASES,
    METADATA,
    PODS,
    REPLICA_SETS,
    SCALERS,
    SECRETS,
    SERVICES,
    WIDGETS,
    budget,
    config_map,
    deployment,
    lease,
    meta,
    pod,
    pod_spec,
    replica_set,
    secret,
    service,
    widget,
)
from tests.conformance.exchanges.play import JSON_PATCH, MERGE, STRATEGIC, Play, case


@case
def a_config_map_is_created_and_refused_the_second_time(play: Play) -> None:
    play.post(CONFIG_MAPS, config_map())
    play.post(CONFIG_MAPS, config_map())


@case
def a_deployment_is_created_with_its_defaults(play: Play) -> None:
    play.post(DEPLOYMENTS, deployment())


@case
def a_replica_set_is_created_with_its_defaults(play: Play) -> None:
    play.post(REPLICA_SETS, replica_set())


@case
def a_pod_is_created_with_its_defaults(play: Play) -> None:
    play.post(PODS, pod())


@case
def a_pod_gets_from_admission_what_it_does_not_say(play: Play) -> None:
    play.post(PODS, meta("web") | {"spec": {"containers": [{"name": "web", "image": "web:1"}]}})


@case
def a_pod_with_every_kind_of_probe_and_volume_gets_its_defaults(play: Play) -> None:
    container = {
        "name": "web",
        "image": "web:1",
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"cpu": "0.5", "memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"port": 80}},
        "livenessProbe": {"tcpSocket": {"port": 80}},
        "startupProbe": {"exec": {"command": ["true"]}},
        "lifecycle": {"preStop": {"httpGet": {"path": "/x", "port": 80}}},
        "volumeMounts": [{"name": "c", "mountPath": "/c"}],
    }
    volumes = [
        {"name": "c", "configMap": {"name": "settings"}},
        {"name": "s", "secret": {"secretName": "settings"}},
        {"name": "e", "emptyDir": {}},
        {
            "name": "d",
            "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]},
        },
        {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        {"name": "h", "hostPath": {"path": "/tmp"}},
    ]
    play.post(PODS, meta("web") | {"spec": pod_spec(containers=[container], volumes=volumes)})


@case
def a_pod_that_only_requests_is_burstable(play: Play) -> None:
    container = {"name": "web", "image": "web", "resources": {"requests": {"cpu": "100m"}}}
    play.post(PODS, meta("web") | {"spec": pod_spec(containers=[container])})


@case
def a_service_is_created_with_its_defaults(play: Play) -> None:
    play.post(SERVICES, service())
    play.post(SERVICES, service("headless", clusterIP="None"))
    play.post(
        SERVICES,
        service("named", ports=[{"name": "a", "port": 1, "targetPort": "x"}, {"name": "b", "port": 2}]),
    )


@case
def a_job_is_created_with_its_defaults(play: Play) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]}}
    play.post(JOBS, meta("once") | {"spec": {"template": template, "suspend": True}})


@case
def a_lease_a_budget_and_an_autoscaler_are_created(play: Play) -> None:
    play.post(LEASES, lease(renewTime="2026-01-01T00:00:00.000000Z"))
    play.post(BUDGETS, budget())
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    play.post(SCALERS, meta("web") | {"spec": {"scaleTargetRef": target, "maxReplicas": 3}})


@case
def a_time_of_a_lease_has_six_digits_of_a_second(play: Play) -> None:
    for text in (
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.1234567Z",
        "yesterday",
    ):
        play.post(LEASES, lease(renewTime=text))


@case
def an_event_is_created_and_replaced(play: Play) -> None:
    involved = {"kind": "Pod", "name": "one", "namespace": play.namespace}
    one = meta("e") | {"involvedObject": involved, "reason": "R", "type": "Normal", "count": 1}
    play.post(
        EVENTS, one | {"firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z"}
    )
    play.put(f"{EVENTS}/e", one | {"count": 2})
    play.patch(f"{EVENTS}/e", {"count": 3}, STRATEGIC)


@case
def a_custom_resource_is_created_with_its_defaults(play: Play) -> None:
    play.post(WIDGETS, widget(steps=[{"name": "a"}]))
    play.post(WIDGETS, widget())


@case
def a_namespace_is_created_and_its_labels_name_it(play: Play) -> None:
    name = f"{play.namespace}-more"
    made = play.post("/api/v1/namespaces", meta(name))
    play.delete("/api/v1/namespaces/{ns}-more", kept=False)
    assert made.status == 201


@case
def a_name_is_made_from_a_prefix(play: Play) -> None:
    one = {"metadata": {"generateName": "settings-"}, "data": {"a": "1"}}
    play.post(CONFIG_MAPS, one)
    play.post(CONFIG_MAPS, {"metadata": {"generateName": "x" * 70}})
    play.post(WIDGETS, {**widget(), "metadata": {"generateName": "w-"}})


@case
def a_name_is_required(play: Play) -> None:
    play.post(CONFIG_MAPS, {"metadata": {}})
    play.post(WIDGETS, {**widget(), "metadata": {}})
    play.post(CONFIG_MAPS, {})


@case
def the_namespace_of_an_object_must_be_the_one_of_the_path(play: Play) -> None:
    play.post(CONFIG_MAPS, meta("a", namespace="other"))
    play.post("/api/v1/namespaces/nowhere-at-all/configmaps", config_map())
    play.make(CONFIG_MAPS, config_map())
    play.put(f"{CONFIG_MAPS}/settings", meta("another"))
    play.put(f"{CONFIG_MAPS}/settings", meta("settings", namespace="other"))


@case
def a_resource_version_must_not_be_set_on_what_is_created(play: Play) -> None:
    play.post(CONFIG_MAPS, meta("a", resourceVersion="1"))
    play.post(WIDGETS, {**widget(), "metadata": {"name": "w", "resourceVersion": "1"}})


@case
def what_a_client_must_not_set_is_overwritten_on_create(play: Play) -> None:
    play.post(
        CONFIG_MAPS,
        meta(
            "a",
            uid="00000000-0000-0000-0000-000000000000",
            creationTimestamp="2001-01-01T00:00:00Z",
            deletionTimestamp="2001-01-01T00:00:00Z",
            deletionGracePeriodSeconds=3,
            generation=7,
            selfLink="/x",
        ),
    )
    play.post(DEPLOYMENTS, deployment() | {"status": {"replicas": 9}})
    play.post(WIDGETS, widget() | {"status": {"phase": "Done"}})


@case
def a_put_replaces_all_of_it(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map(a="1", b="2"))
    play.put(f"{CONFIG_MAPS}/settings", config_map(c="3"))
    play.get(f"{CONFIG_MAPS}/settings")


@case
def a_put_of_the_same_changes_nothing(play: Play) -> None:
    made = play.post(CONFIG_MAPS, config_map())
    play.put(f"{CONFIG_MAPS}/settings", made.body)
    play.put(f"{CONFIG_MAPS}/settings", config_map())


@case
def a_put_of_an_old_version_is_a_conflict(play: Play) -> None:
    old = play.make(
        CONFIG_MAPS,
        config_map(),
    )[0].body
    play.patch(f"{CONFIG_MAPS}/settings", {"data": {"b": "2"}}, kept=False)
    play.put(f"{CONFIG_MAPS}/settings", old)
    play.patch(
        f"{CONFIG_MAPS}/settings",
        {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"c": "3"}},
    )
    custom = play.make(WIDGETS, widget())[0].body
    play.patch(f"{WIDGETS}/first", {"spec": {"size": 4}}, kept=False)
    play.put(f"{WIDGETS}/first", custom)


@case
def a_put_of_another_uid_is_a_conflict(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    other = "11111111-1111-1111-1111-111111111111"
    play.put(f"{CONFIG_MAPS}/settings", meta("settings", uid=other))
    play.patch(f"{CONFIG_MAPS}/settings", {"metadata": {"uid": other}})
    play.make(WIDGETS, widget())
    play.patch(f"{WIDGETS}/first", {"metadata": {"uid": other}})


@case
def a_put_of_what_is_not_there_is_not_found(play: Play) -> None:
    play.put(f"{CONFIG_MAPS}/nobody", meta("nobody"))
    play.put(f"{DEPLOYMENTS}/web", deployment())
    play.put(f"{WIDGETS}/first", widget())


@case
def a_put_creates_a_service_or_a_lease_that_is_not_there(play: Play) -> None:
    play.put(f"{LEASES}/turn", lease())
    play.put(f"{SERVICES}/web", service())


@case
def a_put_creates_an_event_that_is_not_there(play: Play) -> None:
    involved = {"kind": "Pod", "name": "one", "namespace": play.namespace}
    play.put(f"{EVENTS}/e", meta("e") | {"involvedObject": involved})


@case
def a_put_of_a_custom_resource_needs_a_version(play: Play) -> None:
    play.make(WIDGETS, widget())
    play.put(f"{WIDGETS}/first", widget(color="green"))


@case
def a_put_of_built_in_kinds_without_a_version(play: Play) -> None:
    play.make(LEASES, lease())
    play.put(f"{LEASES}/turn", lease(holderIdentity="you"))
    play.make(BUDGETS, budget())
    play.put(f"{BUDGETS}/web", budget(minAvailable=2))
    play.make(DEPLOYMENTS, deployment())
    play.put(f"{DEPLOYMENTS}/web", deployment(replicas=3))
    made = play.make(SERVICES, service())[0]
    play.put(f"{SERVICES}/web", service(clusterIP=made.body["spec"]["clusterIP"], ports=[{"port": 81}]))


@case
def generation_counts_changes_of_the_spec(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    play.patch(f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"a": "b"}}})
    play.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 4}})
    play.make(WIDGETS, widget())
    play.patch(f"{WIDGETS}/first", {"metadata": {"labels": {"a": "b"}}})
    play.patch(f"{WIDGETS}/first", {"spec": {"size": 4}})


@case
def a_merge_patch_sets_removes_and_replaces_lists(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    play.patch(f"{DEPLOYMENTS}/web", {"metadata": {"annotations": {"a": "1", "b": "2"}}})
    play.patch(f"{DEPLOYMENTS}/web", {"metadata": {"annotations": {"a": None}, "labels": None}})
    play.patch(
        f"{DEPLOYMENTS}/web", {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b"}]}}}}
    )


@case
def a_merge_patch_of_a_custom_resource(play: Play) -> None:
    play.make(WIDGETS, widget(steps=[{"name": "a"}, {"name": "b"}], labels={"x": "1"}))
    play.patch(
        f"{WIDGETS}/first", {"spec": {"steps": [{"name": "c", "weight": 5}], "labels": {"x": None, "y": "2"}}}
    )
    play.patch(f"{WIDGETS}/first", {"spec": {"color": None, "unknown": 1}})
    play.patch(f"{WIDGETS}/first", {"spec": {"size": None}})


@case
def a_patch_without_effect_keeps_the_version(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    play.get(f"{DEPLOYMENTS}/web", accept=METADATA)
    play.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 2}}, accept=METADATA)
    play.patch(f"{DEPLOYMENTS}/web", {}, accept=METADATA)
    play.patch(f"{DEPLOYMENTS}/web", [], JSON_PATCH, accept=METADATA)


@case
def a_strategic_patch_merges_lists_by_their_keys(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    add = {"containers": [{"name": "side", "image": "s:1", "env": [{"name": "A", "value": "1"}]}]}
    added = play.patch(f"{DEPLOYMENTS}/web", {"spec": {"template": {"spec": add}}}, STRATEGIC)
    # kube-apiserver patches what its cache has first, and again what is stored when that was stale; it would warn
    # of the $patch of an element that the stale one does not have.
    play.until_cached(DEPLOYMENTS, added.meta["resourceVersion"])
    change = {
        "containers": [
            {"name": "side", "env": [{"name": "B", "value": "2"}, {"name": "A", "$patch": "delete"}]}
        ]
    }
    play.patch(f"{DEPLOYMENTS}/web", {"spec": {"template": {"spec": change}}}, STRATEGIC)
    remove = {
        "$setElementOrder/containers": [{"name": "web"}],
        "containers": [{"name": "side", "$patch": "delete"}],
    }
    play.patch(f"{DEPLOYMENTS}/web", {"spec": {"template": {"spec": remove}}}, STRATEGIC)
    play.patch(
        f"{DEPLOYMENTS}/web", {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}, STRATEGIC
    )


@case
def a_strategic_patch_of_finalizers_and_owner_references(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    play.patch(f"{CONFIG_MAPS}/settings", {"metadata": {"finalizers": ["example.com/a"]}}, STRATEGIC)
    play.patch(f"{CONFIG_MAPS}/settings", {"metadata": {"finalizers": ["example.com/b"]}}, STRATEGIC)
    play.patch(
        f"{CONFIG_MAPS}/settings",
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}},
        STRATEGIC,
    )
    uid = play.make(SECRETS, secret("s"))[0].meta["uid"]
    one = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": uid}
    play.patch(f"{CONFIG_MAPS}/settings", {"metadata": {"ownerReferences": [one]}}, STRATEGIC)
    play.patch(f"{CONFIG_MAPS}/settings", {"metadata": {"finalizers": None}}, MERGE)


@case
def a_strategic_patch_that_cannot_be_read_is_refused(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    play.patch(
        f"{DEPLOYMENTS}/web", {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}, STRATEGIC
    )
    play.patch(f"{DEPLOYMENTS}/web", {"$patch": "nonsense"}, STRATEGIC)
    play.patch(f"{DEPLOYMENTS}/web", [1], STRATEGIC)
    play.patch(f"{DEPLOYMENTS}/web", b"{", STRATEGIC)
    play.make(WIDGETS, widget())
    play.patch(f"{WIDGETS}/first", {}, STRATEGIC)


@case
def a_json_patch_tests_adds_moves_copies_and_removes(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map(a="1", b="2"))
    path = f"{CONFIG_MAPS}/settings"
    play.patch(
        path,
        [
            {"op": "test", "path": "/data/a", "value": "1"},
            {"op": "add", "path": "/data/c~1d", "value": "3"},
            {"op": "copy", "from": "/data/b", "path": "/data/e"},
            {"op": "move", "from": "/data/a", "path": "/data/f"},
            {"op": "remove", "path": "/data/b"},
            {"op": "replace", "path": "/data/e", "value": "9"},
        ],
        JSON_PATCH,
    )
    play.make(WIDGETS, widget(tags=["a", "b"]))
    play.patch(f"{WIDGETS}/first", [{"op": "add", "path": "/spec/tags/-", "value": "c"}], JSON_PATCH)
    play.patch(f"{WIDGETS}/first", [{"op": "add", "path": "/spec/tags/0", "value": "z"}], JSON_PATCH)
    play.patch(f"{WIDGETS}/first", [{"op": "remove", "path": "/spec/tags/1"}], JSON_PATCH)


@case
def a_json_patch_whose_test_fails_is_refused(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    play.patch(f"{CONFIG_MAPS}/settings", [{"op": "test", "path": "/data/a", "value": "2"}], JSON_PATCH)
    play.patch(f"{CONFIG_MAPS}/settings", [{"op": "test", "path": "/data/x", "value": "2"}], JSON_PATCH)
    play.make(WIDGETS, widget())
    play.patch(f"{WIDGETS}/first", [{"op": "test", "path": "/spec/size", "value": 9}], JSON_PATCH)
    play.patch(f"{WIDGETS}/first", [{"op": "test", "path": "/spec/x/y", "value": 9}], JSON_PATCH)


@case
def a_json_patch_tests_the_version_that_was_read(play: Play) -> None:
    made = play.make(WIDGETS, widget())[0]
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": made.meta["resourceVersion"]}
    change = {"op": "replace", "path": "/spec/size", "value": 5}
    play.patch(f"{WIDGETS}/first", [test, change], JSON_PATCH)
    answer = play.patch(f"{WIDGETS}/first", [test, change], JSON_PATCH, kept=False)
    assert answer.status == 422, answer


@case
def a_json_patch_of_what_is_not_there_is_refused(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    for patch in (
        [{"op": "remove", "path": "/data/x"}],
        [{"op": "replace", "path": "/data/x", "value": "1"}],
        [{"op": "add", "path": "/x/y/z", "value": "1"}],
        [{"op": "copy", "from": "/nothing", "path": "/data/x"}],
    ):
        play.patch(f"{CONFIG_MAPS}/settings", patch, JSON_PATCH)


@case
def a_json_patch_that_cannot_be_read_is_a_bad_request(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    for patch in ({"data": {}}, [{"op": "jump", "path": "/data"}], [{"path": "/data"}], b"[", [1]):
        play.patch(f"{CONFIG_MAPS}/settings", patch, JSON_PATCH)


@case
def a_merge_patch_that_cannot_be_read_is_a_bad_request(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    play.make(WIDGETS, widget())
    for patch in (b"{", [1], b"", b"null"):
        play.patch(f"{CONFIG_MAPS}/settings", patch, MERGE)
    play.patch(f"{WIDGETS}/first", b"{", MERGE)


@case
def a_patch_of_a_media_type_that_is_none_is_refused(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    play.patch(f"{CONFIG_MAPS}/settings", {}, "application/json")
    play.patch(f"{CONFIG_MAPS}/settings", {}, "text/plain")


@case
def a_body_of_a_media_type_that_is_none_is_refused(play: Play) -> None:
    play.post(CONFIG_MAPS, b"a: 1", type="text/plain")
    play.post(WIDGETS, b"a: 1", type="text/plain")


@case
def a_patch_of_what_is_not_there_is_not_found(play: Play) -> None:
    play.patch(f"{CONFIG_MAPS}/nobody", {"data": {"a": "1"}})
    play.patch(f"{WIDGETS}/nobody", {"spec": {"size": 1}})


@case
def a_patch_of_name_or_kind_is_refused(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    play.patch(f"{CONFIG_MAPS}/settings", {"metadata": {"name": "x"}})
    play.patch(f"{CONFIG_MAPS}/settings", {"metadata": {"namespace": "x"}})
    play.patch(f"{CONFIG_MAPS}/settings", {"kind": "Secret"})
    play.patch(f"{CONFIG_MAPS}/settings", {"apiVersion": "v2"})
    play.make(WIDGETS, widget())
    play.patch(f"{WIDGETS}/first", {"metadata": {"name": "x"}})
    play.patch(f"{WIDGETS}/first", {"kind": "Gadget"})


@case
def a_dry_run_changes_nothing(play: Play) -> None:
    play.post(CONFIG_MAPS, config_map(), dryRun="All")
    play.get(f"{CONFIG_MAPS}/settings")
    play.make(CONFIG_MAPS, config_map())
    play.patch(f"{CONFIG_MAPS}/settings", {"data": {"b": "2"}}, dryRun="All")
    play.delete(f"{CONFIG_MAPS}/settings", dryRun="All")
    play.get(f"{CONFIG_MAPS}/settings")
    play.post(CONFIG_MAPS, config_map("x"), dryRun="Some")
    play.delete(f"{CONFIG_MAPS}/settings", dryRun="Some")


@case
def options_that_make_no_sense_are_refused(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    play.post(CONFIG_MAPS, config_map("x"), fieldValidation="Sometimes")
    play.patch(f"{CONFIG_MAPS}/settings", {}, force="true")
    play.post(CONFIG_MAPS, config_map("x"), fieldManager="x" * 129)
    play.post(CONFIG_MAPS, config_map("x"), fieldManager="a\nb")


@case
def unknown_and_doubled_fields_are_warned_about_or_refused(play: Play) -> None:
    play.post(DEPLOYMENTS, deployment("a") | {"spce": {}})
    play.post(DEPLOYMENTS, deployment("b") | {"spce": {}}, fieldValidation="Strict")
    play.post(DEPLOYMENTS, deployment("c") | {"spce": {}}, fieldValidation="Ignore")
    double = b'{"metadata":{"name":"d"},"data":{"a":"1","a":"2"}}'
    play.post(CONFIG_MAPS, double, fieldValidation="Strict")
    play.post(CONFIG_MAPS, double, fieldValidation="Warn")
    play.post(WIDGETS, widget(unknown=1), fieldValidation="Strict")
    play.post(WIDGETS, widget(unknown=1, steps=[{"name": "a", "x": 1}]), fieldValidation="Warn")
    play.patch(f"{CONFIG_MAPS}/d", {"dat": {}}, fieldValidation="Strict")
    play.patch(f"{WIDGETS}/first", {"spec": {"no": 1}}, fieldValidation="Strict")


@case
def status_is_written_through_its_subresource_only(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    play.patch(f"{DEPLOYMENTS}/web", {"status": {"replicas": 2}})
    play.patch(
        f"{DEPLOYMENTS}/web/status",
        {"status": {"replicas": 2, "observedGeneration": 1}, "spec": {"replicas": 9}},
    )
    play.get(f"{DEPLOYMENTS}/web/status")
    play.make(WIDGETS, widget())
    play.patch(f"{WIDGETS}/first", {"status": {"phase": "x"}})
    play.patch(
        f"{WIDGETS}/first/status",
        {"status": {"phase": "x"}, "spec": {"size": 9}, "metadata": {"labels": {"a": "b"}}},
    )
    play.patch(f"{WIDGETS}/first/status", {"status": {"phase": 3}})


@case
def status_of_workloads_is_checked(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    path = f"{DEPLOYMENTS}/web/status"
    play.patch(path, {"status": {"replicas": 2, "availableReplicas": 1}})
    play.patch(path, {"status": {"replicas": 1, "updatedReplicas": 2}})
    play.patch(path, {"status": {"replicas": -1}})
    play.make(REPLICA_SETS, replica_set("set"))
    play.patch(f"{REPLICA_SETS}/set/status", {"status": {"replicas": 1, "readyReplicas": 2}})
    play.patch(
        f"{REPLICA_SETS}/set/status", {"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 2}}
    )


@case
def status_of_a_pod_is_patched_by_condition_type(play: Play) -> None:
    play.make(PODS, pod())
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    play.patch(
        f"{PODS}/web/status",
        {"status": {"phase": "Running", "podIP": "10.1.2.3", "conditions": [ready]}},
        STRATEGIC,
    )
    play.patch(
        f"{PODS}/web/status", {"status": {"conditions": [{"type": "Odd", "status": "False"}]}}, STRATEGIC
    )
    play.get(f"{PODS}/web")


@case
def scale_shows_and_sets_replicas(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    path = f"{DEPLOYMENTS}/web/scale"
    shown = play.get(path)
    play.put(path, {**shown.body, "spec": {"replicas": 5}})
    play.patch(path, {"spec": {"replicas": 0}})
    play.patch(path, {"spec": {"replicas": -1}})
    play.put(path, shown.body)
    play.get(f"{DEPLOYMENTS}/web", accept=METADATA)
    play.get(f"{DEPLOYMENTS}/nobody/scale")


@case
def scale_of_a_custom_resource(play: Play) -> None:
    play.make(WIDGETS, widget())
    path = f"{WIDGETS}/first/scale"
    shown = play.get(path)
    play.put(path, {**shown.body, "spec": {"replicas": 5}})
    play.patch(path, {"spec": {"replicas": 0}})
    play.patch(path, {"spec": {"replicas": -1}})
    play.get(f"{WIDGETS}/first")


@case
def a_pod_is_bound_once(play: Play) -> None:
    play.make(PODS, pod())
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "web"},
        "target": {"kind": "Node", "name": "n"},
    }
    play.post(f"{PODS}/web/binding", binding)
    play.post(f"{PODS}/web/binding", binding)
    play.get(f"{PODS}/web")


@case
def a_pod_that_no_budget_protects_is_evicted(play: Play) -> None:
    play.make(PODS, pod())
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    play.post(f"{PODS}/web/eviction", eviction)
    play.post(f"{PODS}/web/eviction", eviction)


def ready_pod(play: Play) -> None:
    play.make(PODS, pod(nodeName="nowhere"))
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert play.patch(f"{PODS}/web/status", {"status": ready}, kept=False).status == 200


@case
def an_eviction_that_a_budget_forbids_is_refused(play: Play) -> None:
    ready_pod(play)
    play.make(BUDGETS, budget())
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    play.post(f"{PODS}/web/eviction", eviction)
    seen = {
        "status": {
            "observedGeneration": 1,
            "currentHealthy": 1,
            "desiredHealthy": 1,
            "expectedPods": 1,
            "disruptionsAllowed": 0,
        }
    }
    play.patch(f"{BUDGETS}/web/status", seen)
    play.post(f"{PODS}/web/eviction", eviction)
    play.patch(f"{BUDGETS}/web/status", {"status": {"disruptionsAllowed": 1}}, kept=False)
    play.post(f"{PODS}/web/eviction", eviction, dryRun="All")
    play.post(f"{PODS}/web/eviction", eviction | {"deleteOptions": {"preconditions": {"uid": "x"}}})


@case
def two_budgets_for_one_pod_are_an_error(play: Play) -> None:
    ready_pod(play)
    play.make(BUDGETS, budget("one"), budget("two"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    play.post(f"{PODS}/web/eviction", eviction)


@case
def an_ephemeral_container_is_added_and_never_changed(play: Play) -> None:
    play.make(PODS, pod())
    one = {"name": "debug", "image": "debug:1"}
    path = f"{PODS}/web/ephemeralcontainers"
    play.patch(path, {"spec": {"ephemeralContainers": [one]}}, STRATEGIC)
    play.patch(path, {"spec": {"ephemeralContainers": [one | {"image": "debug:2"}]}}, STRATEGIC)
    play.patch(path, {"spec": {"ephemeralContainers": None}})


@case
def the_log_of_a_pod_without_a_node_is_refused(play: Play) -> None:
    play.make(PODS, pod())
    play.get(f"{PODS}/web/log", accept="")
    play.get(f"{PODS}/web/log", accept="", container="other")
    play.get(f"{PODS}/nobody/log", accept="")
    play.get(f"{PODS}/web/log", accept="", tailLines="x")
    play.get(f"{PODS}/web/log", accept="", tailLines="-1")


@case
def immutable_things_stay_as_they_are(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map() | {"immutable": True})
    play.patch(f"{CONFIG_MAPS}/settings", {"data": {"a": "2"}})
    play.patch(f"{CONFIG_MAPS}/settings", {"immutable": False})
    play.make(SECRETS, secret())
    play.patch(f"{SECRETS}/settings", {"type": "example.com/x"})
    play.make(SERVICES, service())
    play.patch(f"{SERVICES}/web", {"spec": {"clusterIP": "10.96.77.77"}})
    play.make(PODS, pod())
    play.patch(f"{PODS}/web", {"spec": {"terminationGracePeriodSeconds": 7}})


@case
def selectors_of_workloads_stay_as_they_are(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    other = {"matchLabels": {"app": "x"}}
    template = {"metadata": {"labels": {"app": "x"}}}
    play.patch(f"{DEPLOYMENTS}/web", {"spec": {"selector": other, "template": template}})
    play.make(REPLICA_SETS, replica_set())
    play.patch(f"{REPLICA_SETS}/web", {"spec": {"selector": other, "template": template}})


@case
def the_template_of_a_job_stays_as_it_is(play: Play) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]}}
    play.make(JOBS, meta("once") | {"spec": {"template": template}})
    play.patch(
        f"{JOBS}/once",
        {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}},
        accept=METADATA,
    )
    play.patch(f"{JOBS}/once", {"spec": {"completions": 3}}, accept=METADATA)
    play.patch(f"{JOBS}/once", {"spec": {"parallelism": 0}}, accept=METADATA)
