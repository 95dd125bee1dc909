from django.apps import AppConfig


class AccountsConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "portal.accounts"
    label = "accounts"
    verbose_name = "People and access"

    def ready(self) -> None:
        from portal.accounts import checks  # noqa: F401  registers the system checks
