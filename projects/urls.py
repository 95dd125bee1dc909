"""Addresses of the project pages."""

from django.urls import path

from projects.views import (
    bulk,
    credentials,
    detail,
    importing,
    importing_members,
    limits,
    listing,
    members,
    state,
)

app_name = "projects"
urlpatterns = [
    path("", listing.project_list, name="list"),
    path("export/", listing.export, name="export"),
    path("bulk/", bulk.change, name="bulk"),
    path("import/", importing.upload, name="import"),
    path("import/template/", importing.template, name="export_template"),
    path("import/create/", importing.create, name="import_create"),
    path("new/", listing.new, name="new"),
    path("new/code/", listing.suggest, name="suggest"),
    path("<slug:code>/", detail.overview, name="detail"),
    path("<slug:code>/tokens/", credentials.tokens, name="tokens"),
    path("<slug:code>/keys/", credentials.keys, name="keys"),
    path("<slug:code>/members/", members.members, name="members"),
    path("<slug:code>/members/export/", members.export, name="export_members"),
    path("<slug:code>/members/import/", importing_members.upload, name="import_members"),
    path("<slug:code>/members/import/template/", importing_members.template, name="import_members_template"),
    path("<slug:code>/members/import/add/", importing_members.add, name="import_members_add"),
    path("<slug:code>/members/add/", members.add, name="add_member"),
    path("<slug:code>/members/<int:pk>/remove/", members.remove, name="remove_member"),
    path("<slug:code>/members/<int:pk>/role/<slug:role>/", members.change_role, name="change_role"),
    path("<slug:code>/groups/add/", members.admit, name="admit_group"),
    path("<slug:code>/groups/<slug:group>/remove/", members.exclude, name="exclude_group"),
    path("<slug:code>/limits/", limits.limits, name="limits"),
    path("<slug:code>/limits/preview/", limits.preview, name="preview"),
    path("<slug:code>/activity/", detail.activity, name="activity"),
    path("<slug:code>/activity/export/", detail.export_activity, name="export_activity"),
    path("<slug:code>/settings/", state.settings, name="settings"),
    path("<slug:code>/delete/", state.delete, name="delete"),
    path("<slug:code>/state/<slug:state>/", state.change, name="state"),
]
