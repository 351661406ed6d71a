-- The action weights of the version that serves, as the server that serves it says: live statistics go by them, so that
-- what people do between two trainings does not make rows that mean something else to its ranker.
CREATE TABLE served_weights (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    weights jsonb NOT NULL,
    told_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
