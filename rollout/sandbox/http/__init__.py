"""The wire of the sandbox's API server: HTTPS, discovery, content types, watch streams, kubectl's needs.

`server.ApiServer` is what others start; `python -m rollout.sandbox.http` is the same as a process. What an
object means (versions, conflicts, defaults, patches, admission) is the business of `rollout.sandbox.storage`.
"""
