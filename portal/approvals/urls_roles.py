"""Addresses of Settings → Roles and of the access review."""

from django.urls import path

from portal.approvals.views import reviews, roles

app_name = "roles"
urlpatterns = [
    path("", roles.table, name="table"),
    path("second-person/", roles.policy, name="policy"),
    path("review/", reviews.review, name="review"),
    path("review/export/", reviews.export, name="export"),
    path("review/start/", reviews.start, name="start"),
    path("review/<int:pk>/confirm/", reviews.confirm, name="confirm"),
]
