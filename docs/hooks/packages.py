"""Files of other projects that the site or its check needs, and that are not committed here.

Each comes from its npm package, pinned by version and hash, into `.cache/`.
"""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"
SHA512 = {
    "katex@0.19.1": "jG8uKntjSEcm2EpQOh0XturpPuuC9r3Sq5HLHdsFdWZT27E672SF19QEi+of0/YeOy15lDgRhKvr5614uRrEfA==",
    "inter-ui@4.1.1": "451h0J29HyOmA+JXgSi/6M12tL7ZCZ8arYKZUXiOXTJpJbAKqJvFh3k5SiV3x7tKe0C0KyrKUUiQIvvZ2PQDcA==",
    "jetbrains-mono@1.0.6": "nVHwukZwQHKEQ3ZP1qlXFyFoUyBnonwrqLQf/ZlsoDPgTHm7T0EL0m1KJQ9U4ghu4emYuSR21uqmZalzNvvoUA==",
    "axe-core@4.14.1": "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    "@sparticuz/chromium@153.0.0": (
        "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
    ),
}


def fetch(package: str) -> Path:
    """Returns the folder of an unpacked package, downloaded if need be.

    Raises:
        RuntimeError: There is no npm, the download failed, or it is not the file whose hash is known.
    """
    target = CACHE / package.replace("/", "-")
    if target.is_dir():
        return target
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        unpacked = Path(folder) / "unpacked"
        packed = _downloaded(package, folder)
        if base64.b64encode(hashlib.sha512(packed).digest()).decode() != SHA512[package]:
            raise RuntimeError(f"{package} must have the SHA-512 {SHA512[package]}, got a file with another one")
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(unpacked, filter="data")
        try:
            (unpacked / "package").rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first
                raise
    return target


def _downloaded(package: str, folder: str) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(f"{package} is fetched by npm, which was not found: install Node.js and put npm on the PATH")
    done = subprocess.run([npm, "pack", "--silent", package], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"npm pack {package} failed: {done.stderr.strip()}")
    (archive,) = Path(folder).glob("*.tgz")
    return archive.read_bytes()
