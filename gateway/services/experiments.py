"""Watching experiments: an arm that surely breaks a guard is stopped, and everybody is served the control again."""

import logging

from gateway.queries.experiments import arm_figures
from prompts.models import Experiment
from prompts.services.publishing import GUARD, stop_experiment
from prompts.verdicts import Judgement, judge

log = logging.getLogger(__name__)


def judged(experiment: Experiment) -> Judgement:
    """What the experiment's calls say now."""
    return judge(experiment, arm_figures(experiment))


def watch_experiments() -> int:
    """Look at every experiment that runs; returns how many were stopped. Of several who do so at once, one stops it."""
    stopped = 0
    for experiment in Experiment.objects.filter(state="running").select_related("prompt__workspace"):
        broken = judged(experiment).broken
        if broken:
            log.warning("experiment %s of %s is stopped: %s", experiment, experiment.prompt, broken[0])
            stopped += stop_experiment(experiment=experiment, actor=GUARD, reason=broken[0][:300]) is not None
    return stopped
