-- name: remember_erasure(user_key, erased_at, receipt)$
-- Keep the tombstone of a user, and what this erasure did beside what earlier ones did; how many there were by now.
INSERT INTO erasures AS known (user_key, erased_at, receipt)
VALUES (:user_key, :erased_at, jsonb_build_array(:receipt::jsonb))
ON CONFLICT (user_key) DO UPDATE SET receipt = known.receipt || excluded.receipt
RETURNING jsonb_array_length(receipt);

-- name: foreign_erasures(secret_check)$
-- How many users were erased under another secret.
SELECT count(*) FROM erasures WHERE receipt -> -1 ->> 'secret_check' <> :secret_check;

-- name: recommendations_of_user(user_id)$
-- The ids of all lists that were shown to a user.
SELECT coalesce(array_agg(DISTINCT recommendation_id), '{}') FROM impressions WHERE user_id = :user_id;

-- name: erase_interactions(user_id)
-- Delete a user's interactions and count them by topic and partition, with their last landing time.
WITH gone AS (DELETE FROM interactions WHERE user_id = :user_id RETURNING topic, partition, landed_at)
SELECT topic, partition, count(*), max(landed_at) FROM gone GROUP BY topic, partition;

-- name: erase_impressions(user_id)
-- Delete a user's impressions and count them by topic and partition, with their last landing time.
WITH gone AS (DELETE FROM impressions WHERE user_id = :user_id RETURNING topic, partition, landed_at)
SELECT topic, partition, count(*), max(landed_at) FROM gone GROUP BY topic, partition;

-- name: erase_feedback(user_id, recommendation_ids)
-- Delete a user's feedback, and what came without a user on lists shown to them, counted as the others.
WITH gone AS (
    DELETE FROM feedback
    WHERE user_id = :user_id OR (user_id IS NULL AND recommendation_id = ANY(:recommendation_ids))
    RETURNING topic, partition, landed_at
)
SELECT topic, partition, count(*), max(landed_at) FROM gone GROUP BY topic, partition;

-- name: erase_user_versions(user_id)
-- Delete what was said of a user, counted as the others.
WITH gone AS (DELETE FROM user_versions WHERE user_id = :user_id RETURNING topic, partition, landed_at)
SELECT topic, partition, count(*), max(landed_at) FROM gone GROUP BY topic, partition;

-- name: erase_user(user_id)!
-- Delete what holds of a user now.
DELETE FROM users WHERE user_id = :user_id;

-- name: erase_user_seen(user_id)!
-- Delete what a user has seen.
DELETE FROM user_seen WHERE user_id = :user_id;

-- name: letters_that_may_hold(keys, needles, since, until, after_id, at_most)
-- Dead letters landed or fixed in [since, until) with one of some keys, or with one of some byte strings in them:
-- candidates, to be looked at closely.
SELECT dead_letter_id, topic, key, raw, fixed_raw
FROM dead_letters
WHERE erased_at IS NULL
    AND dead_letter_id > :after_id
    AND (landed_at >= :since AND landed_at < :until OR fixed_at >= :since AND fixed_at < :until)
    AND (
        key = ANY(:keys)
        OR EXISTS (
            SELECT FROM unnest(:needles::bytea[]) AS needle
            WHERE position(needle IN raw) > 0 OR position(needle IN fixed_raw) > 0
        )
    )
ORDER BY dead_letter_id
LIMIT :at_most;

-- name: blank_dead_letters(dead_letter_ids, erased_at)
-- Empty dead letters of all that they hold; they stay to be counted. Tells the topic of each.
UPDATE dead_letters
SET raw = '', fixed_raw = NULL, key = NULL, message = '', erased_at = :erased_at
WHERE dead_letter_id = ANY(:dead_letter_ids)
RETURNING topic;

-- name: export_folders()
-- Folders that hold copies of rows.
SELECT folder FROM exports ORDER BY folder;
