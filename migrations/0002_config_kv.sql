-- min_binary: 2
-- An older binary would delete apps without a tombstone, and drop what it does
-- not know from the settings that it changes.

-- What an app is configured with; rev is the revision of its last change. The
-- data key is wrapped by the cluster's key, which no database has.
ALTER TABLE app
    ADD COLUMN settings jsonb  NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object' AND octet_length(settings::text) <= 8192),
    ADD COLUMN env      jsonb  NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(env) = 'object' AND octet_length(env::text) <= 524288),
    ADD COLUMN data_key bytea  CHECK (octet_length(data_key) BETWEEN 1 AND 256),
    ADD COLUMN rev      bigint NOT NULL DEFAULT 0;
CREATE INDEX app_rev ON app (rev);

-- The apps that exist are news to the nodes.
UPDATE catalog_head SET rev = rev + 1 WHERE EXISTS (SELECT 1 FROM app);
UPDATE app SET rev = catalog_head.rev FROM catalog_head;

-- Variables fit into a function's settings, however they are escaped.
ALTER TABLE function
    DROP CONSTRAINT function_settings_check,
    ADD CONSTRAINT function_settings_check CHECK (jsonb_typeof(settings) = 'object' AND octet_length(settings::text) <= 655360);

-- Values sealed by the app's data key: at most 100 of an app, 256 KiB together.
CREATE TABLE secret (
    app        text COLLATE "C" NOT NULL REFERENCES app ON DELETE CASCADE,
    name       text COLLATE "C" NOT NULL CONSTRAINT secret_name CHECK (name ~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$'),
    sealed     bytea       NOT NULL CHECK (octet_length(sealed) BETWEEN 1 AND 33024), -- 32 KiB and what sealing adds
    updated_by text        NOT NULL CHECK (length(updated_by) <= 63),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, name)
);

-- Numbers of states of keys. No state has the number of an earlier one, though
-- its key was deleted and made again.
CREATE SEQUENCE kv_version AS bigint;

-- The key-value stores of apps, each within its app's quota. A value is CBOR;
-- an integer stands in number, so that it can be counted up by one statement.
-- What has expired is there for nobody, until a write meets it or needs room.
CREATE TABLE kv (
    app        text COLLATE "C" NOT NULL REFERENCES app ON DELETE CASCADE,
    key        text COLLATE "C" NOT NULL CONSTRAINT kv_key CHECK (octet_length(key) BETWEEN 1 AND 512),
    value      bytea       CHECK (octet_length(value) BETWEEN 1 AND 262144),
    number     bigint,
    version    bigint      NOT NULL CHECK (version > 0),
    expires_at timestamptz,                   -- null: never
    PRIMARY KEY (app, key),
    CONSTRAINT kv_one CHECK (num_nonnulls(value, number) = 1)
) WITH (fillfactor = 75);
CREATE INDEX kv_expiry ON kv (app, expires_at) WHERE expires_at IS NOT NULL;

-- What kv holds of each app, in 16 shards by the key, so that writers of
-- different keys do not wait for each other's commit. It comes after kv: a
-- deleted app's rows go in the order in which writers lock them.
CREATE TABLE kv_usage (
    app   text COLLATE "C" NOT NULL REFERENCES app ON DELETE CASCADE,
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 15),
    keys  bigint   NOT NULL,
    bytes bigint   NOT NULL,
    PRIMARY KEY (app, shard)
) WITH (fillfactor = 50);

-- Default limits of functions on this node. A node that has some is kept.
ALTER TABLE node ADD COLUMN limits jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(limits) = 'object' AND octet_length(limits::text) <= 4096);

-- Which key wraps the data keys; null: no node has made one yet.
ALTER TABLE cluster ADD COLUMN key_id text CHECK (key_id ~ '^[0-9a-f]{32}$');
