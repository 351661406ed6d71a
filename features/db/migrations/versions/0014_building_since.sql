-- Since when an encoder makes vectors of all items: since its fit, or since it came back from retirement. Which one is the
-- newest is a matter of the fit alone.
ALTER TABLE encoders ADD COLUMN building_since timestamptz NOT NULL DEFAULT clock_timestamp();
UPDATE encoders SET building_since = created_at;
