-- min_binary: 5

ALTER TABLE node
    -- An admin took the node out of service. Null: it is in service.
    ADD COLUMN drained_at timestamptz;

ALTER TABLE cluster
    -- The digest of the rights that nodes which serve functions only were granted last; null:
    -- no such node has joined.
    ADD COLUMN granted text,
    -- A node was removed since the keys of the gossip were changed last: it still has them.
    ADD COLUMN gossip_stale boolean NOT NULL DEFAULT false;

-- What a node that serves functions only may do to tables that it cannot write. The
-- functions have the rights of the tables' owner, and are bound to the tables when they are
-- made: no search_path leads them elsewhere.

-- node_role_name is the database role of a node. It has the whole id: a node chooses its id,
-- and with a part of it could get the role of another node.
CREATE FUNCTION node_role_name(node uuid) RETURNS text LANGUAGE sql IMMUTABLE
RETURN 'picloud_n_' || replace($1::text, '-', '');

-- node_report takes what the caller's node says of itself. It returns 'ok'; 'stranger' for a
-- node that is no member, or not the caller's; and 'elsewhere' for a copy of a node that runs
-- at another place.
CREATE FUNCTION node_report(node uuid, name text, version text, rev bigint, started_at timestamptz, place text, arch text, address text)
RETURNS text LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH before AS (
        SELECT n.id, n.rev, n.place <> '' AND $6 NOT IN ('', n.place) AND n.seen_at > now() - interval '90 seconds'
            AND (n.stopped_at IS NULL OR n.stopped_at < n.seen_at) AS elsewhere
        FROM node n WHERE n.id = $1 AND node_role_name(n.id) = session_user
    ), report AS (
        UPDATE node n SET name = $2, version = $3, rev = $4, started_at = $5, seen_at = now(), place = $6, arch = $7, address = $8
        FROM before WHERE n.id = before.id AND NOT before.elsewhere
        RETURNING n.id, before.rev IS DISTINCT FROM n.rev AS news
    ), told AS (
        SELECT count(pg_notify('picloud_node', report.id::text)) AS times FROM report WHERE news
    )
    SELECT CASE WHEN before.id IS NULL THEN 'stranger' WHEN before.elsewhere THEN 'elsewhere' ELSE 'ok' END
    FROM told LEFT JOIN before ON true;
END;

-- node_stop records that the caller's node stops, unless it runs at another place meanwhile.
CREATE FUNCTION node_stop(node uuid, place text) RETURNS void LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    UPDATE node n SET stopped_at = now()
    WHERE n.id = $1 AND node_role_name(n.id) = session_user AND (n.place = '' OR $2 IN ('', n.place));
END;

-- app_hold keeps an app from being deleted until the transaction ends. It returns nothing
-- when there is no such app.
CREATE FUNCTION app_hold(app text) RETURNS text LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    SELECT a.name FROM app a WHERE a.name = $1 FOR KEY SHARE;
END;

REVOKE ALL ON FUNCTION node_report, node_stop, app_hold FROM PUBLIC;
