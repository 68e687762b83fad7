"""Runs pytest in forks of a process that has imported everything but the package: seconds for each change, not tens.

Test files are run one by one, each in a fork of its own, up to the first that fails.

python -m tests.mutation.warm serve SOCKET       # until it is killed
python -m tests.mutation.warm ask SOCKET TEST... # the exit code is pytest's, in the current folder
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import traceback

UNREWRITTEN = "ignore::pytest.PytestAssertRewriteWarning"  # hypothesis was imported before pytest could


def serve(path: str) -> None:
    """Answers one client after the other."""
    import hypothesis.strategies
    import jaxtyping
    import jsonschema
    import matplotlib.pyplot
    import mpmath
    import pytest
    import rich.progress
    import safetensors.torch
    import scipy.linalg
    import scipy.spatial.distance
    import scipy.special
    import scipy.stats
    import torch
    import torch.utils.flop_counter
    from transformers import LlavaForConditionalGeneration

    assert all((hypothesis, jaxtyping, jsonschema, matplotlib, mpmath, pytest, rich, safetensors, scipy, torch))
    assert LlavaForConditionalGeneration
    assert not [name for name in sys.modules if name.startswith("entropyprune_ref")], (
        "the package is imported too early"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            client, _ = listener.accept()
            with client:
                request = json.loads(client.recv(1 << 16))
                codes = (_forked(client, request["folder"], test) for test in request["tests"])
                with contextlib.suppress(BrokenPipeError):
                    client.sendall(bytes([next((code for code in codes if code), 0)]))


def _forked(client: socket.socket, folder: str, test: str) -> int:
    """The exit code of pytest in a child; the child is killed as soon as the client hangs up."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            client.close()
            code = _pytest(folder, test)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) & 0xFF
        readable, _, _ = select.select([client], [], [], 0.02)
        if readable and not client.recv(1):
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 70


def _pytest(folder: str, test: str) -> int:
    import pytest

    os.chdir(folder)
    sys.path.insert(0, folder)
    silence = os.open(os.path.join(folder, "last.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", UNREWRITTEN, test]))


def ask(path: str, tests: list[str]) -> int:
    """The exit code of pytest in the current folder."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        server.sendall(json.dumps({"folder": os.getcwd(), "tests": tests}).encode())
        answer = server.recv(1)
        return answer[0] if answer else 70


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(ask(sys.argv[2], sys.argv[3:]))
