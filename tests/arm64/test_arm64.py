"""The wheel on Linux for arm64: convert, verify, publish and serve, without the packages that have
no wheel there (tfx-bsl and what is built on it). Where no Arm is at hand, QEMU is the Arm.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from built_wheel import ROOT, build, copy_sources, predicted, served

import edgeline

pytestmark = [pytest.mark.long, pytest.mark.timeout(5400)]
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"))
BUILD = ROOT / "tests" / "arm64" / "build_root.sh"
MADE_OF = (ROOT / "constraints.txt", ROOT / "setup.cfg", BUILD)
DIGEST = hashlib.sha256(b"".join(file.read_bytes() for file in MADE_OF)).hexdigest()[:16]
DEBIAN = CACHE / f"arm64-{DIGEST}"
LACKING = ("tfx_bsl", "tensorflow_transform", "tensorflow_model_analysis", "apache_beam")
# in a mount namespace of its own, which ends with the command
ENTER = """
mount -t proc proc "$0/proc" && mount --bind "$1" "$0/work" && mount --bind "$2" "$0/opt/edgeline"
mount --rbind /dev "$0/dev"
root="$0"; shift 2
exec chroot "$root" /usr/bin/env --ignore-environment --chdir=/work HOME=/work LANG=C.UTF-8 \
  PATH=/usr/bin:/bin PYTHONPATH=/opt/edgeline:/opt/packages EDGELINE_WARM_SECONDS=0 "$@"
"""


@dataclass(frozen=True)
class Arm:
    """Debian for arm64 with the wheel.

    Attributes:
        work: the folder that commands run in.
        wheel: the folder with the unpacked wheel.
    """

    work: Path
    wheel: Path

    def command(self, *arguments: str) -> list[str]:
        inside = ["unshare", "--mount", "sh", "-euc", ENTER, DEBIAN, self.work, self.wheel]
        return [*map(str, inside), "python3", *arguments]

    def python(self, *arguments: str) -> str:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout.strip()

    def edgeline(self, *arguments: str) -> str:
        return self.python("-m", "edgeline", *arguments)


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Arm:
    if not (DEBIAN / "usr").is_dir():
        pytest.skip("NOT TESTED: edgeline on arm64, whose root tests/arm64/build_root.sh makes")
    made, sources = (tmp_path_factory.mktemp(name) for name in ("wheel", "sources"))
    wheel = build("wheel", copy_sources(sources), made)
    zipfile.ZipFile(wheel).extractall(made / "unpacked")
    arm = Arm(tmp_path_factory.mktemp("work"), made / "unpacked")
    command = arm.command("-c", "import platform; print(platform.machine())")
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"NOT TESTED: edgeline on arm64, as no other root can be entered: {error}")
    if done.stdout.strip() != "aarch64":
        pytest.skip(f"NOT TESTED: edgeline on arm64, which is not emulated here: {done.stderr}")
    return arm


def test_a_bundle_made_here_is_verified_and_served_there(arm: Arm) -> None:
    sys.path.append(str(ROOT / "tests" / "server"))
    from publishing import bundle, model

    bundle(arm.work / "mixed" / "m" / "1", model(2), recorded=7)
    arm.edgeline("verify", "mixed/m/1")
    row = {"amount": [1.0, 2.0], "count": [1], "name": ["a"]}
    with served(arm.command("-m", "edgeline", "serve", "mixed"), arm.work) as address:
        assert predicted(address, "m", row)["score"] == [7.0]


@pytest.fixture(scope="module")
def published(arm: Arm) -> Path:
    """The bundle of a Keras model: imported, converted, verified and published over there."""
    arm.edgeline("init", "digits", "--example", "pictures")
    arm.edgeline("compile-model", "digits/digits.keras", "--target", "litert", "-o", "made")
    given = {
        "source": "digits/digits.keras",
        "data": "digits/pictures",
        "images": '{"image": [28, 28, 1]}',
        "split_ratios": '{"train": 1, "eval": 1}',
        "model_name": "digits",
        "destination": "models",
    }
    options = [each for name, value in given.items() for each in ("--set", f"{name}={value}")]
    arm.edgeline("run", "pretrained", *options)
    return arm.work / "models" / "digits" / "1"


def test_each_library_is_of_arm64_and_what_has_no_wheel_is_not_there() -> None:
    if not DEBIAN.is_dir():
        pytest.skip("NOT TESTED: edgeline on arm64, whose root tests/arm64/build_root.sh makes")
    packages = DEBIAN / "opt" / "packages"
    libraries = [file for file in packages.rglob("*.so*") if file.is_file()]
    machines = {file.read_bytes()[18:20] for file in libraries}
    assert len(libraries) > 100 and machines == {b"\xb7\x00"}  # EM_AARCH64
    assert [name for name in LACKING if (packages / name).exists()] == []


def test_what_was_published_there_is_verified_there_and_here(arm: Arm, published: Path) -> None:
    assert list((arm.work / "made").rglob("*.tflite"))
    arm.edgeline("verify", "models/digits/1")
    command = [sys.executable, "-m", "edgeline", "verify", str(published)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_served_there_and_answers_as_here(arm: Arm, published: Path) -> None:
    row = {"image": [[[200 * (4 < y < 20 and 12 < x < 16)] for x in range(28)] for y in range(28)]}
    command = arm.command("-m", "edgeline", "serve", "models")
    with served(command, arm.work) as address:
        found = predicted(address, "digits", row)
    with edgeline.load(published) as model:
        [wanted] = (values.tolist() for values in model.predict([row]).values())
    values = next(iter(found.values())) if isinstance(found, dict) else found
    assert values == pytest.approx(wanted[0], abs=1e-5)


def test_training_there_is_refused_before_it_begins(arm: Arm) -> None:
    arm.edgeline("init", "diabetes", "--example", "diabetes")
    command = arm.command("-m", "edgeline", "run", "diabetes/pipeline.py")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("Error: Training needs Linux on x86-64, as tfx-bsl has no wheel")
