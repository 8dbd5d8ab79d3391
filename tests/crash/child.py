"""A process to be killed: appends from several threads, and prints each answer as soon as it has it.

python child.py DIR THREADS SEED        one JSON line an answer; exit code as `graven` would have it
"""

import base64
import json
import random
import sys
import threading
from pathlib import Path

from graven.app import Log
from graven.core.errors import GravenError


def main(directory: str, threads: int, seed: int) -> int:
    failed: list[GravenError] = []
    out = threading.Lock()

    def append(number: int) -> None:
        dice = random.Random(f"{seed} {number}")
        turn = 0
        try:
            while not failed:
                turn += 1
                events = [
                    {"action": "load", "id": f"{seed}-{number}-{turn}-{n}", "message": "x" * dice.randrange(400)}
                    for n in range(dice.choice((1, 1, 3, 40)))
                ]
                answer = log.append(events)
                line = {
                    "first": answer.first_index,
                    "events": [json.dumps(event, separators=(",", ":")) for event in events],
                    "receipt": base64.b64encode(answer.receipt).decode(),
                }
                with out:
                    print(json.dumps(line), flush=True)
        except GravenError as error:
            failed.append(error)

    with Log.open(Path(directory)) as log:
        workers = [threading.Thread(target=append, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    for error in failed[:1]:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
