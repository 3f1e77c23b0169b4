"""A YAML file as a tree that knows where everything stands."""

import pytest

from gateway.services.configuration.document import DocumentError, load_document, read_document


def problems_of(text):
    try:
        _, problems = read_document(text, "f.yaml")
    except DocumentError as error:
        return [str(problem) for problem in error.problems]
    return [str(problem) for problem in problems.found]


def test_every_value_knows_its_line_column_and_path():
    root, problems = read_document("a:\n  - b: one\n    c: [2, {d: 3}]\n", "f.yaml")
    b = root.value["a"].value[0].value["b"]
    d = root.value["a"].value[0].value["c"].value[1].value["d"]

    assert (b.value, b.line, b.column, b.path) == ("one", 2, 8, "a[0].b")
    assert (d.value, d.line, d.column, d.path) == (3, 3, 16, "a[0].c[1].d")
    assert problems.found == []


def test_words_that_yaml_1_1_takes_for_something_else_stay_words():
    root, _ = read_document("[off, no, yes, on, 12:30:45, 2027-01-31, 0x1F, 1e3, .inf]", "f.yaml")

    assert root.plain == ["off", "no", "yes", "on", "12:30:45", "2027-01-31", "0x1F", 1000.0, ".inf"]


def test_plain_scalars_have_their_types():
    root, _ = read_document("[true, False, ~, null, 7, -3, 1_000, 0.5, '8', \"x\"]", "f.yaml")

    assert root.plain == [True, False, None, None, 7, -3, 1000, 0.5, "8", "x"]
    assert [type(value) for value in root.plain[:2]] == [bool, bool]


def test_merge_keys_fill_in_what_is_not_given():
    root, problems = read_document("base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\n", "f.yaml")

    assert root.plain["one"] == {"x": 1, "y": 3}
    assert problems.found == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f.yaml:1:1: the file is empty; it needs at least `version: 1`"),
        ("# only a comment\n", "f.yaml:1:1: the file is empty; it needs at least `version: 1`"),
        ("a: [1, 2\nb: 3\n", "f.yaml:2:2: this is not valid YAML: expected ',' or ']', but got ':'"),
        ("a: b: c\n", "f.yaml:1:5: this is not valid YAML: mapping values are not allowed here"),
        ("a: 1\n--- \nb: 2\n", "f.yaml:2:1: this is not valid YAML: but found another document"),
        ("a: *nowhere\n", "f.yaml:1:4: this is not valid YAML: found undefined alias 'nowhere'"),
        ("a:\n\tb: 1\n", "f.yaml:2:1: this is not valid YAML: found character '\\t' that cannot start any token"),
        ("a: \x01\n", "f.yaml:1:1: the character 0x0001 is not allowed in YAML"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1 a: 'a' stands twice here; the first is in line 1"),
        ("x:\n  - a: 1\n    a: 3\n", "f.yaml:3:5 x[0].a: 'a' stands twice here; the first is in line 2"),
        (
            "a: !!python/object/apply:os.system ['id']\n",
            "f.yaml:1:4 a: the tag tag:yaml.org,2002:python/object/apply:os.system is not allowed; "
            "write plain values only",
        ),
        ("a: !env NAME\n", "f.yaml:1:4 a: the tag !env is not allowed; write plain values only"),
        ("a: &x [1, *x]\n", "f.yaml:1:4 a[1]: an alias contains itself"),
        ("? [a, b]\n: 1\n", "f.yaml:1:3: a key must be a word"),
        ("one:\n  <<: 3\n", "f.yaml:2:7 one: `<<` takes a mapping or a list of mappings"),
        ('a: "x\\0y"\n', "f.yaml:1:4 a: holds a character that no database can keep (NUL or half a surrogate pair)"),
        ("a: " + "9" * 40 + "\n", "f.yaml:1:4 a: '" + "9" * 40 + "' is not a number that can be used"),
    ],
)
def test_what_is_no_document_says_where_and_why(text, told):
    assert problems_of(text) == [told]


def test_aliases_can_not_multiply_the_file():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    told = problems_of("\n".join(lines))

    assert len(told) == 1
    assert told[0].endswith("the file holds more than 500000 values, aliases counted each time")


@pytest.mark.parametrize("depth", [100, 5000])
def test_a_file_nested_without_end_is_refused(depth):
    told = problems_of("[" * depth + "]" * depth)

    assert [line.split(": ", 1)[1] for line in told] == ["nested more than 60 levels deep"]


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    missing, binary = tmp_path / "missing.yaml", tmp_path / "binary.yaml"
    binary.write_bytes(b"a: 1\nb: \xff\xfe\n")

    with pytest.raises(DocumentError) as gone:
        load_document(missing)
    with pytest.raises(DocumentError) as bytes_:
        load_document(binary)

    assert str(gone.value) == f"{missing}: can't be read: No such file or directory"
    assert str(bytes_.value) == f"{binary}:2:1: the file is not UTF-8 text"


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes("\ufeffa: ü\n".encode())

    assert load_document(path)[0].plain == {"a": "ü"}
