"""Load tests: a plan, locust in a process of its own that carries it out, and the result.

Everything here but `locustfile` (which locust runs) and `__main__` (which becomes locust) is pure.
"""
