"""Where the workload controllers differ from kube-controller-manager, for `rollout sandbox gaps`."""

GAPS: tuple[str, ...] = (
    "HorizontalPodAutoscaler is an object only: nothing scales by it.",
    (
        "Job: no Indexed completion, podFailurePolicy, successPolicy or per-index back-off (a Job that asks for one"
        " fails with the reason NotSupported); finished pods are counted without finalizers."
    ),
    "No StatefulSet, DaemonSet, CronJob, ReplicationController or Endpoints objects (EndpointSlices are there).",
    "A pod-template-hash has other letters than in Kubernetes; the same template gives the same one every time.",
    "When a ReplicaSet shrinks, pods doubled up on one node do not go first: there is one node.",
)
