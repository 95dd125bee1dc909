"""Addresses of the user token pages."""

from django.urls import path

from tokens import views

app_name = "tokens"
urlpatterns = [
    path("", views.token_list, name="list"),
    path("export/", views.export, name="export"),
    path("issue/", views.issue, name="issue"),
    path("<slug:key_id>/revoke/", views.revoke, name="revoke"),
]
