-- name: begin_partition(cluster_id, topic, topic_id, partition, first_offset)!
-- Start counting a partition at its first readable offset, unless it is known already.
INSERT INTO consumer_offsets (cluster_id, topic, topic_id, partition, first_offset, next_offset)
VALUES (:cluster_id, :topic, :topic_id, :partition, :first_offset, :first_offset)
ON CONFLICT DO NOTHING;

-- name: next_offset(cluster_id, topic, topic_id, partition)$
-- Where landing goes on in a partition.
SELECT next_offset FROM consumer_offsets
WHERE cluster_id = :cluster_id AND topic = :topic AND topic_id = :topic_id AND partition = :partition;

-- name: lives(topic, partition)
-- Where landing stands in a partition, for each cluster and id under which its topic was ever landed.
SELECT cluster_id, topic_id, next_offset, moved_at FROM consumer_offsets
WHERE topic = :topic AND partition = :partition
ORDER BY moved_at;

-- name: lock_offsets(cluster_id, topics, topic_ids, partitions)
-- Where landing stands in some partitions, which no one else can move until the transaction ends.
SELECT known.topic, known.partition, known.next_offset
FROM consumer_offsets AS known
JOIN unnest(:topics::text[], :topic_ids::text[], :partitions::integer[]) AS wanted (topic, topic_id, partition)
    ON known.topic = wanted.topic AND known.topic_id = wanted.topic_id AND known.partition = wanted.partition
WHERE known.cluster_id = :cluster_id
ORDER BY known.topic, known.topic_id, known.partition
FOR NO KEY UPDATE OF known;

-- name: move_offset(cluster_id, topic, topic_id, partition, expected, next_offset, stored, duplicate, dead, skipped, late, ahead)!
-- Move a partition on and count what became of the offsets passed, only from where it is expected to stand.
UPDATE consumer_offsets
SET next_offset = :next_offset, stored = stored + :stored, duplicate = duplicate + :duplicate, dead = dead + :dead,
    skipped = skipped + :skipped, late = late + :late, ahead = ahead + :ahead, moved_at = now()
WHERE cluster_id = :cluster_id AND topic = :topic AND topic_id = :topic_id AND partition = :partition
    AND next_offset = :expected;

-- name: put_offset(cluster_id, topic, topic_id, partition, next_offset)!
-- Move a partition by decision; what is passed over counts as skipped, what will be read again below zero.
UPDATE consumer_offsets
SET skipped = skipped + :next_offset - next_offset, next_offset = :next_offset, moved_at = now()
WHERE cluster_id = :cluster_id AND topic = :topic AND topic_id = :topic_id AND partition = :partition;

-- name: one_snapshot()!
-- Let all that this transaction reads be of one moment.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: count_gone(topics, partitions, erased, expired)!
-- Count rows that were taken away on purpose, in the latest life of each topic and partition.
WITH latest AS (
    SELECT DISTINCT ON (topic, partition) cluster_id, topic, topic_id, partition, gone.erased, gone.expired
    FROM unnest(:topics::text[], :partitions::integer[], :erased::bigint[], :expired::bigint[])
        AS gone (topic, partition, erased, expired)
    JOIN consumer_offsets USING (topic, partition)
    ORDER BY topic, partition, moved_at DESC, topic_id
)
UPDATE consumer_offsets AS counted
SET erased = counted.erased + latest.erased, expired = counted.expired + latest.expired
FROM latest
WHERE counted.cluster_id = latest.cluster_id AND counted.topic = latest.topic
    AND counted.topic_id = latest.topic_id AND counted.partition = latest.partition;
