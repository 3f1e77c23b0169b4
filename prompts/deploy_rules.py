"""What the database asks of every new deployment, whoever writes it: the services, a script, raw SQL.

    its `seq` follows the channel's newest     two who saw the same can't both win
    its version is the prompt's                no prompt serves another's words
    a rollback puts back what was served       so that it is no way around an approval
    a protected channel has its approvals      by enough people, in these words, none of whom asks for changes
    and its suites                             the newest result of each for this version, in these words, is a pass
    an experiment's arms have them too         and its versions stay what they were when it began

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
    "same_arms": "an experiment that has begun keeps its versions",
}

IN_ORDER = """NEW.seq <> 1 + COALESCE((SELECT MAX(seq) FROM prompts_deployment
    WHERE prompt_id = NEW.prompt_id AND channel = NEW.channel), 0)"""
OWN_VERSION = """NEW.version_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM prompts_promptversion
    WHERE id = NEW.version_id AND prompt_id = NEW.prompt_id)"""
SERVED_BEFORE = """NEW.action = 'rollback' AND NOT EXISTS (SELECT 1 FROM prompts_deployment
    WHERE prompt_id = NEW.prompt_id AND channel = NEW.channel AND version_id = NEW.version_id)"""
# What each reviewer said last of {version} for this channel.
LAST_WORDS = """FROM prompts_approval a WHERE a.version_id = {version} AND a.channel = NEW.channel
    AND a.id = (SELECT MAX(b.id) FROM prompts_approval b WHERE b.version_id = a.version_id
        AND b.channel = a.channel AND b.reviewer = a.reviewer)"""
# {arms}: one row for each version that is served besides, in an experiment.
GUARDED = """(NEW.action <> 'rollback' OR NEW.experiment_id IS NOT NULL) AND EXISTS (
    SELECT 1 FROM prompts_channel c JOIN prompts_prompt p ON p.workspace_id = c.workspace_id
    JOIN prompts_promptversion v ON v.prompt_id = p.id LEFT JOIN auth_user u ON u.id = v.author_id
    WHERE p.id = NEW.prompt_id AND c.name = NEW.channel AND c.is_protected
    AND (v.id = NEW.version_id OR v.number IN (SELECT {number} FROM prompts_experiment e CROSS JOIN {arms}
        WHERE e.id = NEW.experiment_id)) AND ({lacks}))"""
LACKS_APPROVALS = f"""EXISTS (SELECT 1 {LAST_WORDS} AND a.decision = 'change')
    OR c.required_approvals > (SELECT COUNT(*) {LAST_WORDS} AND a.decision = 'approve' AND a.digest = v.digest
        AND (c.allow_self_approval OR u.username IS NULL OR a.reviewer <> u.username))"""
# {suites}: one row for each name in the channel's list. A list that can't be read refuses everything.
LACKS_SUITES = """EXISTS (SELECT 1 FROM {suites} WHERE NOT EXISTS (
    SELECT 1 FROM prompts_suiteresult r WHERE r.version_id = v.id AND r.suite = s.value AND r.verdict = 'passed'
    AND r.digest = v.digest AND r.id = (SELECT MAX(n.id) FROM prompts_suiteresult n
        WHERE n.version_id = r.version_id AND n.suite = r.suite)))"""
# An experiment's arms may be others until the deployment that begins it; from then on only their shares change.
OTHER_ARMS = """EXISTS (SELECT 1 FROM prompts_deployment d WHERE d.experiment_id = OLD.id) AND (
    NEW.prompt_id <> OLD.prompt_id OR NEW.channel <> OLD.channel
    OR EXISTS (SELECT {arm} FROM {new} EXCEPT SELECT {arm} FROM {old})
    OR EXISTS (SELECT {arm} FROM {old} EXCEPT SELECT {arm} FROM {new}))"""
JSON = {
    "sqlite": {
        "suites": "json_each(c.required_suites) s",
        "arms": "json_each(e.arms) x",
        "number": "json_extract(x.value, '$.version')",
        "arm": "json_extract(x.value, '$.name') || '@' || json_extract(x.value, '$.version')",
        "new": "json_each(NEW.arms) x",
        "old": "json_each(OLD.arms) x",
    },
    "postgresql": {
        "suites": "jsonb_array_elements_text(c.required_suites) AS s(value)",
        "arms": "jsonb_array_elements(e.arms) AS x(value)",
        "number": "CAST(x.value ->> 'version' AS integer)",
        "arm": "(x.value ->> 'name') || '@' || (x.value ->> 'version')",
        "new": "jsonb_array_elements(NEW.arms) AS x(value)",
        "old": "jsonb_array_elements(OLD.arms) AS x(value)",
    },
}
WRONG = {
    "in_order": IN_ORDER,
    "own_version": OWN_VERSION,
    "served_before": SERVED_BEFORE,
    "is_approved": GUARDED.replace("{lacks}", LACKS_APPROVALS).replace("{version}", "v.id"),
    "has_passed": GUARDED.replace("{lacks}", LACKS_SUITES),
}
EXPERIMENTS = "prompts_experiment"
SAME_ARMS = f"{EXPERIMENTS}_same_arms"
FUNCTION = "prompts_deployment_allowed"


def spoken(condition: str, vendor: str) -> str:
    """The condition in this database's words for JSON."""
    for name, words in JSON[vendor].items():
        condition = condition.replace(f"{{{name}}}", words)
    return condition


