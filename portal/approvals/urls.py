"""Addresses of requests."""

from django.urls import path

from portal.approvals.views import requests as views

app_name = "approvals"
urlpatterns = [
    path("", views.waiting, name="list"),
    path("mine/", views.mine, name="mine"),
    path("all/", views.everything, name="all"),
    path("export/<slug:which>/", views.export, name="export"),
    path("<int:pk>/", views.detail, name="detail"),
    path("<int:pk>/approve/", views.approve, name="approve"),
    path("<int:pk>/decline/", views.decline, name="decline"),
    path("<int:pk>/withdraw/", views.withdraw, name="withdraw"),
]
