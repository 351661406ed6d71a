-- When an item first came: the order of listings, which no later version changes. Of items that were there before it is
-- when their first version landed.
ALTER TABLE items ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE items DISABLE TRIGGER items_text_update;
UPDATE items SET created_at = first.landed_at
FROM (SELECT item_id, min(landed_at) AS landed_at FROM item_versions GROUP BY item_id) AS first
WHERE first.item_id = items.item_id;
ALTER TABLE items ENABLE TRIGGER items_text_update;
CREATE INDEX items_by_age ON items (created_at, item_id);
CREATE INDEX items_by_category ON items USING gin (categories);
