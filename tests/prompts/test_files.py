"""Prompts as files: out and back in without a difference, and nothing half read."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from prompts.models import Deployment, Prompt, PromptVersion
from prompts.services.publishing import Words, save_version
from tenants.models import Workspace

ODD = Words(
    messages=[
        {"role": "system", "content": "a\n\n## user\nnot a heading\n\n"},
        {"role": "user", "content": [{"type": "text", "text": "{{x}}"}]},
        {"placeholder": "history"},
        {"role": "user", "content": "  --- ünï\n"},
    ],
    route="chat",
    parameters={"temperature": 0.2},
    tools=[{"type": "function", "function": {"name": "f"}}],
    response_format={"type": "json_object"},
    input_schema={"type": "object", "properties": {"x": {"type": "string"}}},
)


def run(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("prompts", *arguments, stdout=out)
    return out.getvalue().splitlines()


def test_what_is_exported_is_imported_elsewhere_without_a_difference(versions, prompt, tmp_path):
    save_version(prompt=prompt, words=ODD, message="odd")
    assert len(run("export", str(tmp_path))) == 3
    assert run("export", str(tmp_path)) == []
    Workspace.objects.create(name="other")
    assert run("import", str(tmp_path), "--workspace", "other") == ["+ summary@1", "+ summary@2", "+ summary@3"]
    theirs = PromptVersion.objects.filter(prompt__workspace__name="other").order_by("number")
    assert [v.digest for v in theirs] == [v.digest for v in prompt.versions.order_by("number")]
    assert (theirs[2].messages, theirs[2].message) == (ODD.messages, "odd")
    assert run("sync", str(tmp_path), "--workspace", "other") == []
    assert Deployment.objects.count() == 0


def test_a_changed_file_becomes_the_next_version(versions, prompt, tmp_path):
    run("export", str(tmp_path))
    file = tmp_path / "summary/v2.md"
    file.write_text(file.read_text().replace("two", "three"))
    assert run("sync", str(tmp_path)) == ["+ summary@3", f"~ {file}", f"~ {tmp_path}/summary/v3.md"]
    assert prompt.versions.get(number=3).messages == [{"role": "user", "content": "three {{x}}"}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no front matter", "must begin with front matter"),
        ("---\nnonsense: 1\n---\n## user\nx\n", "not nonsense"),
        ("---\n- 1\n---\n", "front matter takes"),
        ("---\na: ]\n---\n", "no YAML"),
        ("---\n---\nwords\n## user\nx\n", "before the first heading"),
        ("---\n---\n## json\n{\n", "no JSON"),
        ("---\n---\n## user\n{{x\n", "opens a tag that is not closed"),
        ("---\n---\n", "at least one message"),
    ],
)
def test_a_file_that_can_not_be_read_is_named_and_nothing_is_imported(prompt, tmp_path, text, why):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/v1.md").write_text("---\n---\n## user\nfine\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/v1.md").write_text(text)
    with pytest.raises(CommandError, match=r"(?s)b/v1\.md.*Nothing was imported") as refused:
        run("import", str(tmp_path))
    assert why in str(refused.value)
    assert list(Prompt.objects.values_list("name", flat=True)) == ["summary"]


def test_a_name_can_not_lead_out_of_the_directory(prompt, tmp_path):
    outside = Prompt.objects.create(workspace=prompt.workspace, name="../../out")
    save_version(prompt=outside, words=ODD)
    with pytest.raises(CommandError, match="no path below"):
        run("export", str(tmp_path / "in"))
