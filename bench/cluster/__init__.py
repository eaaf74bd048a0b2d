"""Figures on a real control plane (`make bench-cluster`): etcd, kube-apiserver and kube-controller-manager.

Pods are turned Ready at once by a stand-in, so that the controller is what is measured. `python -m bench.cluster`
measures, prints, and keeps the chapter in bench/RESULTS.md; `bench.cluster.world` is where it is measured in.
"""
