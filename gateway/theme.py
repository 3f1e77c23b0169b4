"""How the web UI looks: the dictionary that settings hands to Unfold. Data only: it imports nothing of Django's.

Everything is served from here; no page asks another host for anything.
"""

from typing import Any

# A calm teal on slate. Contrast of text on 600 is 5.3:1, on 500 in the dark 7.1:1.
_PRIMARY = {
    "50": "#f0fdfa",
    "100": "#ccfbf1",
    "200": "#99f6e4",
    "300": "#5eead4",
    "400": "#2dd4bf",
    "500": "#14b8a6",
    "600": "#0f766e",
    "700": "#115e59",
    "800": "#134e4a",
    "900": "#0f3f3c",
    "950": "#042f2e",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Tollgate",
    "SITE_HEADER": "Tollgate",
    "SITE_SUBHEADER": "LLM gateway",
    "SITE_SYMBOL": "toll",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "gateway.site.favicon"}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "ENVIRONMENT": "gateway.site.environment",
    "DASHBOARD_CALLBACK": "gateway.admin.home.dashboard",
    "STYLES": ["gateway.site.stylesheet"],
    "BORDER_RADIUS": "8px",
    "COLORS": {"primary": _PRIMARY},
    "COMMAND": {"search_models": True, "show_history": False},
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": "gateway.site.navigation",
    },
    "ACCOUNT": {"navigation": "gateway.site.account_links"},
    "LOGIN": {"form": "gateway.login.LoginForm"},
}
