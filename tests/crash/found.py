"""Makes what the chaos needs, prints it as JSON: `python -m tests.crash.found`."""

import json
import sys
from decimal import Decimal

import django

PRICES = (Decimal("2.500000001"), Decimal("9.999999999"))
LIMIT = Decimal("1.5")


def main() -> None:
    django.setup()
    from audit.actors import Actor
    from portal.accounts.models import Person
    from portal.decision import services
    from portal.gateway.services import register_gateway
    from projects.services import add_member, create_project
    from tokens.services import issue_token

    actor = Actor.command()
    services.set_price(model="chaos", input=PRICES[0], output=PRICES[1], ceiling=4000, actor=actor)
    credentials = []
    person = Person.objects.create(name="Ann", email="ann@example.org")
    for code, limit in (("free", None), ("tight", str(LIMIT))):
        project = create_project(code=code, name=code.title(), monthly_limit=limit, actor=actor)
        add_member(project=project, person=person, actor=actor)
        for number in range(2):
            token, secret = issue_token(project=project, person=person, name=f"{number}", actor=actor)
            credentials.append({"id": token.key_id, "secret": secret, "project": code})
    gateways = []
    for number in range(3):
        gateway, secret = register_gateway(name=f"gateway {number}", actor=actor)
        gateways.append({"id": gateway.key_id, "secret": secret})
    json.dump({"credentials": credentials, "gateways": gateways}, sys.stdout)


if __name__ == "__main__":
    main()
