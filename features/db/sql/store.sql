-- name: user_history(user_id, at_most)^
-- A user's latest interactions as parallel arrays, newest first, and the complete set of items ever touched. A clock
-- that runs ahead does not put an event before others: nothing happened later than it became known.
SELECT array_agg(event_id), array_agg(item_id), array_agg(action), array_agg(value), array_agg(at),
    (SELECT item_ids FROM user_seen WHERE user_id = :user_id)
FROM (
    SELECT event_id, item_id, action, coalesce(value, 'NaN') AS value, least(occurred_at, known_at) AS at
    FROM interactions
    WHERE user_id = :user_id AND item_id IS NOT NULL
    ORDER BY least(occurred_at, known_at) DESC, event_id DESC
    LIMIT :at_most
) AS latest;

-- name: item_states(changed_after)
-- Items that changed at or after an instant; all where it is null. What is deleted or out of stock is hidden.
SELECT item_id, title, categories, hidden OR deleted OR coalesce(stock = 0, false), expires_at, published_at, changed_at
FROM items
WHERE :changed_after::timestamptz IS NULL OR changed_at >= :changed_after
ORDER BY item_id;

-- name: newest_item_statistics(closed_after)
-- The newest statistics row of each item that has one which closed after an instant.
SELECT DISTINCT ON (item_id) item_id, closed_at, count, decayed, first_at, seen, disliked, strong, rating_count,
    rating_sum
FROM item_statistics
WHERE closed_at > :closed_after
ORDER BY item_id, closed_at DESC;

-- name: statistics_progress()^
-- How far item statistics have come, and by which weights; no row before the first refresh.
SELECT closed_at, read_until, largest_rating, weights, events FROM statistics_progress;

-- name: popular_items(at_most)
-- Items by their decayed sum at the half-life of 60 days, brought to one moment; hidden and expired ones left out.
SELECT newest.item_id
FROM (
    SELECT DISTINCT ON (item_id) item_id, closed_at, decayed[6] AS decayed
    FROM item_statistics
    ORDER BY item_id, closed_at DESC
) AS newest
LEFT JOIN items USING (item_id)
WHERE NOT coalesce(items.hidden OR items.deleted OR coalesce(items.stock = 0, false), false)
    AND coalesce(items.expires_at > now(), true)
ORDER BY newest.decayed * power(2, -extract(epoch FROM now() - newest.closed_at)::double precision / 5184000) DESC,
    newest.item_id
LIMIT :at_most;

-- name: frequent_items(at_most)
-- Items by interactions among the first 200,000 rows: what is popular before any statistics exist.
SELECT item_id
FROM (SELECT item_id FROM interactions WHERE item_id IS NOT NULL LIMIT 200000) AS sample
LEFT JOIN items USING (item_id)
WHERE NOT coalesce(items.hidden OR items.deleted OR coalesce(items.stock = 0, false), false)
    AND coalesce(items.expires_at > now(), true)
GROUP BY item_id
ORDER BY count(*) DESC, item_id
LIMIT :at_most;

-- name: ping()$
-- One, if the database answers.
SELECT 1;
