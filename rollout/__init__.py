"""Surefoot: a progressive delivery controller with chaos testing."""

__version__ = "0.1.0"
