-- min_binary: 2
-- A name belongs to one node. Of several that had it, the one that was seen last keeps
-- it, and the limits that an admin gave to the name.
UPDATE node n SET limits = o.limits FROM node o
WHERE o.name = n.name AND o.id <> n.id AND n.limits = '{}' AND o.limits <> '{}';
DELETE FROM node n USING node o WHERE o.name = n.name AND (o.seen_at, o.id) > (n.seen_at, n.id);
ALTER TABLE node
    ADD CONSTRAINT node_has_its_name UNIQUE (name),
    -- When the node said that it stops. It counts until the node is seen again.
    ADD COLUMN stopped_at timestamptz;
