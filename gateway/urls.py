"""The control plane's pages. `/v1`, health and metrics are not here: they never enter Django (asgi.py)."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from budgets.admin.asking import ask_page
from gateway.admin.dashboards import dashboards

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("admin/dashboards/", admin.site.admin_view(dashboards), name="dashboards"),
    path("admin/", admin.site.urls),
    path("ask/<str:token>/", ask_page, name="ask"),
    path("api/", include("gateway.api.urls")),
]
