"""The body of each provider: what is wrong is said; and whatever stands there, what is accepted can be used."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.controller import resolved
from analysis.providers.base import Lasting, Task, provider_of
from analysis.providers.cmd import job_spec
from analysis.providers.jobs import hardened, job_name, job_object
from analysis.providers.registry import lasting_providers, providers
from rollout.api.meta import Key
from rollout.api.resources import NAMESPACES
from rollout.core.validate_analysis import validate_run_spec, validate_template
from rollout.core.validate_providers import LASTING, NOT_YET, VALIDATORS
from rollout.errors import NoAnswer, ProviderError
from rollout.runtime.clock import SystemClock
from rollout.runtime.http import HttpClient
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB = {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}}}
CMD = {"image": "curl", "command": ["curl", "-sf", "http://web"]}
WEB = {"url": "http://api/x"}
PODS = {"op": "present", "kind": "Pod"}


def spec(*metrics, args=()):
    named = [{"name": f"m{index}", **metric} for index, metric in enumerate(metrics)]
    return {"metrics": named, "args": list(args)}


def sentences(**metric):
    return [str(problem) for problem in validate_run_spec(spec(metric))]


@pytest.mark.parametrize(
    "body", [{"job": JOB}, {"cmd": CMD}, {"web": WEB}, {"http": WEB}, {"kubernetes": PODS}]
)
def test_the_smallest_bodies_are_right(body):
    assert sentences(provider=body) == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"job": {}}, "provider.job.spec: Required value: the spec of a Job"),
        ({"job": {"spec": {"template": {}}}}, "provider.job.spec.template.spec: Required value"),
        ({"job": {"spec": {"template": {"spec": {"containers": []}}}}}, "spec.containers: Required value"),
        (
            {"job": JOB | {"metadata": {"name": "x"}}},
            'job.metadata.name: Invalid value: "x": there is no such',
        ),
        ({"job": JOB | {"metadata": {"labels": {"a": 1}}}}, "metadata.labels: Invalid value"),
        (
            {"job": {"spec": {"template": {"spec": {"restartPolicy": "Always", "containers": [{}]}}}}},
            'restartPolicy: Invalid value: "Always": must be "Never" or "OnFailure"',
        ),
        ({"cmd": {"command": ["x"]}}, "provider.cmd.image: Required value"),
        (
            {"cmd": CMD | {"command": "curl x"}},
            'cmd.command: Invalid value: "curl x": must be a list of texts',
        ),
        ({"cmd": CMD | {"timeout": "2h"}}, 'cmd.timeout: Invalid value: "2h": must be at most 3600 s'),
        ({"cmd": CMD | {"env": [{"value": "x"}]}}, "cmd.env: Invalid value"),
        ({"cmd": CMD | {"runAsUser": "root"}}, 'cmd.runAsUser: Invalid value: "root"'),
        ({"web": {}}, "provider.web.url: Invalid value: null: must be a URL"),
        ({"web": WEB | {"url": "http://u:p@x"}}, "must be a URL without user name or password"),
        ({"web": WEB | {"method": "DELETE"}}, "must be one of GET, POST, PUT"),
        ({"web": WEB | {"body": "x"}}, "a GET has no body; use POST or PUT"),
        ({"web": WEB | {"method": "PUT", "body": "x", "jsonBody": {}}}, "there is jsonBody too"),
        ({"web": WEB | {"jsonPath": "{$.a["}}, "web.jsonPath: Invalid value: "),
        ({"web": WEB | {"timeoutSeconds": 0}}, "must be whole seconds, 1 to 600"),
        (
            {"web": WEB | {"authentication": {"sigv4": {"region": "x"}}}},
            "not supported yet: authentication by sigv4",
        ),
        (
            {"web": WEB | {"authentication": {"oauth2": {"tokenUrl": "http://x"}}}},
            "oauth2.clientId: Required",
        ),
        ({"http": WEB | {"method": "PUT"}}, "must be one of GET, HEAD, POST"),
        ({"http": WEB | {"body": "x"}}, "a GET has no body; use POST"),
        ({"http": WEB | {"timeout": "0s"}}, "http.timeout: Invalid value"),
        (
            {"kubernetes": PODS | {"op": "delete"}},
            'op: Invalid value: "delete": must be one of present, absent',
        ),
        ({"kubernetes": {"op": "present"}}, "kubernetes.kind: Required value"),
        ({"kubernetes": PODS | {"kind": "Secret"}}, "metrics may not look at Secrets"),
        ({"kubernetes": PODS | {"name": "a", "labelSelector": "b"}}, "there is a name too"),
        ({"kubernetes": PODS | {"expression": "obj.x"}}, "there is no variable `obj`"),
        ({"kubernetes": PODS | {"op": "absent", "minCount": 1}}, "has no meaning"),
        ({"kubernetes": {"op": "condition", "kind": "ConfigMap"}}, "no readiness that we know"),
        ({"kubernetes": PODS | {"namespace": "other"}}, "there is no such field"),
    ],
)
def test_what_is_wrong_is_said(body, sentence):
    found = sentences(provider=body)
    assert any(sentence in one for one in found), found


def test_a_secret_may_stand_in_headers_and_authentication_only():
    args = [{"name": "s", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]
    header = [{"key": "authorization", "value": "{{args.s}}"}]
    oauth = {"tokenUrl": "http://t", "clientId": "i", "clientSecret": "{{args.s}}"}
    for good in ({"headers": header}, {"authentication": {"oauth2": oauth}}):
        assert validate_run_spec(spec({"provider": {"web": WEB | good}}, args=args)) == []
    for bad in (
        {"web": {"url": "http://x/{{args.s}}"}},
        {"web": WEB | {"method": "PUT", "body": "{{args.s}}"}},
        {"web": WEB | {"jsonPath": "{{args.s}}"}},
        {"cmd": CMD | {"args": ["{{args.s}}"]}},
        {"http": WEB | {"method": "POST", "body": "{{args.s}}"}},
    ):
        (found, *_) = validate_run_spec(spec({"provider": bad}, args=args))
        assert "would be readable here" in str(found)


def test_a_comparator_excludes_conditions_and_is_checked():
    comparator = {"type": "int", "operator": "==", "value": "1"}
    assert sentences(provider={"cmd": CMD}, comparator=comparator) == []
    (found,) = sentences(provider={"cmd": CMD}, comparator=comparator, successCondition="true")
    assert "comparator: Invalid value" in found
    assert "there are conditions too" in found
    assert (
        "is not a whole number" in sentences(provider={"cmd": CMD}, comparator=comparator | {"value": "x"})[0]
    )


def test_a_start_group_agrees_on_when_and_how_often():
    group = {"startGroup": "g", "provider": {"job": JOB}}

    def found(*metrics):
        return [str(problem) for problem in validate_template({"spec": spec(*metrics)})]

    assert found(group, group | {"provider": {"cmd": CMD}}) == []
    assert found(group | {"provider": {"plugin": {"surefoot/cmd": CMD}}}) == []
    (one,) = found(group, group | {"interval": "1m"})
    assert 'spec.metrics[1].interval: Invalid value: "1m": differs from that of "m0"' in one
    (one,) = found(group | {"provider": {"web": WEB}})
    assert "only metrics that last can start together" in one
    assert "not measured again alone" in found(group | {"consecutiveErrorLimit": 2})[0]


# --- what is accepted can be used ---------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
GOOD = {
    "url": st.sampled_from(["http://127.0.0.1:9/x", "http://a.invalid/{{args.x}}"]),
    "method": st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
    "headers": st.just([{"key": "k", "value": "v"}]),
    "body": st.just("x"),
    "jsonBody": JSON,
    "jsonPath": st.sampled_from(["{$.a}", "$..b", "{"]),
    "timeoutSeconds": st.sampled_from([1, "2", 0]),
    "timeout": st.sampled_from(["1s", "soon"]),
    "insecure": st.booleans(),
    "authentication": st.just({}),
    "image": st.just("i"),
    "command": st.just(["a", "b"]),
    "args": st.just(["c"]),
    "env": st.just([{"name": "N", "value": "v"}]),
    "resources": st.just({"limits": {}}),
    "serviceAccountName": st.just("me"),
    "metadata": st.just({"labels": {"a": "b"}}),
    "spec": st.just(JOB["spec"]) | st.fixed_dictionaries({"template": st.fixed_dictionaries({"spec": JSON})}),
    "op": st.sampled_from(["present", "absent", "condition"]),
    "kind": st.sampled_from(["Pod", "Rollout", "ConfigMap", "Secret"]),
    "group": st.sampled_from(["", "apps", "argoproj.io"]),
    "name": st.just("a"),
    "labelSelector": st.sampled_from(["a=b", "a in ("]),
    "minCount": st.sampled_from([1, "2", 0]),
    "condition": st.just({"type": "Ready"}) | JSON,
    "expression": st.sampled_from(["object.a == 1", "x"]),
}
FIELDS = {
    "web": (
        "url",
        "method",
        "headers",
        "body",
        "jsonBody",
        "jsonPath",
        "timeoutSeconds",
        "insecure",
        "authentication",
    ),
    "http": ("url", "method", "headers", "body", "timeout", "insecure"),
    "cmd": ("image", "command", "args", "env", "resources", "timeout", "serviceAccountName"),
    "job": ("metadata", "spec"),
    "kubernetes": ("op", "kind", "group", "name", "labelSelector", "minCount", "condition", "expression"),
}
NEEDED = {"web": {"url"}, "http": {"url"}, "cmd": {"image"}, "job": {"spec"}, "kubernetes": {"op", "kind"}}


@st.composite
def bodies(draw):
    name = draw(st.sampled_from(sorted(FIELDS)))
    fields = [field for field in FIELDS[name] if field in NEEDED[name] or draw(st.booleans())]
    wild = draw(st.sampled_from([None, None, *fields]))
    return {name: {field: draw(JSON if field == wild else GOOD[field]) for field in fields}}


class Nobody:
    """A transport that no request leaves."""

    async def __call__(self, request, *, deadline, max_bytes):
        raise NoAnswer("nobody there")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies())
def test_a_body_has_problems_or_can_be_measured(body):
    run = spec({"provider": body}, args=[{"name": "x", "value": "1"}])
    if validate_run_spec(run):
        return
    (metric,) = resolved(run)

    async def measure():
        storage = Storage(SystemClock())
        storage.create(NAMESPACES, None, {"metadata": {"name": "n"}})
        kube = StorageKube(storage)
        async with HttpClient(proxies=False) as client:
            everything = {
                **providers(client, {}),
                **lasting_providers(kube, SystemClock(), {}),
            }
            provider = provider_of(metric, everything)
            for one in (everything["web"], everything["http"]):
                one._fetch = Nobody()
            task = Task(run=Key("n", "r"), run_uid="u", metric="m", number=1, start_at=NOW)
            try:
                if isinstance(provider, Lasting):
                    provider.asked(metric)
                    job_object(task, JOB["spec"])
                    if "cmd" in metric.provider:
                        job_spec(metric.provider["cmd"])
                    else:
                        job_object(
                            task, metric.provider["job"]["spec"], metric.provider["job"].get("metadata")
                        )
                else:
                    at_once = provider.within("n") if hasattr(provider, "within") else provider
                    at_once.asked(metric)
                    await at_once.measure(metric, {}, NOW)
            except ProviderError:
                return

    asyncio.run(measure())


# --- the registry -------------------------------------------------------------------------------------


async def test_every_provider_has_a_validator_and_those_that_last_are_known_as_such():
    async with HttpClient() as client:
        everything = {
            **providers(client, {}),
            **lasting_providers(StorageKube(Storage(SystemClock())), SystemClock(), {}),
        }
    assert everything.keys() <= VALIDATORS.keys()
    assert not VALIDATORS.keys() & NOT_YET
    lasting = {name for name, provider in everything.items() if isinstance(provider, Lasting)}
    assert lasting == LASTING & everything.keys()


# --- the objects --------------------------------------------------------------------------------------


def test_a_program_is_run_by_nobody_unless_its_metric_says():
    assert job_spec(CMD)["template"]["spec"]["securityContext"] == {"runAsUser": 65534}
    assert job_spec(CMD | {"runAsUser": 0})["template"]["spec"]["securityContext"] == {"runAsUser": 0}


def container(**context):
    return hardened({"containers": [{"name": "a", "image": "i", "securityContext": context}]})["containers"][
        0
    ]


def test_pods_fit_the_restricted_standard_where_nothing_else_is_said():
    pod = hardened(
        {"containers": [{"name": "a", "image": "i"}], "initContainers": [{"name": "b", "image": "i"}]}
    )
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for one in (pod["containers"][0], pod["initContainers"][0]):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }


def test_what_the_author_says_stands():
    pod = hardened(
        {"automountServiceAccountToken": True, "securityContext": {"runAsUser": 0}, "containers": []}
    )
    assert pod["automountServiceAccountToken"] is True
    assert "runAsNonRoot" not in pod["securityContext"]
    assert container(runAsUser=0)["securityContext"]["runAsNonRoot"] is False
    assert container(privileged=True)["securityContext"] == {"privileged": True}
    added = container(capabilities={"add": ["NET_RAW"]})["securityContext"]["capabilities"]
    assert added == {"drop": ["ALL"], "add": ["NET_RAW"]}
    assert "securityContext" not in hardened({"os": {"name": "windows"}, "containers": []})


@pytest.mark.parametrize(
    ("metric", "plain"), [("rate", True), ("a-b", True), ("Rate", False), ("a b", False), ("x" * 40, False)]
)
def test_a_jobs_name_is_the_studies_or_a_hash_and_always_fits(metric, plain):
    uid = "8c0c2a3e-9c1e-4f7c-8a9c-3d1f0b7f6f10"
    task = Task(run=Key("n", "r"), run_uid=uid, metric=metric, number=12, start_at=NOW)
    name = job_name(task)
    assert (name == f"{uid}.{metric}.12") is plain
    assert len(name) <= 63
    assert name == name.lower()
    other = Task(run=Key("n", "r"), run_uid=uid, metric=metric + "z", number=12, start_at=NOW)
    assert job_name(other) != name
