-- min_binary: 5
-- An older binary would report itself as a node without an invitation.

-- manager: it may become the manager. node: it serves functions only.
CREATE TYPE node_role AS ENUM ('manager', 'node');

ALTER TABLE cluster
    -- What people call the cluster.
    ADD COLUMN name text NOT NULL DEFAULT 'home' CONSTRAINT cluster_name CHECK (name ~ '^[a-z][a-z0-9-]{0,62}$'),
    -- The node that took the empty database; no invitation lets it in. Null: none has yet.
    ADD COLUMN founder uuid,
    -- The cluster's CA: its certificate (DER), and its key, sealed with the cluster's
    -- key. Null until the first invitation.
    ADD COLUMN ca_certificate bytea CHECK (octet_length(ca_certificate) <= 4096),
    ADD COLUMN ca_key bytea CHECK (octet_length(ca_key) <= 4096),
    -- The keys of the gossip, the primary one first, sealed with the cluster's key, and how
    -- often they were changed.
    ADD COLUMN gossip_keys bytea CHECK (octet_length(gossip_keys) <= 1024),
    ADD COLUMN gossip_rev integer NOT NULL DEFAULT 0,
    ADD CHECK (num_nonnulls(ca_certificate, ca_key, gossip_keys) IN (0, 3));

-- Of several nodes that share the database already, the oldest is the founder.
UPDATE cluster SET founder = (SELECT id FROM node ORDER BY started_at, id LIMIT 1);

-- A row is a member: the founder, or a node that an invitation let in.
ALTER TABLE node
    ADD COLUMN role node_role NOT NULL DEFAULT 'manager',
    -- Where other nodes reach its cluster port; empty: it has none open.
    ADD COLUMN address text NOT NULL DEFAULT '' CHECK (length(address) <= 255),
    ADD COLUMN arch text NOT NULL DEFAULT '' CHECK (length(arch) <= 32),
    -- The digest of its public key, and the invitation that let it in.
    ADD COLUMN key_digest bytea CHECK (octet_length(key_digest) = 32),
    ADD COLUMN invitation bytea CHECK (octet_length(invitation) = 8),
    ADD COLUMN joined_at timestamptz NOT NULL DEFAULT now();

-- Invitations: at most 100 that can be used at a time.
CREATE TABLE invitation (
    id         bytea       PRIMARY KEY CHECK (octet_length(id) = 8),
    secret     bytea       NOT NULL CHECK (octet_length(secret) = 32), -- its digest
    role       node_role   NOT NULL,
    uses       integer     NOT NULL CHECK (uses >= 0), -- that are left
    created_by text        NOT NULL CHECK (length(created_by) <= 63),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

-- Nodes that were removed, as long as their certificates live: no node talks to them.
CREATE TABLE removed_node (
    id         uuid        PRIMARY KEY,
    name       text COLLATE "C" NOT NULL,
    removed_by text        NOT NULL CHECK (length(removed_by) <= 63),
    removed_at timestamptz NOT NULL DEFAULT now()
);