def statements(vendor: str) -> list[str]:
    """The SQL that makes the triggers."""
    return sqlite() if vendor == "sqlite" else postgresql()


def sqlite() -> list[str]:
    made = [
        f"CREATE TRIGGER {TABLE}_{kind} BEFORE INSERT ON {TABLE} WHEN {spoken(WRONG[kind], 'sqlite')} "
        f"BEGIN SELECT RAISE(ABORT, '{SAYS[kind]}'); END"
        for kind in KINDS
    ]
    arms = (
        f"CREATE TRIGGER {SAME_ARMS} BEFORE UPDATE ON {EXPERIMENTS} WHEN {spoken(OTHER_ARMS, 'sqlite')} "
        f"BEGIN SELECT RAISE(ABORT, '{SAYS['same_arms']}'); END"
    )
    return [*made, arms]


def refusing(condition: str, says: str) -> str:
    told = spoken(condition, "postgresql")
    return f"IF {told} THEN RAISE EXCEPTION '{says}' USING ERRCODE = 'restrict_violation'; END IF;"


def postgresql() -> list[str]:
    refusals = " ".join(refusing(WRONG[kind], SAYS[kind]) for kind in KINDS)
    body = "RETURNS trigger LANGUAGE plpgsql AS"
    return [
        f"CREATE OR REPLACE FUNCTION {FUNCTION}() {body} $$ BEGIN {refusals} RETURN NEW; END $$",
        f"CREATE TRIGGER {TABLE}_allowed BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION {FUNCTION}()",
        f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {TABLE}_allowed",
        f"CREATE OR REPLACE FUNCTION {SAME_ARMS}() {body} "
        f"$$ BEGIN {refusing(OTHER_ARMS, SAYS['same_arms'])} RETURN NEW; END $$",
        f"CREATE TRIGGER {SAME_ARMS} BEFORE UPDATE ON {EXPERIMENTS} FOR EACH ROW EXECUTE FUNCTION {SAME_ARMS}()",
        f"ALTER TABLE {EXPERIMENTS} ENABLE ALWAYS TRIGGER {SAME_ARMS}",
    ]


def removal(vendor: str) -> list[str]:
    if vendor == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {name}" for name in (SAME_ARMS, *(f"{TABLE}_{kind}" for kind in KINDS))]
    return [
        f"DROP TRIGGER IF EXISTS {TABLE}_allowed ON {TABLE}",
        f"DROP FUNCTION IF EXISTS {FUNCTION}()",
        f"DROP TRIGGER IF EXISTS {SAME_ARMS} ON {EXPERIMENTS}",
        f"DROP FUNCTION IF EXISTS {SAME_ARMS}()",
    ]
