"""What the benchmark of the sandbox reads from `sandbox up`."""

from bench.sandbox import kubeconfig_in


def test_the_kubeconfig_is_the_one_that_the_shell_would_get() -> None:
    assert kubeconfig_in("export KUBECONFIG='/tmp/a b/api/kubeconfig'\n") == "/tmp/a b/api/kubeconfig"
