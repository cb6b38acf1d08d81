-- min_binary: 5
-- Who may do what only the manager does. Raft, or the lease of a cluster of two, proposes;
-- this row decides: each statement of the manager proves that its epoch is the present one.
CREATE TABLE leadership (
    one         boolean     PRIMARY KEY DEFAULT true CHECK (one),
    cluster_id  uuid        NOT NULL,                                -- a node of another cluster is refused
    raft_term   bigint      NOT NULL DEFAULT 0 CHECK (raft_term >= 0), -- of the holder, or of the last one that Raft elected
    epoch       bigint      NOT NULL DEFAULT 0 CHECK (epoch >= 0),   -- +1 with each change of the holder; never falls
    node_id     uuid,                                                -- the holder; null: nobody yet
    acquired_at timestamptz,
    lease_until timestamptz                                          -- another node may take it from then on; null: it needs a later term
) WITH (fillfactor = 20);
INSERT INTO leadership (cluster_id) SELECT id FROM cluster;
