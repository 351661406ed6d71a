-- name: pages_of(table_name)$
-- How many pages a table has, as the server counts them now.
SELECT pg_relation_size(:table_name::text::regclass) / current_setting('block_size')::bigint;

-- name: expire_interactions(first, last, expires)
-- Delete the interactions of some pages that occurred before their topic's rows may expire, count them, and tell when the
-- last of them became known. Written out for each table: a table is no parameter, and statements are linted and searched
-- for as they stand here.
WITH gone AS (
    DELETE FROM interactions
    USING jsonb_to_recordset(:expires::jsonb) AS limits (topic text, occurred_before timestamptz, landed_before timestamptz)
    WHERE interactions.ctid >= :first::tid
        AND interactions.ctid < :last::tid
        AND interactions.topic = limits.topic
        AND interactions.occurred_at < limits.occurred_before AND interactions.landed_at < limits.landed_before
    RETURNING interactions.topic, interactions.partition, interactions.known_at
)
SELECT topic, partition, count(*), max(known_at) FROM gone GROUP BY topic, partition;

-- name: expire_impressions(first, last, expires)
-- Delete the impressions of some pages in the same way.
WITH gone AS (
    DELETE FROM impressions
    USING jsonb_to_recordset(:expires::jsonb) AS limits (topic text, occurred_before timestamptz, landed_before timestamptz)
    WHERE impressions.ctid >= :first::tid
        AND impressions.ctid < :last::tid
        AND impressions.topic = limits.topic
        AND impressions.occurred_at < limits.occurred_before AND impressions.landed_at < limits.landed_before
    RETURNING impressions.topic, impressions.partition, impressions.known_at
)
SELECT topic, partition, count(*), max(known_at) FROM gone GROUP BY topic, partition;

-- name: expire_feedback(first, last, expires)
-- Delete the feedback of some pages in the same way.
WITH gone AS (
    DELETE FROM feedback
    USING jsonb_to_recordset(:expires::jsonb) AS limits (topic text, occurred_before timestamptz, landed_before timestamptz)
    WHERE feedback.ctid >= :first::tid
        AND feedback.ctid < :last::tid
        AND feedback.topic = limits.topic
        AND feedback.occurred_at < limits.occurred_before AND feedback.landed_at < limits.landed_before
    RETURNING feedback.topic, feedback.partition, feedback.known_at
)
SELECT topic, partition, count(*), max(known_at) FROM gone GROUP BY topic, partition;

-- name: lock_whole_since#
-- Wait until no statistics refresh is under way, for an hour at most, as long as DAGs give one; and keep new ones waiting
-- until the transaction ends.
SET LOCAL statement_timeout = '1h';
LOCK TABLE statistics_progress IN ROW EXCLUSIVE MODE;
SET LOCAL statement_timeout TO DEFAULT;

-- name: gone_until(known_at)!
-- Remember that interactions are gone that item statistics hold and nobody could count again.
UPDATE statistics_progress SET whole_since = greatest(whole_since, :known_at);

-- name: expire_dead_letters(landed_before, at_most)
-- Delete some dead letters that are done with and landed before a time, and count them.
WITH gone AS (
    DELETE FROM dead_letters
    WHERE dead_letter_id IN (
        SELECT dead_letter_id FROM dead_letters
        WHERE landed_at < :landed_before
            AND coalesce(replayed_at, discarded_at, erased_at) IS NOT NULL AND published_at IS NOT NULL
        ORDER BY landed_at
        LIMIT :at_most
        FOR UPDATE SKIP LOCKED
    )
    RETURNING topic, partition, topic_id, cluster_id
)
SELECT cluster_id, topic, topic_id, partition, count(*) FROM gone GROUP BY cluster_id, topic, topic_id, partition;

-- name: lock_counters(topics)
-- The counters of some topics, which no one else can move until the transaction ends; in landing's order.
SELECT topic, partition FROM consumer_offsets WHERE topic = ANY(:topics)
ORDER BY topic, topic_id, partition
FOR NO KEY UPDATE;

-- name: count_letters_expired(cluster_id, topic, topic_id, partition, letters)!
-- Count dead letters that retention took away.
UPDATE consumer_offsets SET letters_expired = letters_expired + :letters
WHERE cluster_id = :cluster_id AND topic = :topic AND topic_id = :topic_id AND partition = :partition;

-- name: landed_topics_known()
-- Topics that were ever landed, the import among them.
SELECT DISTINCT topic FROM consumer_offsets ORDER BY topic;
