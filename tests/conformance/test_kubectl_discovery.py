"""What kubectl learns of the API: resources, versions, schemas, who one is."""


def test_api_resources_lists_names_short_names_and_scope(kubectl):
    rows = {line.split()[0]: line.split()[1:] for line in kubectl("api-resources").out.splitlines()}
    assert rows["deployments"] == ["deploy", "apps/v1", "true", "Deployment"]
    assert rows["namespaces"] == ["ns", "v1", "false", "Namespace"]
    assert rows["customresourcedefinitions"][0] == "crd,crds"


def test_api_versions_lists_every_group_version(kubectl):
    versions = kubectl("api-versions").out.split()
    assert {"v1", "apps/v1", "batch/v1", "coordination.k8s.io/v1"} <= set(versions)


def test_explain_describes_fields_and_follows_references(kubectl):
    replicas = kubectl("explain", "deployment.spec.replicas").out
    assert "FIELD: replicas <integer>" in replicas
    containers = kubectl("explain", "pod.spec.containers").out
    assert "livenessProbe\t<Probe>" in containers
    assert 'field "nonsense" does not exist' in kubectl("explain", "pod.spec.nonsense", code=1).err


def test_whoami_names_the_user(kubectl):
    out = kubectl("auth", "whoami", "-o", "json").data
    assert "system:masters" in out["status"]["userInfo"]["groups"]
    assert kubectl("auth", "can-i", "delete", "pods").out == "yes\n"


def test_version_names_client_and_server(kubectl):
    out = kubectl("version", "-o", "json").data
    assert out["serverVersion"]["gitVersion"].startswith("v1.")


def test_raw_paths_answer_documents_and_probes(kubectl):
    assert kubectl("get", "--raw", "/readyz").out == "ok"
    assert kubectl("get", "--raw", "/api").data["versions"] == ["v1"]
    assert "NotFound" in kubectl("get", "--raw", "/nonsense", code=1).err
