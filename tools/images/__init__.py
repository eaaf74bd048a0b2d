"""Images without Docker and without a registry: root file systems from Debian packages, written as OCI archives.

`recipes` says what is in which image, `base` and `python` make the layers, `archive` writes them, `sbom` lists what
is inside. What an image of ours says about itself (user, entrypoint, environment) is read from the Dockerfile, which
stays the public way to build it: `dockerfile`.
"""
