"""One of several processes that ask for decisions at once: `python -m tests.decision.overspend_clients < plan`.

Reads a plan as JSON, starts when its standard input ends, and prints what was granted.
"""

import json
import sys
from random import Random
from typing import Any

import django


def client(plan: dict[str, Any], number: int) -> list[list[Any]]:
    """Ask for calls of random sizes; give some back. Return those that are held, and refusals with their limits."""
    from portal.decision import decide, reservation

    random, done = Random(f"{plan['seed']}-{number}"), list[list[Any]]()
    for turn in range(plan["calls"]):
        who = random.randrange(len(plan["secrets"]))
        model = random.choice(["small", "large"])
        sizes = random.randrange(1, 3000), random.randrange(1, 900)
        call = decide.Call(
            plan["secrets"][who],
            model,
            f"{number}-{turn}",
            input_tokens=sizes[0],
            max_output_tokens=sizes[1],
        )
        answer = decide.authorize(plan["gateway"], call)
        if isinstance(answer, decide.Refused):
            failed = [f"{row.set_on}|{row.model}" for row in answer.rows if row.failed]
            done.append(["refused", who, model, *sizes, failed])
        elif random.random() < 0.1:
            held = reservation.decode(answer.reservation_id)
            assert held is not None
            decide.release(held)
        else:
            done.append(["granted", who, model, *sizes, []])
    return done


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    django.setup()
    from portal.decision import decide
    from tests.decision.threads import at_once

    decide.check_gateway(plan["gateway"])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    answers = at_once(
        lambda number: client(plan, number), range(plan["first"], plan["first"] + plan["clients"])
    )
    json.dump([item for answer in answers for item in answer], sys.stdout)


if __name__ == "__main__":
    main()
