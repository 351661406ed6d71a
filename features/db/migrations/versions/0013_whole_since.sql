-- Item statistics outlive the events that they count: since when all of these are still there.
ALTER TABLE statistics_progress ADD COLUMN whole_since timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00Z';
