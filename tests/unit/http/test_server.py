"""The server over real HTTPS: who may come in, forms of answers, errors."""

import gzip
import json
import socket

import httpx
import pytest

from rollout.api.resources import CONFIG_MAPS as CONFIG_MAP_RESOURCE
from rollout.errors import SandboxError
from rollout.runtime.clock import SystemClock
from rollout.sandbox.http.server import ApiServer
from rollout.sandbox.storage import Storage
from tests.unit.http.conftest import CONFIG_MAPS, PODS, TABLE, config_map


def pod(name="web", node="here"):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "web", "image": "web:1"}]},
    }


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic abc", "Bearer \xff"])
async def test_without_the_token_nothing_is_answered(api, header):
    response = await api.http.get(PODS, headers={"authorization": header.encode("latin-1")})
    assert response.status_code == 401
    assert response.json()["reason"] == "Unauthorized"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_probes_need_no_token(api, path):
    response = await api.http.get(path, headers={"authorization": ""})
    assert (response.status_code, response.text) == (200, "ok")


async def test_a_client_that_does_not_know_the_authority_does_not_connect(api):
    async with httpx.AsyncClient() as stranger:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await stranger.get(api.server.address + "/healthz")


async def test_an_unknown_path_is_not_found(api):
    response = await api.http.get("/nonsense")
    assert response.status_code == 404
    assert response.text == "404 page not found\n"


@pytest.mark.parametrize("version", ["x", "-1", "\u0664"])  # an Arabic four is no number to an API server
@pytest.mark.parametrize("query", [{}, {"watch": "true"}])
async def test_a_version_that_is_no_number_is_refused_as_kube_apiserver_refuses_it(api, version, query):
    await api.http.post(CONFIG_MAPS, json=config_map())
    path = CONFIG_MAPS if query else f"{CONFIG_MAPS}/settings"
    response = await api.http.get(path, params={"resourceVersion": version, **query})
    assert response.status_code == 500
    assert f'strconv.ParseUint: parsing "{version}": invalid syntax' in response.json()["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", PODS), ("PATCH", PODS), ("POST", f"{PODS}/web"), ("POST", "/api/v1/pods"), ("POST", "/apis")],
)
async def test_a_method_that_a_path_does_not_have_is_not_allowed(api, method, path):
    response = await api.http.request(method, path, json={})
    assert response.status_code == 405
    assert response.json()["reason"] == "MethodNotAllowed"


async def test_a_body_beyond_the_limit_is_too_large_even_without_a_length(api):
    async def endless():
        for _ in range(64):
            yield b" " * 65536

    for content in (b" " * (3 * 1024 * 1024 + 1), endless()):
        response = await api.http.post(CONFIG_MAPS, content=content)
        assert response.status_code == 413
        assert response.json()["message"] == "Request entity too large: limit is 3145728"


async def test_broken_json_is_a_bad_request(api):
    response = await api.http.post(PODS, content=b'{"kind": ')
    assert response.status_code == 400
    assert "(must be of type Pod): couldn't get version/kind; json parse error" in response.json()["message"]


async def test_a_body_in_an_unknown_format_is_refused(api):
    response = await api.http.post(PODS, content=b"x", headers={"content-type": "text/csv"})
    assert response.status_code == 415
    assert response.json()["reason"] == "UnsupportedMediaType"


async def test_yaml_goes_in_and_out(api):
    headers = {"content-type": "application/yaml", "accept": "application/yaml"}
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {since: '2026-01-31'}\n"
    response = await api.http.post(CONFIG_MAPS, content=text, headers=headers)
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/yaml"
    assert "since: '2026-01-31'" in response.text


async def test_a_list_continues_where_its_page_ended(api):
    for number in range(5):
        await api.http.post(CONFIG_MAPS, json=config_map(f"cm-{number}"))
    names, token = [], ""
    while True:
        page = (await api.http.get(CONFIG_MAPS, params={"limit": "2", "continue": token})).json()
        names += [item["metadata"]["name"] for item in page["items"]]
        if not (token := page["metadata"].get("continue", "")):
            break
        assert page["metadata"]["remainingItemCount"] == 5 - len(names)
    assert names == [f"cm-{number}" for number in range(5)]


