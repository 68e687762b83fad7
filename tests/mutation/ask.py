"""Asks the warm process about the tree as it stands: the test command of every change, so it imports little.

python -S -E ask.py SOCKET   # the exit code is 0 if no test noticed
"""

import socket
import sys

if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(sys.argv[1])
        answer = server.recv(1)
        sys.exit(answer[0] if answer else 70)
