"""Every setting, in an operator's order. Embedded by default: with nothing set, one process needs no service.

Each variable that is read here stands in .env.example, commented out, with its default; a test holds them together.
"""

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from gateway.core.crypto import Keyring, new_key
from gateway.telemetry.logs import logging_config
from gateway.telemetry.reports import start_reporting
from gateway.theme import UNFOLD as UNFOLD

# Vectors are small: several threads of numpy's library would take turns at spinning, at ten times the CPU.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent
environ.Env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
TESTING = "pytest" in sys.modules

# --- Where things are kept --------------------------------------------------------------------------
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "var"))).resolve()
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)

# Embedded: SQLite under DATA_DIR, one writer at a time. Scale-out: a PostgreSQL URL.
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'tollgate.sqlite3'}")}
IS_SQLITE = DATABASES["default"]["ENGINE"].endswith("sqlite3")
if IS_SQLITE:
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",  # take the write lock at BEGIN, so that waiting for it works
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA recursive_triggers=ON; "
            "PRAGMA busy_timeout=20000; PRAGMA cache_size=-4000; PRAGMA wal_autocheckpoint=4000;"
        ),
    }
else:
    # Each request of the pages has a thread of its own; the pool bounds what one process asks of the server. Seven of
    # them are the background's, whose work goes on all the time.
    DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", default=20)
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 20}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Embedded: counters, cache and live updates in this process. Scale-out: all of them in Redis.
REDIS_URL = env.str("REDIS_URL", default="")
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache" if REDIS_URL else "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": REDIS_URL or "tollgate",
    }
}
CHANNEL_LAYERS = {
    "default": (
        {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
        if REDIS_URL
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}


# --- Secrets: given by the operator, or made once and kept in DATA_DIR, readable by the owner alone ---
def kept_secret(name: str, make: Callable[[], str]) -> str:
    """The secret of this name from the environment, or the one kept in DATA_DIR; made at the first start.

    Raises ImproperlyConfigured with PostgreSQL when it isn't given: machines that share a database share its secrets.
    """
    given: str = env.str(name, default="")
    if given:
        return given
    kept = DATA_DIR / name.lower()
    if kept.exists():
        return kept.read_text().strip()
    if not IS_SQLITE and not TESTING:
        raise ImproperlyConfigured(
            f"{name} must be set when DATABASE_URL is not SQLite: every process that shares the database needs the same."
        )
    fresh = kept.with_name(f"{kept.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(make())
    try:
        os.link(fresh, kept)  # atomic: of two processes that start at once, one wins and both read its secret
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return kept.read_text().strip()


SECRET_KEY = kept_secret("SECRET_KEY", lambda: secrets.token_urlsafe(48))
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])  # old ones: API keys made under them stay valid
KEYRING = Keyring(key.strip() for key in kept_secret("ENCRYPTION_KEYS", new_key).split(","))

# --- Who may reach it ---------------------------------------------------------------------------------
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]", "testserver"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
TRUSTED_PROXY_HOPS = env.int("TRUSTED_PROXY_HOPS", default=0)  # how many proxies in front append to X-Forwarded-For
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXY_HOPS else None
HTTPS_ONLY = env.bool("HTTPS_ONLY", default=False)  # cookies and HSTS for an installation behind TLS
PUBLIC_URL = env.str("PUBLIC_URL", default="")  # where people reach the pages; links in refusals begin with it
PRIVATE_WEBHOOK_HOSTS = env.list("PRIVATE_WEBHOOK_HOSTS", default=["127.0.0.1"] if IS_SQLITE else [])

SESSION_COOKIE_AGE = 8 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Strict"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- How calls are answered ------------------------------------------------------------------------------
CACHE_MEMORY_BYTES = env.int("CACHE_MEMORY_BYTES", default=32 * 1024 * 1024)  # of one worker, without Redis
EMBEDDING_MODEL_DIR = env.str("EMBEDDING_MODEL_DIR", default="")  # a local model for semantic caches; empty: none
MAX_CONCURRENT_CALLS = env.int("MAX_CONCURRENT_CALLS", default=2000)  # of one worker; more are refused with 503
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=10 * 1024 * 1024)
UPSTREAM_CONNECT_SECONDS = env.float("UPSTREAM_CONNECT_SECONDS", default=2.0)
UPSTREAM_FIRST_BYTE_SECONDS = env.float("UPSTREAM_FIRST_BYTE_SECONDS", default=60.0)
UPSTREAM_IDLE_SECONDS = env.float("UPSTREAM_IDLE_SECONDS", default=60.0)
UPSTREAM_TOTAL_SECONDS = env.float("UPSTREAM_TOTAL_SECONDS", default=600.0)
CONFIG_POLL_SECONDS = env.float("CONFIG_POLL_SECONDS", default=0.25)  # how soon another process sees a change
DRAIN_SECONDS = env.float("DRAIN_SECONDS", default=60.0)  # how long running calls may take after SIGTERM
HOLD_AHEAD = env.bool("HOLD_AHEAD", default=True)  # with Redis: money of budgets that a worker holds for calls to come
EVALS_COMPLETER = "gateway.client.complete"  # the one arrow that points up: evals ask the gateway

