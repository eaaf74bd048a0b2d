"""Where the node agent differs from a kubelet, for `rollout sandbox gaps`."""

GAPS: tuple[str, ...] = (
    (
        "Pods are processes of your own user: no container isolation, no file system of their own, and volumes"
        " are not mounted (env from ConfigMaps and Secrets works)."
    ),
    (
        "Images are not pulled: images.yaml says which command stands for an image; without a match, and without"
        " a command in the pod, the demo app runs in its place (--strict-images refuses instead)."
    ),
    "Resource requests and limits are not enforced; nothing is ever OOMKilled or evicted for pressure.",
    "One node. The scheduler ignores nodeSelector, affinity, taints, topology spread, priority and resources.",
    "Pods have no names in DNS and Services no virtual addresses: Services are reached through the mesh.",
    (
        "Container ports below 1024 (and all of them where only 127.0.0.1 exists, as on macOS) are served on another"
        " local port, told in PORT and in the annotation sandbox.surefoot.dev/ports."
    ),
    (
        "Not there: gRPC and HTTPS probes, restartable init containers (sidecars), exec, attach and"
        " port-forward, pod-level activeDeadlineSeconds, service environment variables, container resize,"
        " terminationMessagePath, security contexts."
    ),
    (
        "A process that does not handle SIGTERM ends at once by it; in a cluster it is the first process of its"
        " container, gets no signal that it has no handler for, and is killed after the grace period."
    ),
    "The message of a container that could not be started (StartError) is not in the words of containerd and runc.",
    (
        "Ephemeral containers are processes beside the pod's. With targetContainerName they share no process namespace"
        " with the target: SUREFOOT_TARGET_PID is the process id of its main process (in a cluster that is 1)."
        " Capabilities and users of a securityContext have no effect, and what they change is changed for the machine."
    ),
    "When the node agent ends, all its pods end with it; the next agent starts them again and counts one restart.",
)
