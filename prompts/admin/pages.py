"""What a product manager lives in: a prompt with what is live, its editor, differences and reviews."""

import json
from typing import Any

import msgspec
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from gateway.core.errors import GatewayError
from gateway.core.tokens import estimated
from prompts.admin.differences import differences
from prompts.models import Approval, Channel, Prompt, PromptDraft, PromptVersion, SuiteResult
from prompts.queries import current_deployment, current_deployments
from prompts.rendering import OWN_MESSAGES, compiled
from prompts.services.lint import warnings
from prompts.services.partials import pin_partials
from prompts.services.publishing import point_channel, save_version, undo, undone
from prompts.services.reviewing import ask_for_review, give_review, newest_words, obstacles
from prompts.services.words import Words, check_words
from prompts.template import TemplateError
from tenants.queries import access_of
from tenants.roles import Verb

CHANNELS = ("production", "staging")
SHOWN_MOST = 50
LONGEST_DRAFT = 1_000_000


def find(request: HttpRequest, page: Any, pk: str, verb: Verb = "view") -> Prompt:
    """The prompt, if this person may. Raises Http404 and PermissionDenied."""
    prompt: Prompt | None = page.get_object(request, pk)
    if prompt is None:
        raise Http404
    if not access_of(request.user).may(verb, "prompts", prompt.workspace_id):
        raise PermissionDenied
    return prompt


def show(request: HttpRequest, page: Any, prompt: Prompt, template: str, **more: Any) -> HttpResponse:
    context = {
        **page.admin_site.each_context(request),
        "opts": page.model._meta,
        "prompt": prompt,
        "may": {verb: access_of(request.user).may(verb, "prompts", prompt.workspace_id) for verb in VERBS},
        **more,
    }
    return TemplateResponse(request, f"prompts/{template}", context)


VERBS: tuple[Verb, ...] = ("change", "publish", "review")


def prompt_page(request: HttpRequest, page: Any, prompt: Prompt) -> HttpResponse:
    """What is live where since when by whom, the versions, and the history."""
    live = {row.channel: row for row in current_deployments().filter(prompt=prompt)}
    rules = {row.name: row for row in Channel.objects.filter(workspace_id=prompt.workspace_id)}
    names = [*CHANNELS, *sorted((live.keys() | rules.keys()) - set(CHANNELS))]
    strip = [
        {
            "name": name,
            "now": live.get(name),
            "before": undone(live[name]) if name in live else None,
            "is_protected": name in rules and rules[name].is_protected,
        }
        for name in names
    ]
    where: dict[int, list[str]] = {}
    for row in live.values():
        if row.version is not None:
            where.setdefault(row.version_id, []).append(row.channel)
    versions = list(prompt.versions.select_related("author").order_by("-number")[:SHOWN_MOST])
    results = results_of(versions)
    for version in versions:
        version.live_on, version.results = where.get(version.pk, []), results.get(version.pk, [])
    history = prompt.deployments.select_related("version", "experiment").order_by("-at", "-seq")[:SHOWN_MOST]
    return show(
        request,
        page,
        prompt,
        "prompt.html",
        title=prompt.name,
        strip=strip,
        versions=versions,
        history=history,
        channels=names,
        reviews=[row for v in versions for row in v.reviews.all()] if versions else [],
    )


def results_of(versions: list[PromptVersion]) -> dict[int, list[SuiteResult]]:
    """By version, how the newest run of each suite ended for it. One query."""
    newest: dict[tuple[int, str], SuiteResult] = {}
    for result in SuiteResult.objects.filter(version__in=versions).order_by("id"):
        newest[result.version_id, result.suite] = result
    found: dict[int, list[SuiteResult]] = {}
    for (version, _), result in sorted(newest.items()):
        found.setdefault(version, []).append(result)
    return found


def change_channel(request: HttpRequest, page: Any, pk: str) -> HttpResponse:
    """Publish, withdraw or undo. What stands in the way is said on the prompt's page."""
    prompt = find(request, page, pk, "publish")
    if request.method == "POST":
        given = request.POST
        channel, reason = given.get("channel", ""), given.get("reason", "").strip()
        seen = given.get("seq") or given.get(f"seq-{channel}", "")
        told = {
            "prompt": prompt,
            "channel": channel,
            "actor": request.user.get_username(),
            "reason": reason,
            "expected_seq": int(seen) if seen.isdecimal() else None,
        }
        try:
            if given.get("deed") == "undo":
                deployment = undo(**told)
            else:
                version = None if given.get("deed") == "withdraw" else version_of(prompt, given.get("version", ""))
                deployment = point_channel(version=version, **told)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            serves = f"version {deployment.version.number}" if deployment.version else "nothing"
            messages.success(request, f"{channel} serves {serves} from now on.")
    return back(prompt)


