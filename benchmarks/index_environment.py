"""The peers' own environment: faiss, hnswlib and implicit are no part of the project, and are not in its lock."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_ENVIRONMENT = ROOT / ".venv-peers"
_PACKAGES = ROOT / "benchmarks/index_peers.txt"
_OWN_UV = ROOT / ".cache/uv/bin/uv"  # where the installation of the project puts it


def peers_python() -> Path:
    """The environment's Python; made at the first call, by uv if there is one, and again when the packages change.

    A package that cannot be installed is said and left out: the systems that need it will say so themselves.
    """
    python, stamp = _ENVIRONMENT / "bin/python", _ENVIRONMENT / "installed"
    wanted = _PACKAGES.read_text()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print("Setting up .venv-peers", flush=True)
    shutil.rmtree(_ENVIRONMENT, ignore_errors=True)
    uv = shutil.which("uv") or (str(_OWN_UV) if _OWN_UV.is_file() else None)
    make = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    if subprocess.run([*make, str(_ENVIRONMENT)], check=False).returncode:
        return Path(sys.executable)  # which has no peers: each system will say so
    install = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    # One by one, so that a peer that has no wheel and does not compile costs only itself.
    statuses = {
        package: subprocess.run([*install, "--quiet", package], check=False).returncode for package in wanted.split()
    }
    if failed := [package for package, status in statuses.items() if status]:
        print(f"Not installed, so not measured: {', '.join(failed)}", flush=True)
    else:
        stamp.write_text(wanted)
    return python
