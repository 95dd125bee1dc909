"""Addresses of the user token pages."""

from django.urls import path

from tokens.views import changes, detail, importing, issuing, listing

app_name = "tokens"
urlpatterns = [
    path("", listing.token_list, name="list"),
    path("export/", listing.export, name="export"),
    path("issue/", issuing.issue, name="issue"),
    path("import/", importing.upload, name="import"),
    path("import/template/", importing.template, name="import_template"),
    path("import/create/", importing.create, name="import_create"),
    path("revoke/", listing.revoke_many, name="revoke_many"),
    path("<slug:key_id>/", detail.detail, name="detail"),
    path("<slug:key_id>/edit/", changes.edit, name="edit"),
    path("<slug:key_id>/suspend/", changes.suspend, name="suspend"),
    path("<slug:key_id>/resume/", changes.resume, name="resume"),
    path("<slug:key_id>/revoke/", changes.revoke, name="revoke"),
    path("<slug:key_id>/limits/", changes.limits, name="limits"),
    path("<slug:key_id>/limits/preview/", changes.preview, name="preview"),
]
