"""A window without its page: `python -m tests.chaos.window HOME`. What is left is what `app.py` does for the jobs."""

import sys

from studio.home import Home
from studio.jobs import client

if __name__ == "__main__":
    home = Home(sys.argv[1])
    client.register_window(home)
    client.keep_supervisor(home)
