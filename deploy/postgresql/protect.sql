-- Takes from Tollgate's own database roles the power to take its protection away. Run it once as a superuser, in
-- Tollgate's database, after `manage.py migrate`; running it again changes nothing. docs/audit.md says what it is for.
--
--   tollgate_owner      owns the tables: DATABASE_URL of `manage.py migrate`, and of nothing that serves
--   tollgate_app        DATABASE_URL of `serve` and of the workers: reads and appends, changes what may be changed
--   tollgate_retention  nobody's login: makes and drops months through the two functions that it owns
--
-- Then, once: ALTER ROLE tollgate_owner LOGIN PASSWORD '…'; ALTER ROLE tollgate_app LOGIN PASSWORD '…';
-- A migration that alters a protected table needs a superuser to switch the event triggers off around it:
-- ALTER EVENT TRIGGER tollgate_no_alter DISABLE; … tollgate_no_drop … tollgate_no_rewrite … and ENABLE ALWAYS after it.

BEGIN;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tollgate_owner', 'tollgate_app', 'tollgate_retention'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
    END LOOP;
END $$;
GRANT tollgate_owner TO tollgate_retention;

-- While this file works, its own event triggers must not be in its way.
DROP EVENT TRIGGER IF EXISTS tollgate_no_alter;
DROP EVENT TRIGGER IF EXISTS tollgate_no_drop;
DROP EVENT TRIGGER IF EXISTS tollgate_no_rewrite;

-- In a schema of its own, so that they outlive the one that they guard.
CREATE SCHEMA IF NOT EXISTS tollgate_guard;
GRANT USAGE ON SCHEMA tollgate_guard TO PUBLIC;

-- Whether a trigger of this name keeps rows as they are.
CREATE OR REPLACE FUNCTION tollgate_guard.is_ours(trigger_name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT trigger_name ~ '_(append_only|no_truncate|no_update|no_delete)$|^no_(update|delete|truncate)$'
$$;

-- Whether a table has one of these triggers, switched on or off; by the function too, so that neither can be renamed.
CREATE OR REPLACE FUNCTION tollgate_guard.is_protected(relation oid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid = relation AND NOT t.tgisinternal
        AND (tollgate_guard.is_ours(t.tgname) OR p.proname ~ '^(audit|budgets_entry|prompts|evals)_append_only')
    )
$$;

-- What each role may do.
DO $$
DECLARE
    here text := current_schema();
    thing record;
BEGIN
    EXECUTE format('GRANT ALL ON SCHEMA %I TO tollgate_owner', here);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tollgate_app', here);
    FOR thing IN SELECT oid::regclass AS name FROM pg_class
                 WHERE relnamespace = here::regnamespace AND relkind IN ('r', 'p', 'v') LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO tollgate_owner', thing.name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO tollgate_app', thing.name);
    END LOOP;
    FOR thing IN SELECT oid::regclass AS name FROM pg_class
                 WHERE relnamespace = here::regnamespace AND relkind = 'S' LOOP
        EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO tollgate_app', thing.name);
    END LOOP;
    FOR thing IN SELECT oid::regprocedure AS name FROM pg_proc
                 WHERE pronamespace = here::regnamespace AND proname ~ '^(audit|budgets|prompts|evals)_' LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO tollgate_owner', thing.name);
    END LOOP;
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE tollgate_owner IN SCHEMA %I '
                   'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tollgate_app', here);
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE tollgate_owner IN SCHEMA %I '
                   'GRANT USAGE, SELECT ON SEQUENCES TO tollgate_app', here);

    -- Protected tables are read and appended to. What may be changed after all, their triggers let through too.
    FOR thing IN SELECT oid, oid::regclass AS name FROM pg_class
                 WHERE relnamespace = here::regnamespace AND relkind IN ('r', 'p') AND tollgate_guard.is_protected(oid) LOOP
        EXECUTE format('REVOKE ALL ON %s FROM tollgate_app', thing.name);
        CONTINUE WHEN (SELECT relispartition FROM pg_class WHERE oid = thing.oid);
        EXECUTE format('GRANT SELECT, INSERT ON %s TO tollgate_app', thing.name);
        IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = thing.oid AND attname = 'keep_until') THEN
            EXECUTE format('GRANT DELETE ON %s TO tollgate_app', thing.name);  -- of what is over its time
        END IF;
        IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = thing.oid AND attname = 'history_user_id') THEN
            EXECUTE format('GRANT UPDATE (history_user_id) ON %s TO tollgate_app', thing.name);
        END IF;
    END LOOP;
