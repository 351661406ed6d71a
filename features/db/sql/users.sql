-- name: seen_count(user_id)$
-- How many items a user has seen, as far as is kept; null for a user of whom nothing is.
SELECT cardinality(item_ids) FROM user_seen WHERE user_id = :user_id;

-- name: rebuild_user_seen(user_id)!
-- Add to what a user has seen every item of their stored interactions. Nothing is taken away: interactions may have
-- expired, and landing may be adding at the same time.
INSERT INTO user_seen AS seen (user_id, item_ids)
SELECT user_id, array_agg(DISTINCT item_id)
FROM interactions
WHERE user_id = :user_id AND item_id IS NOT NULL
GROUP BY user_id
ON CONFLICT (user_id) DO UPDATE
SET item_ids = seen.item_ids || ARRAY(SELECT unnest(excluded.item_ids) EXCEPT SELECT unnest(seen.item_ids))
WHERE NOT seen.item_ids @> excluded.item_ids;
