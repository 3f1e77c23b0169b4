"""Scheduled work, in this theme. For superusers; the installation brings its own schedules."""

from django.contrib import admin
from django_celery_beat.admin import ClockedScheduleAdmin as BaseClockedScheduleAdmin
from django_celery_beat.admin import CrontabScheduleAdmin as BaseCrontabScheduleAdmin
from django_celery_beat.admin import PeriodicTaskAdmin as BasePeriodicTaskAdmin
from django_celery_beat.admin import PeriodicTaskForm, TaskSelectWidget
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from tenants.scoped.admin import ScopedAdmin

for model in (ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule):
    admin.site.unregister(model)


class TaskWidget(UnfoldAdminSelectWidget, TaskSelectWidget):
    """The known tasks, in this theme's select."""


class ScheduleForm(PeriodicTaskForm):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskWidget()


class SuperuserOnly(ScopedAdmin):
    area = "platform"
    workspace_path = ""


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(BasePeriodicTaskAdmin, SuperuserOnly):
    """What runs when."""

    form = ScheduleForm
    change_form_template = None  # the library's brings an inline script, which our policy refuses
    next_step = "Schedules are made when the server starts."


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(SuperuserOnly):
    is_left_out_of_search = True


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(BaseCrontabScheduleAdmin, SuperuserOnly):
    is_left_out_of_search = True


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(BaseClockedScheduleAdmin, SuperuserOnly):
    is_left_out_of_search = True
