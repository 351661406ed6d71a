-- name: accounts()
-- What became of the offsets passed, by topic and partition, over all lives of the topic.
SELECT topic, partition, sum(next_offset - first_offset)::bigint, sum(stored)::bigint, sum(duplicate)::bigint,
    sum(dead)::bigint, sum(skipped)::bigint, sum(erased)::bigint, sum(expired)::bigint, sum(letters_expired)::bigint,
    sum(late)::bigint, sum(ahead)::bigint
FROM consumer_offsets
GROUP BY topic, partition;

-- name: standing()
-- Where landing stands in each life of each partition.
SELECT topic, partition, cluster_id, topic_id, first_offset, next_offset FROM consumer_offsets;

-- name: rows_standing()
-- How many event rows of each topic and partition stand in the tables now, and the largest offset among them.
SELECT topic, partition, sum(rows)::bigint, max(largest)
FROM (
    SELECT topic, partition, count(*) AS rows, max(kafka_offset) AS largest FROM interactions GROUP BY topic, partition
    UNION ALL
    SELECT topic, partition, count(*), max(kafka_offset) FROM impressions GROUP BY topic, partition
    UNION ALL
    SELECT topic, partition, count(*), max(kafka_offset) FROM feedback GROUP BY topic, partition
    UNION ALL
    SELECT topic, partition, count(*), max(kafka_offset) FROM item_versions GROUP BY topic, partition
    UNION ALL
    SELECT topic, partition, count(*), max(kafka_offset) FROM user_versions GROUP BY topic, partition
) AS counted
GROUP BY topic, partition;

-- name: letters_standing()
-- How many dead letters of each topic and partition stand in the table, and the largest offset among them.
SELECT topic, partition, count(*), max(kafka_offset) FROM dead_letters GROUP BY topic, partition;

-- name: offsets_without_rows(topic, partition, first_offset, next_offset, at_most)
-- The first ranges of offsets in [first_offset, next_offset) that hold neither a row nor a dead letter.
WITH taken AS (
    SELECT kafka_offset FROM interactions WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT kafka_offset FROM impressions WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT kafka_offset FROM feedback WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT kafka_offset FROM item_versions WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT kafka_offset FROM user_versions WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT kafka_offset FROM dead_letters WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT :first_offset::bigint - 1
), ranges AS (
    SELECT kafka_offset + 1 AS first, lead(kafka_offset, 1, :next_offset::bigint) OVER (ORDER BY kafka_offset) - 1 AS last
    FROM taken
)
SELECT first, last FROM ranges WHERE last >= first ORDER BY first LIMIT :at_most;

-- name: odd_rows(topic, partition, first_offset, next_offset, at_most)
-- Rows that no landing wrote: outside of [first_offset, next_offset), or at an offset that another row or letter has.
WITH taken AS (
    SELECT kafka_offset, event_id FROM interactions WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT kafka_offset, event_id FROM impressions WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT kafka_offset, event_id FROM feedback WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT kafka_offset, event_id FROM item_versions WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT kafka_offset, event_id FROM user_versions WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT kafka_offset, NULL FROM dead_letters WHERE topic = :topic AND partition = :partition
)
SELECT kafka_offset, array_remove(array_agg(event_id ORDER BY event_id), NULL)
FROM taken
GROUP BY kafka_offset
HAVING count(*) > 1 OR kafka_offset < :first_offset OR kafka_offset >= :next_offset
ORDER BY kafka_offset
LIMIT :at_most;

-- name: landed_per_hour(since)
-- Rows by the hour of their landing, and by action or kind of event.
SELECT date_trunc('hour', landed_at), action, count(*) FROM interactions WHERE landed_at >= :since GROUP BY 1, 2
UNION ALL
SELECT date_trunc('hour', landed_at), '(impression)', count(*) FROM impressions WHERE landed_at >= :since GROUP BY 1
UNION ALL
SELECT date_trunc('hour', landed_at), '(feedback)', count(*) FROM feedback WHERE landed_at >= :since GROUP BY 1
UNION ALL
SELECT date_trunc('hour', landed_at), '(item)', count(*) FROM item_versions WHERE landed_at >= :since GROUP BY 1
UNION ALL
SELECT date_trunc('hour', landed_at), '(user)', count(*) FROM user_versions WHERE landed_at >= :since GROUP BY 1;