# --- What is installed --------------------------------------------------------------------------------------
INSTALLED_APPS = [
    # Before staticfiles, which it gives its ASGI; it costs 20 MB, and `manage.py serve` does without.
    *(["daphne"] if "runserver" in sys.argv else []),
    "unfold.apps.BasicAppConfig",  # without its own site: ours is gateway.site
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.inlines",
    "unfold.contrib.simple_history",
    "gateway.apps.WebUiConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "simple_history",
    "django_celery_beat",
    "tenants",
    "prompts",
    "budgets",
    "audit",
    "evals",
    "gateway",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "gateway.headers.SecurityHeaders",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
]
ROOT_URLCONF = "gateway.urls"
ASGI_APPLICATION = "gateway.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
SIMPLE_HISTORY_REVERT_DISABLED = True  # history is read, never written back

# --- Language, time, files -----------------------------------------------------------------------------------
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"  # Django's default is Chicago's; a budget must not reset at 18:00
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # whitenoise warns about a directory that is not there
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # serves static files without a collectstatic step

# --- The API ----------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tenants.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.SearchFilter",
    ],
    "EXCEPTION_HANDLER": "tenants.scoped.api.handle_error",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tollgate control plane",
    "DESCRIPTION": "Every object of the web UI. Send an admin token as `Authorization: Bearer tgadm_…`; keys of /v1 do "
    "not work here. Rows of workspaces in which your role sees nothing answer 404.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ExperimentStateEnum": "prompts.models.Experiment.STATES",
        "RaiseStateEnum": "budgets.models.raises.Raise.State",
        "OutboxStateEnum": "tenants.models.outbox.OutboxMessage.State",
    },
    "SORT_OPERATIONS": True,
}

# --- Background work ------------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL or "memory://localhost/"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = TIME_ZONE
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
if IS_SQLITE:  # a connection costs more than what most tasks do with it, and a file does not go away
    CELERY_DB_REUSE_MAX = 1000
CELERY_BEAT_SCHEDULER = "gateway.beat:Schedule"
CELERY_BEAT_SCHEDULE: dict[str, dict[str, object]] = {
    "drop records and bodies over their time": {"task": "audit.drop_what_is_over", "schedule": 3600.0},
    "deliver alerts": {"task": "budgets.deliver_alerts", "schedule": 2.0},
    "tell prompt events": {"task": "prompts.deliver_events", "schedule": 2.0},
    "watch experiments": {"task": "gateway.watch_experiments", "schedule": 5.0},
    "sum up calls": {"task": "audit.roll_up", "schedule": 60.0},
    "finish erasures": {"task": "audit.finish_erasures", "schedule": 300.0},
}

# --- What is told ------------------------------------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING = logging_config(LOG_LEVEL.upper())
OTEL_EXPORTER_OTLP_ENDPOINT = env.str(
    "OTEL_EXPORTER_OTLP_ENDPOINT", default=""
)  # empty: neither traces nor metrics are sent
OTEL_METRIC_EXPORT_INTERVAL = env.int("OTEL_METRIC_EXPORT_INTERVAL", default=60_000)  # milliseconds
TRACES_SAMPLE_RATIO = env.float("TRACES_SAMPLE_RATIO", default=0.05)  # of the calls that do not say it themselves
TRACE_URL = env.str("TRACE_URL", default="")  # where a trace is shown: a call's page leads there
if not 0.0 <= TRACES_SAMPLE_RATIO <= 1.0:
    raise ImproperlyConfigured(f"TRACES_SAMPLE_RATIO must be from 0 to 1; it is {TRACES_SAMPLE_RATIO:g}.")
SENTRY_DSN = env.str("SENTRY_DSN", default="")  # needs the extra: pip install "tollgate[sentry]"
if SENTRY_DSN:
    start_reporting(SENTRY_DSN)
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
