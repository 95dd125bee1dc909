"""Addresses of the group pages."""

from django.urls import path

from groups.views import changes, detail, listing

app_name = "groups"
urlpatterns = [
    path("", listing.group_list, name="list"),
    path("export/", listing.export, name="export"),
    path("new/", listing.new, name="new"),
    path("<slug:code>/", detail.detail, name="detail"),
    path("<slug:code>/preview/", detail.preview, name="preview"),
    path("<slug:code>/members/", detail.members, name="members"),
    path("<slug:code>/members/export/", detail.export_members, name="export_members"),
    path("<slug:code>/settings/", changes.settings, name="settings"),
    path("<slug:code>/look-up/", changes.look_up_members, name="look_up"),
    path("<slug:code>/administrators/add/", changes.add_admin, name="add_admin"),
    path("<slug:code>/administrators/<int:pk>/remove/", changes.remove_admin, name="remove_admin"),
    path("<slug:code>/delete/", changes.delete, name="delete"),
]
