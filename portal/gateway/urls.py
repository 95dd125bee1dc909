"""Addresses of the pages of gateways, and of refused requests."""

from django.urls import path

from portal.gateway import explain, refusals_views, views

app_name = "gateway"
urlpatterns = [
    path("refusals/", refusals_views.refusal_list, name="refusals"),
    path("refusals/explain/", explain.explain, name="explain"),
    path("refusals/<uuid:decision_id>/", refusals_views.refusal, name="refusal"),
    path("settings/gateways/", views.gateway_list, name="list"),
    path("settings/gateways/register/", views.register, name="register"),
    path("settings/gateways/<str:key_id>/secret/", views.rotate, name="rotate"),
    path("settings/gateways/<str:key_id>/suspend/", views.suspend, name="suspend"),
    path("settings/gateways/<str:key_id>/resume/", views.resume, name="resume"),
    path("settings/gateways/<str:key_id>/revoke/", views.revoke, name="revoke"),
]
