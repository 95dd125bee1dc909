"""Addresses of the pages of gateways."""

from django.urls import path

from portal.gateway import views

app_name = "gateway"
urlpatterns = [
    path("settings/gateways/", views.gateway_list, name="list"),
    path("settings/gateways/register/", views.register, name="register"),
    path("settings/gateways/<str:key_id>/secret/", views.rotate, name="rotate"),
    path("settings/gateways/<str:key_id>/revoke/", views.revoke, name="revoke"),
]
