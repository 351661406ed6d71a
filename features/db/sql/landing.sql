-- name: create_staging#
-- Make the session's staging tables; each transaction finds them empty.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_seen (
    user_id text COLLATE "C", item_id text COLLATE "C"
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_impressions (
    event_id text COLLATE "C", user_id text, recommendation_id text, model_version text, experiment_id text,
    variant text, policy text, item_ids text[], positions integer[], sources text[], scores double precision[],
    propensities double precision[], occurred_at timestamptz, known_at timestamptz, schema_version smallint,
    context jsonb, topic text COLLATE "C", partition integer, kafka_offset bigint
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_feedback (
    event_id text COLLATE "C", recommendation_id text, user_id text, item_id text, outcome text,
    occurred_at timestamptz, known_at timestamptz, schema_version smallint,
    topic text COLLATE "C", partition integer, kafka_offset bigint
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_items (
    event_id text COLLATE "C", item_id text COLLATE "C", partial boolean, fields jsonb, occurred_at timestamptz,
    known_at timestamptz, schema_version smallint, topic text COLLATE "C", partition integer, kafka_offset bigint
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_users (
    event_id text COLLATE "C", user_id text COLLATE "C", partial boolean, attributes jsonb, occurred_at timestamptz,
    known_at timestamptz, schema_version smallint, topic text COLLATE "C", partition integer, kafka_offset bigint
) ON COMMIT DELETE ROWS;

-- name: bound_transactions(idle, whole)^
-- Let the server end this session when a transaction waits for its client too long, or takes too long.
SELECT
    set_config('idle_in_transaction_session_timeout', :idle, false), set_config('transaction_timeout', :whole, false);

-- name: copy_interactions()!
-- Store interactions; an event_id that is there already breaks it off.
COPY interactions (
    event_id, user_id, item_id, action, value, occurred_at, known_at, landed_at, schema_version, recommendation_id,
    context, topic, partition, kafka_offset
) FROM STDIN (FORMAT BINARY);

-- name: stored_interactions(event_ids)
-- Which of some event ids are stored.
SELECT event_id FROM interactions WHERE event_id = ANY(:event_ids);

-- name: copy_seen()!
-- Stage which users touched which items.
COPY staged_seen FROM STDIN (FORMAT BINARY);

-- name: copy_impressions()!
-- Stage impressions.
COPY staged_impressions FROM STDIN (FORMAT BINARY);

-- name: copy_feedback()!
-- Stage feedback.
COPY staged_feedback FROM STDIN (FORMAT BINARY);

-- name: copy_items()!
-- Stage item versions.
COPY staged_items FROM STDIN (FORMAT BINARY);

-- name: copy_users()!
-- Stage user versions.
COPY staged_users FROM STDIN (FORMAT BINARY);

-- name: store_impressions(landed_at)
-- Keep staged impressions whose event_id is new, and count them by topic and partition. Of equal ids in one batch the
-- earliest stays; the common order of all landings also keeps them from waiting for each other in a circle.
WITH kept AS (
    INSERT INTO impressions (
        event_id, user_id, recommendation_id, model_version, experiment_id, variant, policy, item_ids, positions,
        sources, scores, propensities, occurred_at, known_at, landed_at, schema_version, context, topic, partition,
        kafka_offset
    )
    SELECT event_id, user_id, recommendation_id, model_version, experiment_id, variant, policy, item_ids, positions,
        sources, scores, propensities, occurred_at, least(known_at, :landed_at), :landed_at, schema_version, context,
        topic, partition, kafka_offset
    FROM staged_impressions
    ORDER BY event_id, topic, partition, kafka_offset
    ON CONFLICT (event_id) DO NOTHING
    RETURNING topic, partition
)
SELECT topic, partition, count(*) FROM kept GROUP BY topic, partition;

-- name: store_feedback(landed_at)
-- Keep staged feedback whose event_id is new, and count it by topic and partition.
WITH kept AS (
    INSERT INTO feedback (
        event_id, recommendation_id, user_id, item_id, outcome, occurred_at, known_at, landed_at, schema_version,
        topic, partition, kafka_offset
    )
    SELECT event_id, recommendation_id, user_id, item_id, outcome, occurred_at, least(known_at, :landed_at),
        :landed_at, schema_version, topic, partition, kafka_offset
    FROM staged_feedback
    ORDER BY event_id, topic, partition, kafka_offset
    ON CONFLICT (event_id) DO NOTHING
    RETURNING topic, partition
)
SELECT topic, partition, count(*) FROM kept GROUP BY topic, partition;

-- name: store_items(landed_at)
-- Keep staged item versions whose event_id is new, and count them by topic and partition.
WITH kept AS (
    INSERT INTO item_versions (
        event_id, item_id, partial, fields, occurred_at, known_at, landed_at, schema_version, topic, partition,
        kafka_offset
    )
    SELECT event_id, item_id, partial, fields, occurred_at, least(known_at, :landed_at), :landed_at, schema_version,
        topic, partition, kafka_offset
    FROM staged_items
    ORDER BY event_id, topic, partition, kafka_offset
    ON CONFLICT (event_id) DO NOTHING
    RETURNING topic, partition
)
SELECT topic, partition, count(*) FROM kept GROUP BY topic, partition;

-- name: store_users(landed_at)
-- Keep staged user versions whose event_id is new, and count them by topic and partition.
WITH kept AS (
    INSERT INTO user_versions (
        event_id, user_id, partial, attributes, occurred_at, known_at, landed_at, schema_version, topic, partition,
        kafka_offset
    )
    SELECT event_id, user_id, partial, attributes, occurred_at, least(known_at, :landed_at), :landed_at,
        schema_version, topic, partition, kafka_offset
    FROM staged_users
    ORDER BY event_id, topic, partition, kafka_offset
    ON CONFLICT (event_id) DO NOTHING
    RETURNING topic, partition
)
SELECT topic, partition, count(*) FROM kept GROUP BY topic, partition;

-- name: keep_seen()!
-- Add the staged items to what their users have seen; rows that learn nothing new stay untouched and unlocked.
INSERT INTO user_seen AS seen (user_id, item_ids)
SELECT user_id, fresh.item_ids
FROM (SELECT user_id, array_agg(item_id) AS item_ids FROM staged_seen GROUP BY user_id) AS fresh
LEFT JOIN user_seen AS known USING (user_id)
WHERE known.item_ids IS NULL OR NOT known.item_ids @> fresh.item_ids
ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE
SET item_ids = seen.item_ids || CASE
    WHEN cardinality(excluded.item_ids) = 1 THEN excluded.item_ids
    ELSE ARRAY(SELECT unnest(excluded.item_ids) EXCEPT SELECT unnest(seen.item_ids))
END
WHERE NOT seen.item_ids @> excluded.item_ids;

-- name: lock_catalogue()!
-- Let one transaction at a time derive what items and users are from their versions: one that merges them must not
-- miss a version that another is about to commit.
LOCK TABLE items, users IN SHARE ROW EXCLUSIVE MODE;

-- name: keep_newest_items(landed_at)!
-- Let each item be what its latest version by (occurred_at, event_id) says, in whatever order the versions come; those
-- with partial versions are left to `merge_items`. Versions count as they were kept: one that comes again, stamped with
-- another time, is the one that came first.
INSERT INTO items AS current (
    item_id, event_id, occurred_at, changed_at, title, text, categories, attributes, hidden, deleted, stock,
    published_at, expires_at
)
SELECT DISTINCT ON (kept.item_id) kept.item_id, kept.event_id, kept.occurred_at, :landed_at, said.*
FROM item_versions AS kept
LEFT JOIN items AS known USING (item_id)
CROSS JOIN LATERAL item_columns(kept.fields) AS said
WHERE kept.event_id IN (SELECT event_id FROM staged_items) AND NOT kept.partial AND known.patched IS NOT TRUE
    AND NOT EXISTS (SELECT FROM staged_items AS other WHERE other.item_id = kept.item_id AND other.partial)
ORDER BY kept.item_id, kept.occurred_at DESC, kept.event_id DESC
ON CONFLICT (item_id) DO UPDATE
SET event_id = excluded.event_id, occurred_at = excluded.occurred_at, changed_at = excluded.changed_at,
    title = excluded.title, text = excluded.text, categories = excluded.categories, attributes = excluded.attributes,
    hidden = excluded.hidden, deleted = excluded.deleted, stock = excluded.stock,
    published_at = excluded.published_at, expires_at = excluded.expires_at
WHERE (current.occurred_at, current.event_id) < (excluded.occurred_at, excluded.event_id);

-- name: merge_items(landed_at)!
-- Let each staged item that has partial versions be what all its versions say together, by (occurred_at, event_id).
WITH merged AS (
    SELECT item_id, max(occurred_at) AS occurred_at,
        (array_agg(event_id ORDER BY occurred_at DESC, event_id DESC))[1] AS event_id,
        (array_agg(partial ORDER BY occurred_at DESC, event_id DESC))[1] AS patched,
        merged_versions(partial, fields ORDER BY occurred_at, event_id) AS fields
    FROM item_versions
    WHERE item_id IN (
        SELECT staged.item_id FROM staged_items AS staged LEFT JOIN items AS known USING (item_id)
        WHERE staged.partial OR known.patched
    )
    GROUP BY item_id
)
INSERT INTO items AS current (
    item_id, event_id, occurred_at, changed_at, patched, title, text, categories, attributes, hidden, deleted, stock,
    published_at, expires_at
)
SELECT merged.item_id, merged.event_id, merged.occurred_at, :landed_at, merged.patched, said.*
FROM merged CROSS JOIN LATERAL item_columns(merged.fields) AS said
ON CONFLICT (item_id) DO UPDATE
SET event_id = excluded.event_id, occurred_at = excluded.occurred_at, changed_at = excluded.changed_at,
    patched = excluded.patched, title = excluded.title, text = excluded.text, categories = excluded.categories,
    attributes = excluded.attributes, hidden = excluded.hidden, deleted = excluded.deleted, stock = excluded.stock,
    published_at = excluded.published_at, expires_at = excluded.expires_at;

-- name: keep_newest_users(landed_at)!
-- Let each user be what their latest version by (occurred_at, event_id) says, as `keep_newest_items` does.
INSERT INTO users AS current (user_id, event_id, attributes, occurred_at, changed_at)
SELECT DISTINCT ON (kept.user_id) kept.user_id, kept.event_id, kept.attributes, kept.occurred_at, :landed_at
FROM user_versions AS kept
LEFT JOIN users AS known USING (user_id)
WHERE kept.event_id IN (SELECT event_id FROM staged_users) AND NOT kept.partial AND known.patched IS NOT TRUE
    AND NOT EXISTS (SELECT FROM staged_users AS other WHERE other.user_id = kept.user_id AND other.partial)
ORDER BY kept.user_id, kept.occurred_at DESC, kept.event_id DESC
ON CONFLICT (user_id) DO UPDATE
SET event_id = excluded.event_id, attributes = excluded.attributes, occurred_at = excluded.occurred_at,
    changed_at = excluded.changed_at
WHERE (current.occurred_at, current.event_id) < (excluded.occurred_at, excluded.event_id);

-- name: merge_users(landed_at)!
-- Let each staged user who has partial versions be what all of them say together, by (occurred_at, event_id).
WITH merged AS (
    SELECT user_id, max(occurred_at) AS occurred_at,
        (array_agg(event_id ORDER BY occurred_at DESC, event_id DESC))[1] AS event_id,
        (array_agg(partial ORDER BY occurred_at DESC, event_id DESC))[1] AS patched,
        merged_versions(partial, jsonb_build_object('attributes', attributes) ORDER BY occurred_at, event_id) AS fields
    FROM user_versions
    WHERE user_id IN (
        SELECT staged.user_id FROM staged_users AS staged LEFT JOIN users AS known USING (user_id)
        WHERE staged.partial OR known.patched
    )
    GROUP BY user_id
)
INSERT INTO users (user_id, event_id, attributes, occurred_at, changed_at, patched)
SELECT user_id, event_id, fields -> 'attributes', occurred_at, :landed_at, patched FROM merged
ON CONFLICT (user_id) DO UPDATE
SET event_id = excluded.event_id, attributes = excluded.attributes, occurred_at = excluded.occurred_at,
    changed_at = excluded.changed_at, patched = excluded.patched;

-- name: enter_gate(gate)$
-- Take the landing gate, shared until the transaction ends; who holds it alone knows that no landing is under way.
SELECT pg_advisory_xact_lock_shared(:gate);

-- name: clock()$
-- The server's time now, not the transaction's start.
SELECT clock_timestamp();

-- name: change_clock()$
-- The server's time now, but after every change of an item that is written down: who asks for what came later than all
-- that they have read misses nothing, though the clock was set back.
SELECT greatest(clock_timestamp(), (SELECT max(changed_at) FROM items) + interval '1 microsecond');

-- name: landing_clock()$
-- The server's time now, but never before what a statistics refresh has read: what landed before that was counted.
SELECT greatest(clock_timestamp(), (SELECT read_until FROM statistics_progress));

-- name: close_gate(gate)$
-- Wait until no landing is under way and keep new ones waiting until the transaction ends.
SELECT pg_advisory_xact_lock(:gate);

-- name: erasures_after(erasure_id)
-- Erasures that came after one that is known, in their order.
SELECT erasure_id, user_key FROM erasures WHERE erasure_id > :erasure_id ORDER BY erasure_id;