def back(prompt: Prompt) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:prompts_prompt_change", args=[prompt.pk]))


def version_of(prompt: Prompt, number: str) -> PromptVersion:
    version = prompt.versions.filter(number=int(number)).first() if number.isdecimal() and len(number) < 10 else None
    if version is None:
        raise Http404
    return version


def diff_page(request: HttpRequest, page: Any, pk: str) -> HttpResponse:
    """Two versions, side by side in one column. Without `a`: the one before `b`."""
    prompt = find(request, page, pk)
    after = version_of(prompt, request.GET.get("b", ""))
    if request.GET.get("a"):
        before: PromptVersion | None = version_of(prompt, request.GET["a"])
    else:
        before = prompt.versions.filter(number__lt=after.number).order_by("-number").first()
    numbers = list(prompt.versions.order_by("-number").values_list("number", flat=True))
    title = f"{prompt.name}: {before.number if before else 'nothing'} → {after.number}"
    parts = differences(before, after)
    return show(
        request, page, prompt, "diff.html", title=title, before=before, after=after, parts=parts, numbers=numbers
    )


def review_page(request: HttpRequest, page: Any, pk: str, number: str) -> HttpResponse:
    """A version against what its channel serves; approve it, or ask for changes."""
    prompt = find(request, page, pk)
    version, channel = version_of(prompt, number), request.GET.get("channel") or CHANNELS[0]
    if request.method == "POST":
        verb: Verb = "change" if request.POST.get("decision") == "ask" else "review"
        find(request, page, pk, verb)
        try:
            review(request, version, channel)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        return HttpResponseRedirect(request.get_full_path())
    newest = current_deployment(prompt, channel)
    before = newest.version if newest is not None else None
    rules = Channel.objects.filter(workspace_id=prompt.workspace_id, name=channel).first()
    return show(
        request,
        page,
        prompt,
        "review.html",
        title=f"Review {version} for {channel}",
        version=version,
        channel=channel,
        before=before,
        parts=differences(before, version),
        asked=version.reviews.filter(channel=channel).first(),
        said=list(newest_words(version, channel).values()),
        results=results_of([version]).get(version.pk, []),
        wrong=obstacles(version, channel, rules),
        seq=newest.seq if newest is not None else 0,
    )


def review(request: HttpRequest, version: PromptVersion, channel: str) -> None:
    name, comment = request.user.get_username(), request.POST.get("comment", "").strip()[:1000]
    decision = request.POST.get("decision", "")
    if decision == "ask":
        ask_for_review(version=version, channel=channel, asked_by=name, note=comment[:500])
        messages.success(request, "A review is asked for.")
        return
    if decision not in dict(Approval._meta.get_field("decision").choices):
        raise ValidationError("Approve it, or ask for changes.")
    give_review(version=version, channel=channel, reviewer=name, decision=decision, comment=comment)
    messages.success(request, "Your review is kept.")


# --- The editor -----------------------------------------------------------------------------------------


def editor_page(request: HttpRequest, page: Any, pk: str) -> HttpResponse:
    """Your draft, or the newest version to begin one with."""
    prompt = find(request, page, pk, "change")
    draft = PromptDraft.objects.filter(prompt=prompt, user=request.user).select_related("base").first()
    newest = prompt.versions.order_by("-number").first()
    base = draft.base if draft is not None else newest
    state = {
        "words": draft.words if draft is not None else words_of(newest),
        "sample": draft.sample if draft is not None else {},
        "rev": draft.rev if draft is not None else 0,
        "base": base.number if base is not None else 0,
    }
    return show(
        request,
        page,
        prompt,
        "write.html",
        title=f"Write {prompt.name}",
        state=state,
        base=base,
        newest=newest,
        is_behind=bool(draft and newest and base != newest),
    )


def words_of(version: PromptVersion | None) -> dict[str, Any]:
    if version is None:
        return {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}]}
    names = ("messages", "route", "parameters", "response_format", "tools", "input_schema")
    return {name: getattr(version, name) for name in names}


