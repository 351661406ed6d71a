-- name: estimated_rows()$
-- About how many interactions there are, without counting them.
SELECT CASE WHEN reltuples > 0 THEN reltuples::bigint ELSE pg_relation_size(oid) / 200 END
FROM pg_class WHERE oid = 'interactions'::regclass;

-- name: limit_statements(milliseconds)$
-- Let no statement of this transaction take longer.
SELECT set_config('statement_timeout', :milliseconds::text, true);

-- name: sampled_rows(percent)$
-- How many interactions the sample of all these queries holds: whole pages of the table, always the same ones.
SELECT count(*) FROM interactions TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0);

-- name: unknown_items(percent)
-- Items of interactions that the catalogue does not hold, with their interactions: most frequent first, and all of them.
SELECT item_id, count(*), sum(count(*)) OVER ()::bigint
FROM interactions TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0)
WHERE item_id IS NOT NULL AND NOT EXISTS (SELECT FROM items WHERE items.item_id = interactions.item_id)
GROUP BY item_id
ORDER BY count(*) DESC, item_id
LIMIT 10;

-- name: busiest_users(percent, at_least)
-- Users with far more interactions than others: beyond a number, and beyond 6 robust deviations above the median, on a
-- logarithmic scale. Each with the interactions, the limit, and how many such users and interactions there are.
WITH counted AS (
    SELECT user_id, count(*) AS events FROM interactions TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0) GROUP BY user_id
), middle AS (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ln(events)) AS median FROM counted
), spread AS (
    SELECT median, percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(ln(events) - median)) AS deviation
    FROM counted, middle GROUP BY median
), bounded AS (
    SELECT greatest(:at_least::double precision, exp(median + 6 * 1.4826 * deviation)) AS bound FROM spread
)
SELECT user_id, events, bound, count(*) OVER (), sum(events) OVER ()::bigint
FROM counted, bounded
WHERE events > bound
ORDER BY events DESC, user_id
LIMIT 10;

-- name: actions_taken(percent)
-- Interactions with an item by action, most frequent first.
SELECT action, count(*) FROM interactions TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0)
WHERE item_id IS NOT NULL
GROUP BY action
ORDER BY count(*) DESC, action;

-- name: items_without_text()
-- Items of the catalogue that have neither title, text nor categories: ten of them, with how many there are of all.
SELECT item_id, count(*) OVER (), (SELECT count(*) FROM items WHERE NOT deleted)
FROM items
WHERE NOT deleted AND title = '' AND text = '' AND categories = '{}'
ORDER BY item_id
LIMIT 10;

-- name: same_content(percent)
-- Interactions of one user with one item by one action within one second, beyond the first: the largest groups, and all.
SELECT user_id, item_id, action, date_trunc('second', occurred_at), count(*), sum(count(*) - 1) OVER ()::bigint
FROM interactions TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0)
GROUP BY 1, 2, 3, 4
HAVING count(*) > 1
ORDER BY count(*) DESC, 1, 2, 3, 4
LIMIT 10;

-- name: interactions_by_bucket(percent, since, until, seconds)
-- Interactions that occurred in [since, until), by buckets of some seconds counted back from its end.
SELECT floor(extract(epoch FROM :until::timestamptz - occurred_at) / :seconds::double precision)::integer, count(*)
FROM interactions TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0)
WHERE occurred_at >= :since AND occurred_at < :until
GROUP BY 1;

-- name: newest_occurrence(percent, now)$
-- When the newest interaction of the past occurred.
SELECT max(occurred_at) FROM interactions TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0) WHERE occurred_at <= :now;

-- name: shifted_hours(percent)
-- Live interactions by the whole hours (0 too) that lie between when they occurred and when they landed, give or take
-- 90 seconds; -14 to 14 hours are what a wrong time zone can do. The null group is all others.
SELECT CASE WHEN abs(delay_s - 3600 * round(delay_s / 3600)) < 90 AND abs(delay_s) < 14.5 * 3600
    THEN round(delay_s / 3600)::integer END AS hours, count(*), min(event_id)
FROM (
    SELECT event_id, extract(epoch FROM landed_at - occurred_at) AS delay_s
    FROM interactions TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0)
    WHERE known_at = landed_at
) AS live
GROUP BY 1
ORDER BY count(*) DESC;

-- name: skewed_producers(percent, seconds)
-- Producers (a topic, with what their events call themselves) most of whose live interactions occurred, by their clock,
-- later than they landed: by how much, and how many interactions all of them sent.
SELECT topic, producer, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY ahead_s), sum(count(*)) OVER ()::bigint
FROM (
    SELECT topic, coalesce(context ->> 'producer', context ->> 'source', context ->> 'device', '') AS producer,
        extract(epoch FROM occurred_at - landed_at) AS ahead_s
    FROM interactions TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0)
    WHERE known_at = landed_at
) AS live
GROUP BY topic, producer
HAVING count(*) >= 20 AND percentile_cont(0.5) WITHIN GROUP (ORDER BY ahead_s) > :seconds::double precision
ORDER BY count(*) DESC, topic, producer
LIMIT 10;
