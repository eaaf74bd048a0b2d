"""Create, replace, patch: metadata that the server keeps, preconditions, and the words of refusals."""

from typing import Any

import pytest

from rollout.api.resources import CONFIG_MAPS, DEPLOYMENTS, HPAS, NAMESPACES, PODS, SERVICES, Resource
from rollout.errors import AlreadyExists, BadRequest, Conflict, Invalid, NotFound, UnsupportedMediaType
from rollout.sandbox.storage import Options, Storage

POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "web:v1"}]}}


def test_create_fills_in_what_the_server_keeps(storage: Storage, config_map: dict[str, Any]) -> None:
    before = int(storage.resource_version)
    made = storage.create(CONFIG_MAPS, "default", config_map)
    meta = made["metadata"]
    assert made["apiVersion"] == "v1"
    assert made["kind"] == "ConfigMap"
    assert meta["namespace"] == "default"
    assert meta["creationTimestamp"] == "2026-11-21T12:00:00Z"
    assert meta["uid"].startswith("uid-")
    assert meta["resourceVersion"] == str(before + 1) == storage.resource_version
    assert storage.get(CONFIG_MAPS, "default", "settings") is made


def test_what_the_caller_changes_later_does_not_reach_the_storage(
    storage: Storage, config_map: dict[str, Any]
) -> None:
    storage.create(CONFIG_MAPS, "default", config_map)
    config_map["data"]["a"] = "2"
    assert storage.get(CONFIG_MAPS, "default", "settings")["data"] == {"a": "1"}


def test_a_name_taken_is_already_exists(storage: Storage, config_map: dict[str, Any]) -> None:
    storage.create(CONFIG_MAPS, "default", config_map)
    with pytest.raises(AlreadyExists) as caught:
        storage.create(CONFIG_MAPS, "default", config_map)
    assert caught.value.message == 'configmaps "settings" already exists'
    assert caught.value.status()["details"] == {"name": "settings", "kind": "configmaps"}


def test_generate_name_makes_names_that_differ(storage: Storage) -> None:
    made = {
        storage.create(CONFIG_MAPS, "default", {"metadata": {"generateName": "job-"}})["metadata"]["name"]
        for _ in range(20)
    }
    assert len(made) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in made)


def test_generate_name_gives_up_after_eight_collisions(storage: Storage, clock: Any) -> None:
    class Stuck:
        def choices(self, letters: str, k: int) -> list[str]:
            return ["b"] * k

        def getrandbits(self, bits: int) -> int:
            return 1

    clock.random = Stuck()
    storage.create(CONFIG_MAPS, "default", {"metadata": {"generateName": "job-"}})
    with pytest.raises(AlreadyExists, match="not able to generate a unique name for the object") as caught:
        storage.create(CONFIG_MAPS, "default", {"metadata": {"generateName": "job-"}})
    assert caught.value.details is not None
    assert caught.value.details["retryAfterSeconds"] == 1


