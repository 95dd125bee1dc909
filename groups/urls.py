"""Addresses of the group pages."""

from django.urls import path

from groups import views

app_name = "groups"
urlpatterns = [
    path("", views.group_list, name="list"),
    path("new/", views.new, name="new"),
    path("<slug:code>/", views.detail, name="detail"),
    path("<slug:code>/preview/", views.preview, name="preview"),
    path("<slug:code>/look-up/", views.look_up_members, name="look_up"),
    path("<slug:code>/delete/", views.delete, name="delete"),
]
