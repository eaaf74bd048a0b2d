"""A whole real cluster on this machine, without Docker: one node in network, mount and process namespaces of its own.

`keeper` is the process on the host that owns a cluster; `node` is the first process inside; `cluster` is what commands
and tests call. When the keeper dies, however it dies, the kernel ends everything inside: the processes end with the
first of them, the mounts and the network with the last. What is left then (cgroups, files) `remains` knows.
"""
