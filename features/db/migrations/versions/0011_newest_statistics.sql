-- The newest statistics row of each item. One step of the index from item to item: rows grow by one an item and bucket,
-- and to look at all of them takes seconds where they are millions.
CREATE VIEW newest_item_statistics AS
WITH RECURSIVE known AS (
    (SELECT item_id FROM item_statistics ORDER BY item_id LIMIT 1)
    UNION ALL
    SELECT (SELECT item_id FROM item_statistics WHERE item_id > known.item_id ORDER BY item_id LIMIT 1)
    FROM known WHERE known.item_id IS NOT NULL
)
SELECT newest.*
FROM known CROSS JOIN LATERAL (
    SELECT * FROM item_statistics WHERE item_statistics.item_id = known.item_id ORDER BY closed_at DESC LIMIT 1
) AS newest;
