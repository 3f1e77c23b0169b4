"""The house keeps its shape: small files, small functions, the same doors in every app, settings that are documented."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ("tenants", "prompts", "budgets", "audit", "evals")
DOORS = ("models", "services", "queries", "compiler", "snapshot", "stage", "admin", "api", "tasks", "checks")
FILE_LINES_MOST = 400
FUNCTION_LINES_MOST = 60
PIPELINE_LINES_MOST = 80
INLINE_REASONS = ("slow import", "optional", "app ready")


def sources() -> list[Path]:
    """Every Python file of the product that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in names if "/migrations/" not in name and (ROOT / name).is_file()]


def test_no_file_is_longer_than_a_newcomer_reads_at_once() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MOST} == {}


def test_no_function_is_longer_than_a_page() -> None:
    long = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES_MOST:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert long == {}


def test_the_path_of_a_call_fits_on_one_page() -> None:
    assert len((ROOT / "gateway/pipeline.py").read_text().splitlines()) <= PIPELINE_LINES_MOST


@pytest.mark.parametrize("app", APPS)
def test_every_app_has_the_same_doors(app: str) -> None:
    missing = [door for door in DOORS if not ((ROOT / app / f"{door}.py").exists() or (ROOT / app / door).is_dir())]
    assert missing == []


def test_every_inline_import_gives_a_reason_from_the_closed_list() -> None:
    bare = []
    for path in sources():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            reason = line.partition("noqa: PLC0415")[2]
            if (
                "noqa: PLC0415" in line
                and not any(known in reason for known in INLINE_REASONS)
                and path != Path(__file__)
            ):
                bare.append(f"{path.relative_to(ROOT)}:{number}")
    assert bare == []


def test_every_setting_from_the_environment_stands_in_the_example_file() -> None:
    settings = (ROOT / "gateway/settings.py").read_text()
    read = set(re.findall(r'env(?:\.\w+)?\(\s*"([A-Z_]+)"', settings)) | set(
        re.findall(r'kept_secret\("(\w+)"', settings)
    )
    example = set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert example == read


def test_no_line_of_the_example_file_is_active() -> None:
    active = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert active == []
