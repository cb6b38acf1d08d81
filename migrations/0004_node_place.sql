-- min_binary: 2
-- Where the node runs: a digest of the machine and the data folder. A copy of the data
-- folder on another machine has the same id and another place. '' is not compared.
ALTER TABLE node ADD COLUMN place text NOT NULL DEFAULT '';
