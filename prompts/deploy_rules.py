"""What the database asks of every new deployment, whoever writes it: the services, a script, raw SQL.

    its `seq` follows the channel's newest     two who saw the same can't both win
    its version is the prompt's                no prompt serves another's words
    a rollback puts back what was served       so that it is no way around an approval
    a protected channel has its approvals      by enough people, in these words, none of whom asks for changes
    and its suites                             the newest result of each for this version, in these words, is a pass

They are put in place after every `migrate` and taken away before it (append_only.py).
"""

TABLE = "prompts_deployment"
KINDS = ("in_order", "own_version", "served_before", "is_approved", "has_passed")
SAYS = {
    "in_order": "this channel was changed meanwhile",
    "own_version": "this version belongs to another prompt",
    "served_before": "only what a channel has served can be put back",
    "is_approved": "this channel is protected and the version lacks approvals",
    "has_passed": "this channel is protected and a suite that it requires has not passed for the version",
}

IN_ORDER = """NEW.seq <> 1 + COALESCE((SELECT MAX(seq) FROM prompts_deployment
    WHERE prompt_id = NEW.prompt_id AND channel = NEW.channel), 0)"""
OWN_VERSION = """NEW.version_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM prompts_promptversion
    WHERE id = NEW.version_id AND prompt_id = NEW.prompt_id)"""
SERVED_BEFORE = """NEW.action = 'rollback' AND NOT EXISTS (SELECT 1 FROM prompts_deployment
    WHERE prompt_id = NEW.prompt_id AND channel = NEW.channel AND version_id = NEW.version_id)"""
# What each reviewer said last of this version for this channel.
LAST_WORDS = """FROM prompts_approval a WHERE a.version_id = NEW.version_id AND a.channel = NEW.channel
    AND a.id = (SELECT MAX(b.id) FROM prompts_approval b WHERE b.version_id = a.version_id
        AND b.channel = a.channel AND b.reviewer = a.reviewer)"""
IS_APPROVED = f"""NEW.action <> 'rollback' AND NEW.version_id IS NOT NULL AND EXISTS (
    SELECT 1 FROM prompts_channel c JOIN prompts_prompt p ON p.workspace_id = c.workspace_id
    JOIN prompts_promptversion v ON v.id = NEW.version_id LEFT JOIN auth_user u ON u.id = v.author_id
    WHERE p.id = NEW.prompt_id AND c.name = NEW.channel AND c.is_protected
    AND (EXISTS (SELECT 1 {LAST_WORDS} AND a.decision = 'change')
        OR c.required_approvals > (SELECT COUNT(*) {LAST_WORDS} AND a.decision = 'approve' AND a.digest = v.digest
            AND (c.allow_self_approval OR u.username IS NULL OR a.reviewer <> u.username))))"""  # noqa: S608 - no input
# {each}: one row for each name in the channel's list of suites. A list that can't be read refuses everything.
HAS_PASSED = """NEW.action <> 'rollback' AND NEW.version_id IS NOT NULL AND EXISTS (
    SELECT 1 FROM prompts_channel c JOIN prompts_prompt p ON p.workspace_id = c.workspace_id
    JOIN prompts_promptversion v ON v.id = NEW.version_id CROSS JOIN {each}
    WHERE p.id = NEW.prompt_id AND c.name = NEW.channel AND c.is_protected AND NOT EXISTS (
        SELECT 1 FROM prompts_suiteresult r WHERE r.version_id = v.id AND r.suite = s.value AND r.verdict = 'passed'
        AND r.digest = v.digest AND r.id = (SELECT MAX(n.id) FROM prompts_suiteresult n
            WHERE n.version_id = r.version_id AND n.suite = r.suite)))"""
EACH_SUITE = {
    "sqlite": "json_each(c.required_suites) s",
    "postgresql": "jsonb_array_elements_text(c.required_suites) AS s(value)",
}
WRONG = {"in_order": IN_ORDER, "own_version": OWN_VERSION, "served_before": SERVED_BEFORE, "is_approved": IS_APPROVED}
FUNCTION = "prompts_deployment_allowed"


def wrong(vendor: str) -> dict[str, str]:
    """For each rule the SQL condition that breaks it."""
    return {**WRONG, "has_passed": HAS_PASSED.replace("{each}", EACH_SUITE[vendor])}


def statements(vendor: str) -> list[str]:
    """The SQL that makes the triggers."""
    return sqlite() if vendor == "sqlite" else postgresql()


def sqlite() -> list[str]:
    broken = wrong("sqlite")
    return [
        f"CREATE TRIGGER {TABLE}_{kind} BEFORE INSERT ON {TABLE} WHEN {broken[kind]} "
        f"BEGIN SELECT RAISE(ABORT, '{SAYS[kind]}'); END"
        for kind in KINDS
    ]


def postgresql() -> list[str]:
    broken = wrong("postgresql")
    refusals = " ".join(
        f"IF {broken[kind]} THEN RAISE EXCEPTION '{SAYS[kind]}' USING ERRCODE = 'restrict_violation'; END IF;"
        for kind in KINDS
    )
    return [
        f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {refusals} RETURN NEW; END $$",
        f"CREATE TRIGGER {TABLE}_allowed BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION {FUNCTION}()",
        f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {TABLE}_allowed",
    ]


def removal(vendor: str) -> list[str]:
    if vendor == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {TABLE}_{kind}" for kind in KINDS]
    return [f"DROP TRIGGER IF EXISTS {TABLE}_allowed ON {TABLE}", f"DROP FUNCTION IF EXISTS {FUNCTION}()"]