def test_a_bad_name_is_refused_in_kubes_words(storage: Storage) -> None:
    with pytest.raises(Invalid) as caught:
        storage.create(CONFIG_MAPS, "default", {"metadata": {"name": "Bad_Name"}})
    said = (
        'Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric '
        "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
        "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )
    assert caught.value.message == f'ConfigMap "Bad_Name" is invalid: metadata.name: {said}'
    assert caught.value.details == {
        "name": "Bad_Name",
        "kind": "ConfigMap",
        "causes": [{"reason": "FieldValueInvalid", "message": said, "field": "metadata.name"}],
    }


def test_a_name_is_required(storage: Storage) -> None:
    with pytest.raises(Invalid, match=r"metadata\.name: Required value: name or generateName is required"):
        storage.create(CONFIG_MAPS, "default", {"metadata": {}})


def test_a_missing_namespace_is_not_found(storage: Storage, config_map: dict[str, Any]) -> None:
    with pytest.raises(NotFound) as caught:
        storage.create(CONFIG_MAPS, "nowhere", config_map)
    assert caught.value.message == 'namespaces "nowhere" not found'


def test_a_namespace_that_disagrees_with_the_url_is_refused(storage: Storage) -> None:
    with pytest.raises(BadRequest, match="does not match the namespace sent on the request"):
        storage.create(CONFIG_MAPS, "default", {"metadata": {"name": "a", "namespace": "kube-system"}})


def test_a_resource_that_is_not_served_is_not_found(storage: Storage) -> None:
    with pytest.raises(NotFound, match="the server could not find the requested resource"):
        storage.get(Resource("x.io", "v1", "things", "Thing"), "default", "a")


def test_a_stale_replace_is_a_conflict(storage: Storage, config_map: dict[str, Any]) -> None:
    first = storage.create(CONFIG_MAPS, "default", config_map)
    storage.patch(CONFIG_MAPS, "default", "settings", {"data": {"b": "2"}})
    with pytest.raises(Conflict) as caught:
        storage.replace(CONFIG_MAPS, "default", "settings", {**first, "data": {}})
    assert caught.value.message == (
        'Operation cannot be fulfilled on configmaps "settings": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_a_patch_of_another_uid_is_invalid(storage: Storage, config_map: dict[str, Any]) -> None:
    storage.create(CONFIG_MAPS, "default", config_map)
    with pytest.raises(Invalid, match=r'metadata\.uid: Invalid value: "other": field is immutable'):
        storage.patch(CONFIG_MAPS, "default", "settings", {"metadata": {"uid": "other"}})


def test_a_patch_with_a_stale_version_is_a_conflict(storage: Storage, config_map: dict[str, Any]) -> None:
    storage.create(CONFIG_MAPS, "default", config_map)
    with pytest.raises(Conflict):
        storage.patch(
            CONFIG_MAPS, "default", "settings", {"metadata": {"resourceVersion": "1"}, "data": None}
        )


def test_a_write_that_changes_nothing_keeps_the_version(storage: Storage, config_map: dict[str, Any]) -> None:
    made = storage.create(CONFIG_MAPS, "default", config_map)
    watcher = storage.watch(CONFIG_MAPS, "default", resource_version=storage.resource_version)
    assert storage.patch(CONFIG_MAPS, "default", "settings", {"data": {"a": "1"}}) == made
    assert storage.replace(CONFIG_MAPS, "default", "settings", made) == made
    assert storage.resource_version == made["metadata"]["resourceVersion"]
    assert watcher.poll() is None


def test_merge_and_json_patch_change_what_they_name(storage: Storage, config_map: dict[str, Any]) -> None:
    storage.create(CONFIG_MAPS, "default", config_map)
    merged = storage.patch(CONFIG_MAPS, "default", "settings", {"data": {"a": None, "b": "2"}})
    assert merged["data"] == {"b": "2"}
    operations = [
        {"op": "test", "path": "/data/b", "value": "2"},
        {"op": "add", "path": "/data/c", "value": "3"},
    ]
    patched = storage.patch(CONFIG_MAPS, "default", "settings", operations, type="json")
    assert patched["data"] == {"b": "2", "c": "3"}


def test_a_patch_cannot_rename(storage: Storage, config_map: dict[str, Any]) -> None:
    storage.create(CONFIG_MAPS, "default", config_map)
    with pytest.raises(BadRequest, match="does not match the name on the URL"):
        storage.patch(CONFIG_MAPS, "default", "settings", {"metadata": {"name": "other"}})


def test_system_metadata_cannot_be_changed(storage: Storage, config_map: dict[str, Any]) -> None:
    made = storage.create(CONFIG_MAPS, "default", config_map)
    patch = {
        "metadata": {"creationTimestamp": "2020-01-01T00:00:00Z", "deletionTimestamp": "2020-01-01T00:00:00Z"}
    }
    assert storage.patch(CONFIG_MAPS, "default", "settings", patch) == made


def test_dry_run_writes_nothing(storage: Storage, config_map: dict[str, Any]) -> None:
    dry = Options(dry_run=True)
    before = storage.resource_version
    shown = storage.create(CONFIG_MAPS, "default", config_map, options=dry)
    assert shown["metadata"]["name"] == "settings"
    assert not storage.exists(CONFIG_MAPS, "default", "settings")
    storage.create(CONFIG_MAPS, "default", config_map)
    patched = storage.patch(CONFIG_MAPS, "default", "settings", {"data": {"z": "9"}}, options=dry)
    assert patched["data"]["z"] == "9"
    assert storage.get(CONFIG_MAPS, "default", "settings")["data"] == {"a": "1"}
    assert int(storage.resource_version) == int(before) + 1


def test_status_is_written_through_its_subresource_only(storage: Storage) -> None:
    made = storage.create(PODS, "default", POD | {"status": {"phase": "Running"}})
    assert made["status"]["phase"] == "Pending"
    kept = storage.patch(PODS, "default", "web", {"status": {"phase": "Running"}})
    assert kept["status"]["phase"] == "Pending"
    patch = {"status": {"phase": "Running"}, "metadata": {"labels": {"x": "y"}}, "spec": {"nodeName": "n"}}
    written = storage.patch(PODS, "default", "web", patch, subresource="status")
    assert written["status"]["phase"] == "Running"
    assert "labels" not in written["metadata"]
    assert "nodeName" not in written["spec"]
    assert written["metadata"]["generation"] == 1


def test_an_unknown_subresource_is_not_found(storage: Storage, config_map: dict[str, Any]) -> None:
    storage.create(CONFIG_MAPS, "default", config_map)
    with pytest.raises(NotFound):
        storage.patch(CONFIG_MAPS, "default", "settings", {}, subresource="status")


def test_services_get_an_address_for_life(storage: Storage) -> None:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    first = storage.create(SERVICES, "default", {"metadata": {"name": "a"}, "spec": spec})
    second = storage.create(SERVICES, "default", {"metadata": {"name": "b"}, "spec": spec})
    addresses = [obj["spec"]["clusterIP"] for obj in (first, second)]
    assert len(set(addresses)) == 2
    assert first["spec"]["clusterIPs"] == addresses[:1]
    kept = storage.replace(SERVICES, "default", "a", {"metadata": {"name": "a"}, "spec": spec})
    assert kept["spec"]["clusterIP"] == addresses[0]
    with pytest.raises(Invalid, match="may not change once set"):
        storage.patch(SERVICES, "default", "a", {"spec": {"clusterIP": "10.96.9.9"}})
    headless = storage.create(
        SERVICES, "default", {"metadata": {"name": "c"}, "spec": {**spec, "clusterIP": "None"}}
    )
    assert headless["spec"]["clusterIP"] == "None"


def test_the_usual_namespaces_are_there_at_the_start(storage: Storage) -> None:
    names = [obj["metadata"]["name"] for obj in storage.list(NAMESPACES).items]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert all(obj["status"]["phase"] == "Active" for obj in storage.list(NAMESPACES).items)


def test_an_unknown_patch_type_is_refused(storage: Storage, config_map: dict[str, Any]) -> None:
    storage.create(CONFIG_MAPS, "default", config_map)
    with pytest.raises(UnsupportedMediaType):
        storage.patch(CONFIG_MAPS, "default", "settings", {}, type="xml")  # type: ignore[arg-type]


DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": POD["spec"]},
    },
}


