"""Who calls in the measurements: one project with seven limits on three levels."""

from decimal import Decimal


def prepare() -> dict[str, str]:
    """Make a project with seven limits on three levels; return who calls."""
    from audit.actors import Actor
    from groups.services import create_group
    from portal.accounts.services import person_without_identity
    from portal.decision.services import set_limit, set_price
    from portal.gateway.services import register_gateway
    from portal.spend import scopes
    from projects.services import create_project
    from tokens.services import issue_token

    actor = Actor.command("bench")
    set_price(model="bench", input=Decimal("0.5"), output=Decimal("1.5"), ceiling=4096, actor=actor)
    person = person_without_identity(email="bench@example.com", actor=actor)
    group = create_group(code="bench", name="Bench", actor=actor)
    project = create_project(code="bench", name="Bench", group=group, owners=[person], actor=actor)
    for scope in (scopes.ORGANIZATION, scopes.group(group.pk), scopes.project(project.pk)):
        for window in ("day", "month"):
            set_limit(scope_key=scope, label=scope, metric="spend", window=window, amount=10**9, actor=actor)
    key = scopes.project(project.pk)
    set_limit(scope_key=key, label="bench", metric="requests", window="minute", amount=10**12, actor=actor)
    _, credential = issue_token(project=project, person=person, actor=actor)
    _, gateway = register_gateway(name="bench", actor=actor)
    return {"gateway": gateway, "credential": credential, "model": "bench", "project": str(project.pk),
            "group": str(group.pk)}  # fmt: skip
