"""The bench measures every page of the web UI, also one that was made a moment ago."""

from bench.pages import LEFT_OUT, VARIANTS, model_of, named_pages


def test_every_admin_page_is_measured_or_left_out_for_a_reason() -> None:
    pages = named_pages()
    fixed = {"admin:app_list", "admin:audit_callrecord_export"}  # filled in by hand
    unknown = [
        name
        for name, pattern in pages.items()
        if (pattern.pattern.converters or pattern.pattern.regex.groups)
        and name not in {*LEFT_OUT, *fixed}
        and model_of(name) is None
    ]
    assert unknown == []
    assert set(pages) >= {*LEFT_OUT, *VARIANTS}, "the bench names pages that are gone"
