"""When a change of a limit admits more than before, and by how much: what some may not do alone."""

from dataclasses import dataclass

from portal.lib.errors import RuleBroken
from portal.spend.models import Limit
from portal.spend.scopes import Scope, project_each_user


@dataclass(frozen=True, slots=True)
class Held:
    """What a limit holds calls to: None admits everything, an observing limit does as well."""

    amount: int | None

    @classmethod
    def of(cls, limit: Limit | None) -> "Held":
        """Return what a row holds calls to."""
        return cls(limit.amount if limit is not None and limit.mode == Limit.Mode.ENFORCE else None)

    def is_raised_by(self, after: "Held", percent: int = 0) -> bool:
        """Tell whether `after` admits more than this, by more than so many percent."""
        if self.amount is None:
            return False
        return after.amount is None or after.amount * 100 > self.amount * (100 + percent)


def general_row(scope_key: str, metric: str, window: str, model: str) -> Limit | None:
    """Return the row for each user that a named user's own row replaces; None where there is no such row."""
    scope = Scope(scope_key)
    if scope.code == "project_user" and not scope.is_each and scope.project is not None:
        general = project_each_user(scope.project)
    elif scope.code == "user" and not scope.is_each:
        general = "u:*"
    else:
        return None
    return Limit.objects.filter(scope_key=general, metric=metric, window=window, model=model).first()


def refuse_raise(before: Limit | None, after: Limit | None, general: Limit | None, *, most: int) -> None:
    """Raise RuleBroken when the change admits more than `most` percent above what is admitted now (0: any more)."""
    now, then = Held.of(before or general), Held.of(after or general)
    if not now.is_raised_by(then, most):
        return
    if most:
        raise RuleBroken(
            f"Raising a limit by more than {most}% needs a second person. Ask for a raise.", field="amount"
        )
    raise RuleBroken("You may lower this limit, not raise or remove it. Ask for a raise.", field="amount")
