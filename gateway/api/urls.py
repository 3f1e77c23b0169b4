"""Every app's part of /api/, under one router."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import DefaultRouter

import budgets.api
import evals.api
import prompts.api
import tenants.api
from gateway.api import caching, objects
from gateway.api.decisions import CallDecision
from gateway.api.presets import PresetsView
from gateway.api.prompts import CostEstimate, ExperimentFigures, PromptUsage
from tenants.scoped.permissions import IsMember

router = DefaultRouter()
for part in (tenants.api, objects, caching, budgets.api, evals.api, prompts.api):
    for name, view in part.ROUTES:
        router.register(name, view)

urlpatterns = [
    path("configuration/", objects.ConfigurationView.as_view(), name="api-configuration"),
    path("provider-presets/", PresetsView.as_view(), name="api-provider-presets"),
    path("schema/", SpectacularAPIView.as_view(permission_classes=[IsMember]), name="api-schema"),
    path(
        "docs/",
        SpectacularSwaggerSplitView.as_view(url_name="api-schema", permission_classes=[IsMember]),
        name="api-docs",
    ),
    path("calls/<str:call_id>/decision/", CallDecision.as_view(), name="call-decision"),
    path("cost-estimate/", CostEstimate.as_view(), name="cost-estimate"),
    path("prompts/<int:pk>/usage/", PromptUsage.as_view(), name="prompt-usage"),
    path("experiments/<int:pk>/figures/", ExperimentFigures.as_view(), name="experiment-figures"),
    *router.urls,
]
