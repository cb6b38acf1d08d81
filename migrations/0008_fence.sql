-- min_binary: 5
-- manages proves, as the first statement of a change of the manager, that its epoch is the
-- present one. The lock on the row lets a node that takes the leadership over wait until the
-- change has ended. When the epoch is over, the error ends the transaction, whatever follows
-- it in the same round trip.
CREATE FUNCTION manages(epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM leadership l WHERE l.epoch = $1 FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another node manages the cluster: epoch % is over', $1 USING ERRCODE = 'PC308';
    END IF;
END $$;

REVOKE ALL ON FUNCTION manages FROM PUBLIC;
