-- name: copy_dead_letters()!
-- Keep what could not be landed.
COPY dead_letters (
    cluster_id, topic, topic_id, partition, kafka_offset, reason, message, key, raw, backfill, landed_at
) FROM STDIN (FORMAT BINARY);

-- name: dead_letters_at(cluster_id, topics, topic_ids, partitions, offsets)
-- Which of some places are dead letters already.
SELECT known.topic, known.partition, known.kafka_offset
FROM dead_letters AS known
JOIN unnest(:topics::text[], :topic_ids::text[], :partitions::integer[], :offsets::bigint[])
    AS wanted (topic, topic_id, partition, kafka_offset) USING (topic, topic_id, partition, kafka_offset)
WHERE known.cluster_id = :cluster_id;

-- name: unpublished_dead_letters(but_not, at_most)
-- The oldest dead letters that are not in their topic yet, those of some topics aside, locked against a second publisher.
SELECT dead_letter_id, cluster_id, topic, partition, kafka_offset, reason, message, raw
FROM dead_letters
WHERE published_at IS NULL AND topic <> ALL(:but_not::text[])
ORDER BY dead_letter_id
LIMIT :at_most
FOR NO KEY UPDATE SKIP LOCKED;

-- name: mark_published(dead_letter_ids)!
-- Remember that dead letters are in their topic.
UPDATE dead_letters SET published_at = now() WHERE dead_letter_id = ANY(:dead_letter_ids);

-- name: list_dead_letters(reason, topic, since, until, only_open, at_most)
-- Dead letters by reason, topic and time of landing, newest first; null filters nothing.
SELECT dead_letter_id, topic, partition, kafka_offset, reason, message, landed_at, published_at, replayed_at,
    fixed_at, discarded_at, erased_at, CASE
        WHEN erased_at IS NOT NULL THEN 'erased'
        WHEN replayed_at IS NOT NULL THEN 'replayed'
        WHEN discarded_at IS NOT NULL THEN 'discarded'
        WHEN fixed_at IS NOT NULL THEN 'fixed'
        ELSE 'open'
    END
FROM dead_letters
WHERE (:reason::text IS NULL OR reason = :reason)
    AND (:topic::text IS NULL OR topic = :topic)
    AND (:since::timestamptz IS NULL OR landed_at >= :since)
    AND (:until::timestamptz IS NULL OR landed_at < :until)
    AND (NOT :only_open::boolean OR coalesce(replayed_at, discarded_at, erased_at) IS NULL)
ORDER BY dead_letter_id DESC
LIMIT :at_most;

-- name: count_dead_letters_by_state(reason, topic, since, until)
-- How many dead letters are in each state; null filters nothing.
SELECT CASE
        WHEN erased_at IS NOT NULL THEN 'erased'
        WHEN replayed_at IS NOT NULL THEN 'replayed'
        WHEN discarded_at IS NOT NULL THEN 'discarded'
        WHEN fixed_at IS NOT NULL THEN 'fixed'
        ELSE 'open'
    END, count(*)
FROM dead_letters
WHERE (:reason::text IS NULL OR reason = :reason)
    AND (:topic::text IS NULL OR topic = :topic)
    AND (:since::timestamptz IS NULL OR landed_at >= :since)
    AND (:until::timestamptz IS NULL OR landed_at < :until)
GROUP BY 1;

-- name: show_dead_letter(dead_letter_id)^
-- One dead letter with its bytes.
SELECT dead_letter_id, topic, partition, kafka_offset, reason, message, landed_at, published_at, replayed_at,
    fixed_at, discarded_at, erased_at, CASE
        WHEN erased_at IS NOT NULL THEN 'erased'
        WHEN replayed_at IS NOT NULL THEN 'replayed'
        WHEN discarded_at IS NOT NULL THEN 'discarded'
        WHEN fixed_at IS NOT NULL THEN 'fixed'
        ELSE 'open'
    END, key, raw, fixed_raw, backfill
FROM dead_letters
WHERE dead_letter_id = :dead_letter_id;

-- name: lock_dead_letter(dead_letter_id)$
-- One dead letter's id, which no one else can change until the transaction ends.
SELECT dead_letter_id FROM dead_letters WHERE dead_letter_id = :dead_letter_id FOR NO KEY UPDATE;

-- name: dead_letters_to_replay(dead_letter_ids, reason, topic, since, until, after_id, at_most)
-- The oldest open dead letters after an id, chosen by id, reason, topic and time; null filters nothing.
SELECT dead_letter_id, topic, partition, kafka_offset, key, coalesce(fixed_raw, raw), fixed_raw IS NOT NULL, backfill
FROM dead_letters
WHERE coalesce(replayed_at, discarded_at, erased_at) IS NULL
    AND dead_letter_id > :after_id
    AND (:dead_letter_ids::bigint[] IS NULL OR dead_letter_id = ANY(:dead_letter_ids))
    AND (:reason::text IS NULL OR reason = :reason)
    AND (:topic::text IS NULL OR topic = :topic)
    AND (:since::timestamptz IS NULL OR landed_at >= :since)
    AND (:until::timestamptz IS NULL OR landed_at < :until)
ORDER BY dead_letter_id
LIMIT :at_most
FOR NO KEY UPDATE;

-- name: count_open_dead_letters(dead_letter_ids, reason, topic, since, until)$
-- How many open dead letters are chosen.
SELECT count(*)
FROM dead_letters
WHERE coalesce(replayed_at, discarded_at, erased_at) IS NULL
    AND (:dead_letter_ids::bigint[] IS NULL OR dead_letter_id = ANY(:dead_letter_ids))
    AND (:reason::text IS NULL OR reason = :reason)
    AND (:topic::text IS NULL OR topic = :topic)
    AND (:since::timestamptz IS NULL OR landed_at >= :since)
    AND (:until::timestamptz IS NULL OR landed_at < :until);

-- name: mark_replayed(dead_letter_ids)!
-- Remember that dead letters were sent to their topic again.
UPDATE dead_letters SET replayed_at = now() WHERE dead_letter_id = ANY(:dead_letter_ids);

-- name: fix_dead_letter(dead_letter_id, fixed_raw)!
-- Keep the bytes that a replay will send instead of those that came.
UPDATE dead_letters SET fixed_raw = :fixed_raw, fixed_at = now() WHERE dead_letter_id = :dead_letter_id;

-- name: discard_dead_letters(dead_letter_ids, reason, topic, since, until)!
-- Put open dead letters aside, chosen by id, reason, topic and time; null filters nothing.
UPDATE dead_letters SET discarded_at = now()
WHERE coalesce(replayed_at, discarded_at, erased_at) IS NULL
    AND (:dead_letter_ids::bigint[] IS NULL OR dead_letter_id = ANY(:dead_letter_ids))
    AND (:reason::text IS NULL OR reason = :reason)
    AND (:topic::text IS NULL OR topic = :topic)
    AND (:since::timestamptz IS NULL OR landed_at >= :since)
    AND (:until::timestamptz IS NULL OR landed_at < :until);