async def test_a_large_list_is_compressed_when_the_client_asks_for_it(api):
    for number in range(10):
        api.storage.create(CONFIG_MAP_RESOURCE, "default", config_map(f"cm-{number}", text="x" * 20_000))
    async with api.http.stream("GET", CONFIG_MAPS, headers={"accept-encoding": "gzip"}) as response:
        raw = b"".join([chunk async for chunk in response.aiter_raw()])
    assert response.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(raw))["items"]) == 10
    plain = await api.http.get(CONFIG_MAPS, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == gzip.decompress(raw)


async def test_metadata_alone_is_answered_for_objects_and_lists(api):
    await api.http.post(CONFIG_MAPS, json=config_map(a="1"))
    one = {"accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
    found = (await api.http.get(f"{CONFIG_MAPS}/settings", headers=one)).json()
    assert (found["kind"], found["metadata"]["name"], "data" in found) == (
        "PartialObjectMetadata",
        "settings",
        False,
    )
    many = {"accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    listed = (await api.http.get(CONFIG_MAPS, headers=many)).json()
    assert listed["kind"] == "PartialObjectMetadataList"
    assert [item["kind"] for item in listed["items"]] == ["PartialObjectMetadata"]


@pytest.mark.parametrize(
    ("include", "carried"), [("None", None), ("Metadata", "PartialObjectMetadata"), ("Object", "Pod")]
)
async def test_a_table_row_carries_what_was_asked_for(api, include, carried):
    await api.http.post(PODS, json=pod())
    table = (await api.http.get(PODS, headers={"accept": TABLE}, params={"includeObject": include})).json()
    assert table["kind"] == "Table"
    assert table["columnDefinitions"][0]["name"] == "Name"
    assert table["rows"][0]["cells"][0] == "web"
    assert (table["rows"][0].get("object") or {}).get("kind") == carried


async def test_a_deletion_answers_success_or_the_object_that_stays(api):
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    uid = (await api.http.post(CONFIG_MAPS, json=config_map())).json()["metadata"]["uid"]
    await api.http.post(CONFIG_MAPS, json=held)
    gone = (await api.http.delete(f"{CONFIG_MAPS}/settings")).json()
    assert (gone["status"], gone["details"]) == (
        "Success",
        {"name": "settings", "kind": "configmaps", "uid": uid},
    )
    stays = (await api.http.delete(f"{CONFIG_MAPS}/held")).json()
    assert stays["metadata"]["deletionTimestamp"]


async def test_a_precondition_in_the_body_of_a_delete_is_honoured(api):
    await api.http.post(CONFIG_MAPS, json=config_map())
    body = {"preconditions": {"uid": "another"}}
    refused = await api.http.request("DELETE", f"{CONFIG_MAPS}/settings", json=body)
    assert refused.status_code == 409
    assert (await api.http.get(f"{CONFIG_MAPS}/settings")).status_code == 200


async def test_a_collection_is_deleted_by_selector(api):
    for name, tier in (("one", "a"), ("two", "b")):
        manifest = config_map(name)
        manifest["metadata"]["labels"] = {"tier": tier}
        await api.http.post(CONFIG_MAPS, json=manifest)
    await api.http.delete(CONFIG_MAPS, params={"labelSelector": "tier=a"})
    left = (await api.http.get(CONFIG_MAPS)).json()["items"]
    assert [item["metadata"]["name"] for item in left] == ["two"]


@pytest.mark.parametrize(
    "params",
    [
        {"dryRun": "Some"},
        {"fieldValidation": "Sometimes"},
        {"force": "true"},
    ],
)
async def test_options_that_make_no_sense_are_invalid(api, params):
    await api.http.post(CONFIG_MAPS, json=config_map())
    headers = {"content-type": "application/merge-patch+json"}
    response = await api.http.patch(f"{CONFIG_MAPS}/settings", params=params, content=b"{}", headers=headers)
    assert response.status_code == 422
    assert next(iter(params)) in response.json()["message"]


async def test_apply_creates_with_201_then_answers_200_and_needs_a_manager(api):
    url, headers = f"{CONFIG_MAPS}/settings", {"content-type": "application/apply-patch+yaml"}
    content = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: '1'}}"
    nobody = await api.http.patch(url, content=content, headers=headers)
    assert (nobody.status_code, "fieldManager: Required value" in nobody.json()["message"]) == (422, True)
    for status in (201, 200):
        answer = await api.http.patch(url, content=content, headers=headers, params={"fieldManager": "me"})
        assert answer.status_code == status


async def test_a_warning_travels_in_a_header(api):
    body = config_map() | {"dta": {}}
    response = await api.http.post(CONFIG_MAPS, json=body)
    assert response.headers["warning"] == '299 - "unknown field \\"dta\\""'


async def test_a_field_named_twice_is_refused_strictly_and_warned_about_otherwise(api):
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"twice"},"data":{"a":"1","a":"2"}}'
    headers = {"content-type": "application/json"}
    strict = await api.http.post(
        CONFIG_MAPS, content=text, headers=headers, params={"fieldValidation": "Strict"}
    )
    assert (strict.status_code, 'duplicate field "data.a"' in strict.json()["message"]) == (400, True)
    lax = await api.http.post(CONFIG_MAPS, content=text, headers=headers, params={"fieldValidation": "Warn"})
    assert lax.headers["warning"] == '299 - "duplicate field \\"data.a\\""'


