"""Requests and their answers, case by case: what a client sends, and what a Kubernetes API server says to it."""
