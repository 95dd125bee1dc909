"""Which names of models a project may be held to."""

from collections.abc import Collection, Iterable

from portal.spend.models import ModelAlias, Price


def known_models() -> frozenset[str]:
    """Return every name with a price: models and their aliases."""
    models = Price.objects.order_by().values_list("model", flat=True).distinct()
    return frozenset(models) | frozenset(ModelAlias.objects.values_list("alias", flat=True))


def unknown_in(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Return the names without a price; ``name*`` stands for all that begin so and needs one of them."""
    return [
        name
        for name in names
        if not (any(each.startswith(name[:-1]) for each in known) if name.endswith("*") else name in known)
    ]
