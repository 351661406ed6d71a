-- name: export_interactions(since, until, landed_before)
-- Interactions that occurred in [since, until) and landed before an instant, by time.
SELECT event_id, user_id, item_id, action, value, occurred_at, known_at, landed_at, recommendation_id, context::text
FROM interactions
WHERE occurred_at >= :since AND occurred_at < :until AND landed_at < :landed_before
ORDER BY occurred_at, event_id;

-- name: export_impressions(since, until, landed_before)
-- Impressions that occurred in [since, until) and landed before an instant, by time.
SELECT event_id, user_id, recommendation_id, model_version, experiment_id, variant, policy, item_ids, positions,
    sources, scores, propensities, occurred_at, known_at, landed_at, context::text
FROM impressions
WHERE occurred_at >= :since AND occurred_at < :until AND landed_at < :landed_before
ORDER BY occurred_at, event_id;

-- name: export_feedback(since, until, landed_before)
-- Feedback that occurred in [since, until) and landed before an instant, by time.
SELECT event_id, recommendation_id, user_id, item_id, outcome, occurred_at, known_at, landed_at
FROM feedback
WHERE occurred_at >= :since AND occurred_at < :until AND landed_at < :landed_before
ORDER BY occurred_at, event_id;

-- name: export_items()
-- All items as they are now.
SELECT item_id, title, text, categories, attributes::text, hidden, deleted, stock, published_at, expires_at, occurred_at
FROM items
ORDER BY item_id;

-- name: export_users()
-- All users as they are now.
SELECT user_id, attributes::text, occurred_at FROM users ORDER BY user_id;

-- name: export_count(since, until, landed_before)^
-- How many interactions, impressions and feedback an export of a range takes, and how many items and users.
SELECT
    (
        SELECT count(*) FROM interactions
        WHERE occurred_at >= :since AND occurred_at < :until AND landed_at < :landed_before
    ),
    (
        SELECT count(*) FROM impressions
        WHERE occurred_at >= :since AND occurred_at < :until AND landed_at < :landed_before
    ),
    (
        SELECT count(*) FROM feedback
        WHERE occurred_at >= :since AND occurred_at < :until AND landed_at < :landed_before
    ),
    (SELECT count(*) FROM items),
    (SELECT count(*) FROM users);

-- name: newest_erasure()$
-- The number of the latest erasure, 0 before the first.
SELECT coalesce(max(erasure_id), 0) FROM erasures;

-- name: register_export(folder, exported_at)!
-- Write down a folder that is about to hold copies of rows, unless it is known.
INSERT INTO exports (folder, exported_at, rows) VALUES (:folder, :exported_at, 0) ON CONFLICT (folder) DO NOTHING;

-- name: keep_export(folder, exported_at, rows)!
-- Write down what a folder holds copies of.
INSERT INTO exports (folder, exported_at, rows) VALUES (:folder, :exported_at, :rows)
ON CONFLICT (folder) DO UPDATE SET exported_at = excluded.exported_at, rows = excluded.rows;
