-- min_binary: 1

CREATE TYPE member_role AS ENUM ('viewer', 'developer', 'admin', 'owner');

-- Who this database belongs to. One row; its lock orders bootstraps.
CREATE TABLE cluster (
    one        boolean     PRIMARY KEY DEFAULT true CHECK (one),
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO cluster DEFAULT VALUES;

-- The revision of everything that nodes serve. One row, locked first by every
-- transaction that changes the catalog: revisions have no gaps and become
-- visible in order. A sequence would lose rows that commit out of order.
CREATE TABLE catalog_head (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    rev         bigint  NOT NULL DEFAULT 0,
    incarnation uuid    NOT NULL DEFAULT gen_random_uuid(),
    floor       bigint  NOT NULL DEFAULT 0, -- tombstones up to this revision were pruned
    CHECK (floor BETWEEN 0 AND rev)
) WITH (fillfactor = 10);
INSERT INTO catalog_head DEFAULT VALUES;

CREATE TABLE usr (
    name       text COLLATE "C" PRIMARY KEY CONSTRAINT usr_name CHECK (name ~ '^[a-z][a-z0-9-]{0,62}$'),
    admin      boolean     NOT NULL DEFAULT false,
    token_hash bytea       UNIQUE CHECK (octet_length(token_hash) = 32), -- sha256 of the API token
    created_at timestamptz NOT NULL DEFAULT now()
);

-- members_rev counts the changes of the app's members: a statement that waited
-- for the row's lock sees by it whether its snapshot is out of date.
CREATE TABLE app (
    name        text COLLATE "C" PRIMARY KEY CONSTRAINT app_name CHECK (name ~ '^[a-z][a-z0-9-]{0,62}$'),
    members_rev bigint      NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE member (
    app        text COLLATE "C" NOT NULL REFERENCES app ON DELETE CASCADE,
    usr        text COLLATE "C" NOT NULL REFERENCES usr ON DELETE CASCADE,
    role       member_role NOT NULL,
    granted_by text        NOT NULL CHECK (length(granted_by) <= 63), -- kept when that user goes
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, usr)
);
CREATE INDEX member_usr ON member (usr);

CREATE TABLE function (
    app        text COLLATE "C" NOT NULL REFERENCES app ON DELETE CASCADE,
    name       text COLLATE "C" NOT NULL CONSTRAINT function_name CHECK (name ~ '^[a-z][a-z0-9-]{0,62}$'),
    settings   jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object' AND octet_length(settings::text) <= 131072),
    live       integer,                      -- the version that is served; null: none
    versions   integer     NOT NULL DEFAULT 0, -- the highest number given out
    rev        bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, name),
    CHECK (live BETWEEN 1 AND versions)
);
CREATE INDEX function_rev ON function (rev);

-- Source code by its digest, shared by all versions that have it.
CREATE TABLE code (
    digest bytea PRIMARY KEY,
    source bytea NOT NULL CHECK (octet_length(source) BETWEEN 1 AND 65536),
    CHECK (digest = sha256(source))
);

-- All versions of a function are kept as long as it exists.
CREATE TABLE version (
    app        text COLLATE "C" NOT NULL,
    function   text COLLATE "C" NOT NULL,
    number     integer     NOT NULL CHECK (number > 0),
    digest     bytea       NOT NULL REFERENCES code,
    created_by text        NOT NULL CHECK (length(created_by) <= 63),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, function, number),
    UNIQUE (app, function, digest), -- identical code is the same version
    FOREIGN KEY (app, function) REFERENCES function ON DELETE CASCADE
);
CREATE INDEX version_digest ON version (digest);

ALTER TABLE function ADD CONSTRAINT function_live
    FOREIGN KEY (app, name, live) REFERENCES version DEFERRABLE INITIALLY DEFERRED;

-- The newest 1,000 deployments of each function; the newest says what is live.
CREATE TABLE deployment (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app        text COLLATE "C" NOT NULL,
    function   text COLLATE "C" NOT NULL,
    version    integer     NOT NULL,
    rev        bigint      NOT NULL,
    rollback   boolean     NOT NULL DEFAULT false,
    created_by text        NOT NULL CHECK (length(created_by) <= 63),
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (app, function, version) REFERENCES version ON DELETE CASCADE
);
CREATE INDEX deployment_function ON deployment (app, function, id);

-- Functions that were served and are no longer: the newest 10,000. A function
-- that is served again has none.
CREATE TABLE tombstone (
    app      text COLLATE "C" NOT NULL,
    function text COLLATE "C" NOT NULL,
    rev      bigint NOT NULL,
    PRIMARY KEY (app, function)
);
CREATE INDEX tombstone_rev ON tombstone (rev);

-- Nodes seen in the last 30 days.
CREATE TABLE node (
    id         uuid        PRIMARY KEY,
    name       text COLLATE "C" NOT NULL CONSTRAINT node_name CHECK (name ~ '^[a-z][a-z0-9-]{0,62}$'),
    version    text        NOT NULL CHECK (length(version) <= 128),
    rev        bigint      NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