END $$;
GRANT UPDATE ("user") ON budgets_entry TO tollgate_app;
GRANT UPDATE (author_id) ON prompts_promptversion TO tollgate_app;

-- The one door for whole months: it refuses where a record's time is not over.
ALTER FUNCTION audit_make_partition(date) OWNER TO tollgate_retention;
ALTER FUNCTION audit_drop_partition(text, bigint) OWNER TO tollgate_retention;
REVOKE ALL ON FUNCTION audit_make_partition(date), audit_drop_partition(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_make_partition(date), audit_drop_partition(text, bigint) TO tollgate_app, tollgate_owner;

-- What nobody may do, not the owner and not a superuser, as long as these are there. Tables are known by what they are,
-- not by their names, which could be changed first.
CREATE OR REPLACE FUNCTION tollgate_guard.refuse_alter() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    done record;
    relation oid;
BEGIN
    IF current_user = 'tollgate_retention' THEN
        RETURN;
    END IF;
    FOR done IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        relation := CASE done.classid
            WHEN 'pg_class'::regclass THEN done.objid
            WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = done.objid)
            WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite WHERE oid = done.objid)
            WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy WHERE oid = done.objid)
        END;
        IF tollgate_guard.is_protected(relation) THEN
            RAISE EXCEPTION '% is append-only: % is refused', relation::regclass, done.command_tag
                USING ERRCODE = 'restrict_violation';
        ELSIF done.classid = 'pg_proc'::regclass AND EXISTS (
            SELECT FROM pg_trigger t WHERE t.tgfoid = done.objid AND tollgate_guard.is_protected(t.tgrelid)
        ) THEN
            RAISE EXCEPTION '% protects append-only tables: % is refused', done.object_identity, done.command_tag
                USING ERRCODE = 'restrict_violation';
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION tollgate_guard.refuse_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE gone record;
BEGIN
    IF current_user = 'tollgate_retention' THEN
        RETURN;
    END IF;
    FOR gone IN SELECT * FROM pg_event_trigger_dropped_objects() WHERE object_type = 'trigger' LOOP
        -- A table goes with its triggers, a trigger alone by itself: either way the trigger stands here.
        IF tollgate_guard.is_ours(gone.address_names[3]) THEN
            RAISE EXCEPTION '% is append-only: % is refused', gone.address_names[2], tg_tag
                USING ERRCODE = 'restrict_violation';
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION tollgate_guard.refuse_rewrite() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tollgate_guard.is_protected(pg_event_trigger_table_rewrite_oid()) THEN
        RAISE EXCEPTION '% is append-only: rewriting it is refused', pg_event_trigger_table_rewrite_oid()::regclass
            USING ERRCODE = 'restrict_violation';
    END IF;
END $$;

CREATE EVENT TRIGGER tollgate_no_alter ON ddl_command_end EXECUTE FUNCTION tollgate_guard.refuse_alter();
CREATE EVENT TRIGGER tollgate_no_drop ON sql_drop EXECUTE FUNCTION tollgate_guard.refuse_drop();
CREATE EVENT TRIGGER tollgate_no_rewrite ON table_rewrite EXECUTE FUNCTION tollgate_guard.refuse_rewrite();
ALTER EVENT TRIGGER tollgate_no_alter ENABLE ALWAYS;
ALTER EVENT TRIGGER tollgate_no_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER tollgate_no_rewrite ENABLE ALWAYS;

COMMIT;
