-- name: snapshot_interactions(since, until)
-- Interactions with an item that were known in [since, until), in the order in which they became known. A repeat is one
-- whose user did the same on that item before, be it before `since`.
SELECT event_id, user_id, item_id, action, value, occurred_at, known_at, repeat
FROM (
    SELECT event_id, user_id, item_id, action, value, occurred_at, known_at,
        row_number() OVER (PARTITION BY user_id, item_id, action ORDER BY known_at, event_id) > 1 AS repeat
    FROM interactions
    WHERE item_id IS NOT NULL AND known_at < :until
) AS known
WHERE known_at >= :since
ORDER BY known_at, event_id;

-- name: known_log(until)
-- Interactions with an item that were known before an instant, and when they landed: what was there to be read.
SELECT event_id, user_id, item_id, action, value, occurred_at, known_at, landed_at
FROM interactions
WHERE item_id IS NOT NULL AND known_at < :until;

-- name: snapshot_summary(since, until)^
-- Count and range of times of the interactions that a snapshot takes.
SELECT count(*), min(known_at), max(known_at), min(occurred_at), max(occurred_at)
FROM interactions
WHERE item_id IS NOT NULL AND known_at >= :since AND known_at < :until;

-- name: snapshot_items(until)
-- Each item as its versions known before an instant say, deleted ones too: histories name them. And when the first of
-- them became known.
SELECT merged.item_id, said.title, said.text, said.categories, said.attributes::text, said.published_at,
    said.deleted, merged.first_known_at
FROM (
    SELECT item_id, min(known_at) AS first_known_at,
        merged_versions(partial, fields ORDER BY occurred_at, event_id) AS fields
    FROM item_versions
    WHERE known_at < :until
    GROUP BY item_id
) AS merged
CROSS JOIN LATERAL item_columns(merged.fields) AS said
ORDER BY merged.item_id;

-- name: gone_interactions()
-- What users have seen that none of their stored interactions tells any more: retention has deleted these.
SELECT user_id, had.item_id
FROM user_seen
CROSS JOIN LATERAL unnest(item_ids) AS had (item_id)
WHERE NOT EXISTS (
    SELECT FROM interactions WHERE interactions.user_id = user_seen.user_id AND interactions.item_id = had.item_id
);

-- name: landed_shape(since, until)
-- Events with an item landed in [since, until), by action, and the largest value of each action.
SELECT action, count(*), coalesce(max(value), 0) FROM interactions
WHERE landed_at >= :since AND landed_at < :until AND item_id IS NOT NULL
GROUP BY action;

-- name: usual_rating(until, share)$
-- The smallest rating, of all that landed before an instant, that a share of them does not exceed.
SELECT percentile_disc(:share) WITHIN GROUP (ORDER BY value) FROM interactions
WHERE action = 'rating' AND item_id IS NOT NULL AND landed_at < :until;

-- name: late_items(read_since, read_until, closed_at)
-- Items with rows landed in [read_since, read_until) that belong to buckets already closed.
SELECT DISTINCT item_id FROM interactions
WHERE landed_at >= :read_since AND landed_at < :read_until AND known_at < :closed_at AND item_id IS NOT NULL;

-- name: items_known_between(since, until, read_until)
-- Items with events that became known in [since, until) and landed before an instant.
SELECT DISTINCT item_id FROM interactions
WHERE known_at >= :since AND known_at < :until AND landed_at < :read_until AND item_id IS NOT NULL;

-- name: landed_since(since)$
-- How many interactions with an item landed at or after an instant.
SELECT count(*) FROM interactions WHERE landed_at >= :since AND item_id IS NOT NULL;

-- name: events_between(since, until, read_until)
-- Events with an item that became known in [since, until) and landed before an instant, in the order in which
-- they became known, and whether each is a repeat: within the range, or of what its user had done before it. However
-- large the range, no user is read twice.
WITH known AS MATERIALIZED (
    SELECT event_id, user_id, item_id, action, value, known_at,
        row_number() OVER (PARTITION BY user_id, item_id, action ORDER BY known_at, event_id) > 1 AS repeat
    FROM interactions
    WHERE known_at >= :since AND known_at < :until AND landed_at < :read_until AND item_id IS NOT NULL
), done_before AS (
    SELECT DISTINCT user_id, item_id, action
    FROM (SELECT DISTINCT user_id FROM known) AS active
    JOIN interactions USING (user_id)
    WHERE known_at < :since AND landed_at < :read_until AND item_id IS NOT NULL
)
SELECT item_id, action, coalesce(value, 'NaN'), known_at, repeat OR done_before.user_id IS NOT NULL
FROM known
LEFT JOIN done_before USING (user_id, item_id, action)
ORDER BY known_at, event_id;

