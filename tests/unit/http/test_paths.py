import pytest

from rollout.sandbox.http.paths import Target, parse


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/pods", Target("", "v1", "pods", None, "", "")),
        ("/api/v1/namespaces", Target("", "v1", "namespaces", None, "", "")),
        ("/api/v1/namespaces/shop", Target("", "v1", "namespaces", None, "shop", "")),
        ("/api/v1/namespaces/shop/status", Target("", "v1", "namespaces", None, "shop", "status")),
        ("/api/v1/namespaces/shop/finalize", Target("", "v1", "namespaces", None, "shop", "finalize")),
        ("/api/v1/namespaces/shop/pods", Target("", "v1", "pods", "shop", "", "")),
        ("/api/v1/namespaces/shop/pods/web/log", Target("", "v1", "pods", "shop", "web", "log")),
        ("/apis/apps/v1/deployments", Target("apps", "v1", "deployments", None, "", "")),
        (
            "/apis/apps/v1/namespaces/shop/deployments/web/scale",
            Target("apps", "v1", "deployments", "shop", "web", "scale"),
        ),
    ],
)
def test_a_resource_path_names_its_target(path, target):
    assert parse(path) == target


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/healthz",
        "/api/v1//pods",
        "/apis/apps/v1/namespaces/shop/deployments/web/scale/more",
        "/apis/apps/v1/deployments/a/b/c",
    ],
)
def test_what_is_no_resource_path_has_no_target(path):
    assert parse(path) is None