def test_a_value_of_another_type_cannot_be_decoded(storage: Storage) -> None:
    wrong = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": "3"}}
    says = (
        r'^Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go '
        r"struct field DeploymentSpec\.spec\.replicas of type int32$"
    )
    with pytest.raises(BadRequest, match=says):
        storage.create(DEPLOYMENTS, "default", wrong)
    storage.create(DEPLOYMENTS, "default", DEPLOYMENT)
    with pytest.raises(BadRequest, match=says):
        storage.replace(DEPLOYMENTS, "default", "web", wrong)


@pytest.mark.parametrize("type", ["merge", "strategic"])
def test_a_patch_that_makes_a_value_of_another_type_is_invalid(storage: Storage, type: Any) -> None:
    storage.create(DEPLOYMENTS, "default", DEPLOYMENT)
    with pytest.raises(
        Invalid, match=r"patch: Invalid value: .*cannot unmarshal string into Go struct field"
    ):
        storage.patch(DEPLOYMENTS, "default", "web", {"spec": {"replicas": "3"}}, type=type)
    assert storage.get(DEPLOYMENTS, "default", "web")["spec"]["replicas"] == 1


@pytest.mark.parametrize("labels", [{"a": 1}, {"a": None}, [], "x"])
def test_metadata_of_another_type_cannot_be_decoded(storage: Storage, labels: Any) -> None:
    with pytest.raises(BadRequest, match=r"cannot unmarshal .* ObjectMeta\.metadata\.labels"):
        storage.create(CONFIG_MAPS, "default", {"metadata": {"name": "a", "labels": labels}})


def test_an_autoscaler_is_born_with_its_status(storage: Storage) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3}
    made = storage.create(HPAS, "default", {"metadata": {"name": "web"}, "spec": spec})
    assert made["status"] == {"desiredReplicas": 0}