-- name: events_of_items(item_ids, known_since, known_until, read_until)
-- Events of some items that became known in [known_since, known_until) and landed before an instant, in the order in
-- which they became known, and whether each is a repeat.
SELECT item_id, action, value, known_at, repeat
FROM (
    SELECT event_id, item_id, action, coalesce(value, 'NaN') AS value, known_at,
        row_number() OVER (PARTITION BY user_id, item_id, action ORDER BY known_at, event_id) > 1 AS repeat
    FROM interactions
    WHERE item_id = ANY(:item_ids) AND known_at < :known_until AND landed_at < :read_until
) AS known
WHERE known_at >= :known_since
ORDER BY known_at, event_id;

-- name: landed_and_known_before(item_ids, read_since, read_until, known_until)
-- Events of some items that landed in [read_since, read_until) and became known before an instant, in that order. A
-- repeat is what has been counted before, be it of what happened later.
SELECT item_id, action, value, known_at, repeat
FROM (
    SELECT event_id, item_id, action, coalesce(value, 'NaN') AS value, known_at, landed_at, row_number() OVER (
            PARTITION BY user_id, item_id, action ORDER BY landed_at >= :read_since, known_at, event_id
        ) > 1 AS repeat
    FROM interactions
    WHERE item_id = ANY(:item_ids) AND known_at < :known_until AND landed_at < :read_until
) AS known
WHERE landed_at >= :read_since
ORDER BY known_at, event_id;

-- name: newest_states(item_ids)
-- The newest statistics row of each of some items.
SELECT DISTINCT ON (item_id) item_id, closed_at, count, decayed, first_at, seen, disliked, strong, rating_count,
    rating_sum
FROM item_statistics
WHERE item_id = ANY(:item_ids)
ORDER BY item_id, closed_at DESC;

-- name: forget_item_statistics(item_ids, after)!
-- Remove the rows of items that are about to be rebuilt from an edge on.
DELETE FROM item_statistics WHERE item_id = ANY(:item_ids) AND closed_at > :after;

-- name: forget_statistics_rows(item_ids, closed_at)!
-- Remove one row of each of some items, where there is one.
DELETE FROM item_statistics
USING unnest(:item_ids::text[], :closed_at::timestamptz[]) AS replaced(item_id, closed_at)
WHERE item_statistics.item_id = replaced.item_id AND item_statistics.closed_at = replaced.closed_at;

-- name: forget_statistics(after)!
-- Remove every row from an edge on: the weights changed. Not by TRUNCATE, for which readers would have to wait.
DELETE FROM item_statistics WHERE closed_at > :after;

-- name: copy_item_statistics()!
-- Add rows of closed buckets.
COPY item_statistics (item_id, closed_at, count, decayed, first_at, seen, disliked, strong, rating_count, rating_sum)
FROM STDIN (FORMAT BINARY);

-- name: keep_progress(closed_at, read_until, largest_rating, weights, events)!
-- Remember how far statistics have come.
INSERT INTO statistics_progress (closed_at, read_until, largest_rating, weights, events)
VALUES (:closed_at, :read_until, :largest_rating, :weights, :events)
ON CONFLICT (only_row) DO UPDATE
SET closed_at = excluded.closed_at, read_until = excluded.read_until, largest_rating = excluded.largest_rating,
    weights = excluded.weights, events = excluded.events;

-- name: served_weights()$
-- The action weights of the version that serves; nothing before one did.
SELECT weights FROM served_weights;

-- name: lock_statistics()!
-- Let one refresh work at a time; readers go on.
LOCK TABLE statistics_progress IN SHARE ROW EXCLUSIVE MODE;

-- name: items_not_shown(as_of)$
-- Items that may not be shown at an instant: hidden, deleted or out of stock now, expired or not published by then.
SELECT coalesce(array_agg(item_id), '{}') FROM items
WHERE hidden OR deleted OR coalesce(stock = 0, false)
    OR coalesce(expires_at <= :as_of, false) OR coalesce(published_at > :as_of, false);
