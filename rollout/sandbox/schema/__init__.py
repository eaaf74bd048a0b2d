"""What the API server knows about objects: schemas, defaults, validation, patches, field ownership.

Everything here is a pure function on plain dicts; nothing mutates its arguments.
"""
