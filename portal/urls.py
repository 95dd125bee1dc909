"""Every page of the portal; /gateway/v1/ and the probes are answered before Django (portal.wsgi)."""

from django.urls import include, path

from portal import checks  # noqa: F401 – registers the checks of the database

urlpatterns = [
    path("", include("portal.monitoring.urls")),
    path("", include("portal.web.urls")),
    path("", include("portal.notifications.urls")),
    path("limits/", include("portal.limits.urls")),
    path("calls/", include("portal.calls.urls")),
    path("find/", include("portal.find.urls")),
    path("accounts/", include("portal.accounts.urls")),
    path("directory/", include("portal.directory.urls")),
    path("projects/", include("projects.urls")),
    path("groups/", include("groups.urls")),
    path("tokens/", include("tokens.urls")),
    path("keys/", include("apikeys.urls")),
    path("audit/", include("audit.urls")),
    path("requests/", include("portal.approvals.urls")),
    path("settings/prices/", include("portal.spend.urls")),
    path("settings/roles/", include("portal.approvals.urls_roles")),
    path("settings/", include("portal.organization.urls")),
    path("", include("portal.gateway.urls")),
]

handler400 = "portal.web.errors.bad_request"
handler403 = "portal.web.errors.forbidden"
handler404 = "portal.web.errors.not_found"
handler500 = "portal.web.errors.server_error"