def given_words(body: dict[str, Any]) -> Words:
    """The words that the editor sent. Raises ValidationError where one is of the wrong kind."""
    words = body.get("words")
    if not isinstance(words, dict) or not isinstance(words.get("messages"), list):
        raise ValidationError({"messages": "A version needs a list of messages."})
    kinds = (("parameters", dict), ("response_format", dict), ("tools", list), ("input_schema", dict))
    for name, kind in kinds:
        if words.get(name) and not isinstance(words[name], kind):
            raise ValidationError({name: "This is not the right kind of JSON."})
    return Words(
        messages=words["messages"],
        route=str(words.get("route") or "")[:120],
        parameters=words.get("parameters") or {},
        response_format=words.get("response_format") or None,
        tools=words.get("tools") or None,
        input_schema=words.get("input_schema") or {},
    )


def editor_call(request: HttpRequest, page: Any, pk: str, deed: str) -> HttpResponse:
    """What the editor's script asks: a preview, to keep the draft, to save a version. JSON in, JSON out."""
    prompt = find(request, page, pk, "change")
    deeds = {"preview": preview, "draft": keep_draft, "save": save}
    if request.method != "POST" or deed not in deeds:
        raise Http404
    if len(request.body) > LONGEST_DRAFT:
        return JsonResponse({"errors": ["This is too long."]}, status=413)
    try:
        body = json.loads(request.body)
        status, answer = deeds[deed](request, prompt, body if isinstance(body, dict) else {})
    except ValidationError as error:
        return JsonResponse({"errors": error.messages}, status=400)
    except (ValueError, RecursionError) as error:
        return JsonResponse({"errors": [f"This is no JSON: {error}"]}, status=400)
    return JsonResponse(answer, status=status)


def preview(request: HttpRequest, prompt: Prompt, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The messages with sample inputs, which inputs there are, and how many tokens they come to."""
    words = given_words(body)
    resolved = pin_partials(prompt, words.messages).messages
    check_words(words, resolved)
    view = compiled(prompt.name, 0, {"messages": resolved, "input_schema": words.input_schema})
    sample = body.get("sample") if isinstance(body.get("sample"), dict) else {}
    answer: dict[str, Any] = {
        "inputs": sorted(view.names | {each.placeholder for each in view.messages} - {"", OWN_MESSAGES}),
        "required": sorted(view.required),
        "warnings": warnings(words, resolved),
    }
    try:
        answer["messages"] = view.render(sample or {}, [])
    except GatewayError as error:
        return 200, answer | {"errors": [error.message.replace(f"{view.name} ", "It ", 1)]}
    except TemplateError as error:
        return 200, answer | {"errors": [str(error)]}
    answer["tokens"] = estimated(len(msgspec.json.encode(answer["messages"]).decode()))
    return 200, answer


@transaction.atomic
def keep_draft(request: HttpRequest, prompt: Prompt, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Keep the draft. 409 where another window has saved a later one."""
    given_words(body)
    draft = PromptDraft.objects.select_for_update().filter(prompt=prompt, user=request.user).first()
    if draft is not None and draft.rev != body.get("rev"):
        told = "This draft was changed in another window. Copy what you need, then load this page again."
        return 409, {"errors": [told], "rev": draft.rev}
    if draft is None:
        base = prompt.versions.filter(number=body.get("base") or 0).first()
        draft = PromptDraft(prompt=prompt, user=request.user, base=base, rev=0)
    draft.words, draft.sample, draft.rev = body["words"], body.get("sample") or {}, draft.rev + 1
    draft.save()
    return 200, {"rev": draft.rev}


@transaction.atomic
def save(request: HttpRequest, prompt: Prompt, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Save the draft as the next version. Nothing is served by this. 409 where somebody saved one meanwhile."""
    message = str(body.get("message") or "").strip()
    if not message:
        raise ValidationError({"message": "Say what changed and why: others will read it."})
    Prompt.objects.select_for_update().get(pk=prompt.pk)
    newest = prompt.versions.order_by("-number").first()
    if newest is not None and newest.number != body.get("base") and not body.get("anyway"):
        told = f"Version {newest.number} was saved meanwhile: look at it first, or save again to come after it."
        return 409, {"errors": [told], "newest": newest.number}
    version = save_version(prompt=prompt, words=given_words(body), message=message[:300], author=request.user)
    if newest is not None and version.digest == newest.digest:
        raise ValidationError(f"Nothing differs from version {newest.number}.")
    PromptDraft.objects.filter(prompt=prompt, user=request.user).delete()
    return 201, {"number": version.number, "url": reverse("admin:prompts_prompt_change", args=[prompt.pk])}
