"""The program inside an ephemeral container: it impairs one pod's network and undoes it, sends one signal, or looks.

Standard library only, one process tree, argv lists only; `tc` (iproute2) is the one other program. Nothing else of
Surefoot is imported, so that its image stays small. `python -m chaos.injector --help` says the rest.
"""