async def test_a_pod_is_bound_and_evicted(api):
    await api.http.post(PODS, json=pod(node=None))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "web"},
        "target": {"kind": "Node", "name": "n1"},
    }
    assert (await api.http.post(f"{PODS}/web/binding", json=binding)).status_code == 201
    assert (await api.http.get(f"{PODS}/web")).json()["spec"]["nodeName"] == "n1"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    assert (await api.http.post(f"{PODS}/web/eviction", json=eviction)).status_code == 201
    assert (await api.http.get(f"{PODS}/web")).json()["metadata"]["deletionTimestamp"]


async def test_discovery_is_revalidated_by_its_tag(api):
    headers = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    first = await api.http.get("/apis", headers=headers)
    assert first.headers["content-type"] == headers["accept"]
    again = await api.http.get("/apis", headers=headers | {"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_openapi_members_are_kept_forever_under_their_hash_and_redirect_from_an_old_one(api):
    index = (await api.http.get("/openapi/v3")).json()["paths"]
    url = index["apis/apps/v1"]["serverRelativeURL"]
    found = await api.http.get(url)
    assert "immutable" in found.headers["cache-control"]
    assert "io.k8s.api.apps.v1.Deployment" in found.json()["components"]["schemas"]
    moved = await api.http.get("/openapi/v3/apis/apps/v1", params={"hash": "OLD"})
    assert (moved.status_code, moved.headers["location"]) == (301, url)


async def test_a_taken_port_is_said_in_one_line_with_a_way_out(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        clock = SystemClock()
        server = ApiServer(Storage(clock), tmp_path, clock, port=other.getsockname()[1])
        with pytest.raises(SandboxError, match=r"is taken by another process.*choose another one"):
            await server.start()


async def test_garbage_is_collected_and_one_failure_does_not_end_that(api, monkeypatch):
    collect, failures = api.storage.collect_garbage, iter([RuntimeError("for the test")])

    def flaky(limit=None):
        for failure in failures:
            raise failure
        return collect(limit)

    monkeypatch.setattr(api.storage, "collect_garbage", flaky)
    owner = (await api.http.post(CONFIG_MAPS, json=config_map("owner"))).json()["metadata"]
    child = config_map("child")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    child["metadata"]["ownerReferences"] = [reference]
    await api.http.post(CONFIG_MAPS, json=child)
    async with api.watch(CONFIG_MAPS, fieldSelector="metadata.name=child") as events:
        assert (await anext(events))[0] == "ADDED"
        await api.http.delete(f"{CONFIG_MAPS}/owner")
        assert (await anext(events))[0] == "DELETED"
