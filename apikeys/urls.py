"""Addresses of the API key pages."""

from django.urls import path

from apikeys import views

app_name = "apikeys"
urlpatterns = [
    path("", views.key_list, name="list"),
    path("export/", views.export, name="export"),
    path("issue/", views.issue, name="issue"),
    path("<slug:key_id>/revoke/", views.revoke, name="revoke"),
]
