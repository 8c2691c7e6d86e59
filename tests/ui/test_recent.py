"""Many viewers, one drawing."""

import threading
import time

from studio.ui.recent import Recent


def test_what_many_ask_for_at_once_is_made_once():
    made = []

    def slow(run):
        time.sleep(0.05)
        made.append(run)
        return f"{run} {len(made)}"

    recent, answers = Recent(slow, 0.3), []
    asking = [threading.Thread(target=lambda: answers.append(recent("a"))) for _ in range(20)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert answers == ["a 1"] * 20
    assert recent("b") == "b 2"
    time.sleep(0.35)
    assert recent("a") == "a 3" and len(recent._made) == 1
