"""The sandbox's mesh: one real Envoy, configured from Kubernetes objects.

`render` is pure (objects in, Envoy resources out); `envoy` runs the process and tells which version of
the configuration is live; `driver` connects both to an API server.
"""
