-- name: known_encoders()
-- All encoders, newest first.
SELECT digest, kind, dimension, fitted_on, figures, state, named, created_at FROM encoders
ORDER BY created_at DESC, digest;

-- name: add_encoder(digest, kind, dimension, fitted_on, figures)$
-- Note an encoder that was fitted now, also one that was retired; whether it was new or comes back.
INSERT INTO encoders AS known (digest, kind, dimension, fitted_on, figures)
VALUES (:digest, :kind, :dimension, :fitted_on, :figures)
ON CONFLICT (digest) DO UPDATE
SET state = 'building', created_at = clock_timestamp(), building_since = clock_timestamp(), ready_at = NULL,
    retired_at = NULL
WHERE known.state = 'retired'
RETURNING true;

-- name: add_encoder_part(encoder, name, part, content)!
-- Keep a part of an encoder's file; the same part of the same encoder is the same.
INSERT INTO encoder_files (encoder, name, part, content) VALUES (:encoder, :name, :part, :content)
ON CONFLICT DO NOTHING;

-- name: encoder_parts(encoder)
-- Which parts an encoder's files have, in order.
SELECT name, part FROM encoder_files WHERE encoder = :encoder ORDER BY name, part;

-- name: encoder_part(encoder, name, part)$
-- One part of an encoder's file.
SELECT content FROM encoder_files WHERE encoder = :encoder AND name = :name AND part = :part;

-- name: name_encoders(digests)!
-- Note that bundles name these encoders; one that was retired makes its vectors anew, unless its files are gone. It stays
-- as old as its fit.
UPDATE encoders
SET named = true,
    building_since = CASE WHEN state = 'retired' THEN clock_timestamp() ELSE building_since END,
    ready_at = CASE WHEN state = 'retired' THEN NULL ELSE ready_at END,
    retired_at = NULL,
    state = CASE WHEN state = 'retired' THEN 'building' ELSE state END
WHERE digest = ANY(:digests)
    AND (
        (NOT named AND state <> 'retired')
        OR (state = 'retired' AND EXISTS (SELECT FROM encoder_files WHERE encoder_files.encoder = encoders.digest))
    );

-- name: without_files(digests)
-- Those of some encoders that are known and whose files are gone: they can make no vector any more.
SELECT digest FROM encoders
WHERE digest = ANY(:digests) AND NOT EXISTS (SELECT FROM encoder_files WHERE encoder_files.encoder = encoders.digest)
ORDER BY digest;

-- name: retire_all_but(digests)
-- Retire encoders that are ready and not among these, the newest ready one always kept; tells which.
UPDATE encoders SET state = 'retired', retired_at = clock_timestamp()
WHERE state = 'ready' AND NOT digest = ANY(:digests)
    AND created_at < (SELECT max(created_at) FROM encoders WHERE state = 'ready')
RETURNING digest;

-- name: retire_unnamed(minutes)
-- Retire ready encoders that no bundle ever named, some minutes after a newer one became ready; and unfinished ones that
-- a newer ready one has overtaken. Tells which.
UPDATE encoders AS old SET state = 'retired', retired_at = clock_timestamp()
WHERE NOT old.named AND old.state IN ('building', 'ready') AND EXISTS (
    SELECT FROM encoders AS new
    WHERE new.state = 'ready' AND new.created_at > old.created_at
        AND new.ready_at < clock_timestamp() - make_interval(mins => :minutes)
)
RETURNING digest;

-- name: mark_ready()
-- Let encoders be ready of which no vector is missing: not of an item that was there before them, and not of one that a
-- ready encoder has a vector of. What came since waits in the queue for all of them alike. Tells which.
UPDATE encoders AS made SET state = 'ready', ready_at = clock_timestamp()
WHERE state = 'building' AND NOT EXISTS (
    SELECT FROM items
    WHERE NOT EXISTS (SELECT FROM item_vectors WHERE encoder = made.digest AND item_vectors.item_id = items.item_id)
        AND (
            items.changed_at <= made.building_since
            OR EXISTS (
                SELECT FROM item_vectors JOIN encoders ON encoders.digest = item_vectors.encoder
                WHERE encoders.state = 'ready' AND item_vectors.item_id = items.item_id
            )
        )
)
RETURNING digest;

-- name: announce_encoders()$
-- Wake those who follow encoders.
SELECT pg_notify('encoders_changed', '');

-- name: forget_retired_vectors(at_most)!
-- Delete some vectors of retired encoders.
DELETE FROM item_vectors WHERE ctid = ANY(ARRAY(
    SELECT item_vectors.ctid FROM item_vectors JOIN encoders ON encoders.digest = item_vectors.encoder
    WHERE encoders.state = 'retired'
    LIMIT :at_most
));

-- name: forget_retired_files(named_too)!
-- Delete the files of retired encoders: of those that no bundle ever named, or of all.
DELETE FROM encoder_files
WHERE encoder IN (SELECT digest FROM encoders WHERE state = 'retired' AND (NOT named OR :named_too));

-- name: forget_orphans()!
-- Delete vectors of items that are no more.
DELETE FROM item_vectors WHERE NOT EXISTS (SELECT FROM items WHERE items.item_id = item_vectors.item_id);

-- name: listen_to_texts#
-- Be woken when texts or encoders change.
LISTEN items_changed;
LISTEN encoders_changed;

-- name: create_staged_vectors#
-- Make the session's staging table; each transaction finds it empty.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_vectors (
    encoder text COLLATE "C", item_id text COLLATE "C", text_hash uuid, vector bytea, terms bytea, error text
) ON COMMIT DELETE ROWS;

-- name: claim_newest(at_most)
-- Claim the changes that came last: what was just published does not wait for a catalogue that was imported before it.
-- An item's rows are worked off in their order: while another has an earlier one, nobody takes a later one. (`+ 0` keeps
-- the planner from looking through all earlier rows for the item, rather than at the item's own.)
SELECT queue_id, item_id, queued_at FROM embedding_queue AS waiting
WHERE NOT scanned AND NOT EXISTS (
    SELECT FROM embedding_queue AS earlier
    WHERE earlier.item_id = waiting.item_id AND earlier.queue_id + 0 < waiting.queue_id
)
ORDER BY queue_id DESC
LIMIT :at_most
FOR UPDATE SKIP LOCKED;

-- name: claim_oldest(scanned, at_most)
-- Claim the changes, or what the scan found, that have waited longest.
SELECT queue_id, item_id, queued_at FROM embedding_queue AS waiting
WHERE scanned = :scanned AND NOT EXISTS (
    SELECT FROM embedding_queue AS earlier
    WHERE earlier.item_id = waiting.item_id AND earlier.queue_id + 0 < waiting.queue_id
)
ORDER BY queue_id
LIMIT :at_most
FOR UPDATE SKIP LOCKED;

-- name: claimed_texts(item_ids, digests, attributes, most_chars)
-- What items say in words, as far as it is read, by which of some encoders there is no vector of it yet, and the rows of
-- the queue that are done with once there is: those that are seen together with the text.
SELECT items.item_id, items.text_hash, left(items.title, :most_chars), left(items.text, :most_chars), items.categories,
    (SELECT jsonb_object_agg(key, value) FROM jsonb_each(items.attributes) WHERE key = ANY(:attributes)),
    ARRAY(
        SELECT digest FROM unnest(:digests::text[]) AS digest
        LEFT JOIN item_vectors ON item_vectors.encoder = digest AND item_vectors.item_id = items.item_id
        WHERE item_vectors.text_hash IS DISTINCT FROM items.text_hash
    ),
    ARRAY(SELECT queue_id FROM embedding_queue WHERE embedding_queue.item_id = items.item_id)
FROM items
WHERE items.item_id = ANY(:item_ids);

-- name: plan_by_index()^
-- Let all of a batch be planned as look-ups by index, for this transaction: its tables are empty at one moment and full at
-- the next, and what the planner believes of them is old.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('enable_sort', 'off', true);

-- name: enter_embedding_gate(gate)$
-- Take the gate of embedders, shared until the transaction ends.
SELECT pg_advisory_xact_lock_shared(:gate);

-- name: close_embedding_gate(gate)$
-- Wait until no embedder is about to commit and keep new ones waiting until the transaction ends.
SELECT pg_advisory_xact_lock(:gate);

-- name: copy_staged_vectors()!
-- Stage vectors.
COPY staged_vectors FROM STDIN (FORMAT BINARY);

-- name: keep_vectors()$
-- Keep staged vectors of texts that still are what was embedded; one that is there already stays. How many were written.
WITH kept AS (
    INSERT INTO item_vectors AS known (encoder, item_id, text_hash, vector, terms, error, embedded_at)
    SELECT staged.encoder, staged.item_id, staged.text_hash, staged.vector, staged.terms, staged.error, clock.now
    FROM staged_vectors AS staged
    JOIN items ON items.item_id = staged.item_id AND items.text_hash = staged.text_hash
    JOIN encoders ON encoders.digest = staged.encoder AND encoders.state <> 'retired'
    -- After all that servers have read, though the clock was set back: they ask for what came later.
    CROSS JOIN (
        SELECT greatest(clock_timestamp(), (SELECT max(embedded_at) FROM item_vectors) + interval '1 microsecond') AS now
        OFFSET 0
    ) AS clock
    ORDER BY staged.encoder, staged.item_id
    ON CONFLICT (encoder, item_id) DO UPDATE
    SET text_hash = excluded.text_hash, vector = excluded.vector, terms = excluded.terms, error = excluded.error,
        embedded_at = excluded.embedded_at
    WHERE known.text_hash <> excluded.text_hash
    RETURNING true
)
SELECT count(*) FROM kept;

-- name: forget_vectors(item_ids)!
-- Delete the vectors of items that are no more.
DELETE FROM item_vectors WHERE item_id = ANY(:item_ids)
    AND NOT EXISTS (SELECT FROM items WHERE items.item_id = item_vectors.item_id);

-- name: finish_queued(item_ids, queue_ids)!
-- Take rows that are done with from the queue.
DELETE FROM embedding_queue WHERE item_id = ANY(:item_ids) AND queue_id = ANY(:queue_ids);

-- name: try_scan(lock)$
-- Take the lock of the scan until the transaction ends, if nobody has it.
SELECT pg_try_advisory_xact_lock(:lock);

-- name: scan_texts(after, digests, at_most)^
-- Queue those of the next items by id that lack a vector by some encoders in use and wait for none: how many were looked
-- at, the last of them, and how many were queued.
WITH looked AS MATERIALIZED (
    SELECT item_id, text_hash FROM items WHERE item_id > :after ORDER BY item_id LIMIT :at_most
), lacking AS (
    SELECT DISTINCT looked.item_id
    FROM looked
    CROSS JOIN encoders
    LEFT JOIN item_vectors ON item_vectors.encoder = encoders.digest AND item_vectors.item_id = looked.item_id
    WHERE encoders.state IN ('building', 'ready') AND encoders.digest = ANY(:digests)
        AND item_vectors.text_hash IS DISTINCT FROM looked.text_hash
        AND NOT EXISTS (SELECT FROM embedding_queue WHERE embedding_queue.item_id = looked.item_id)
), queued AS (
    INSERT INTO embedding_queue (item_id, scanned) SELECT item_id, true FROM lacking RETURNING true
)
SELECT (SELECT count(*) FROM looked), (SELECT max(item_id) FROM looked), (SELECT count(*) FROM queued);

-- name: queue_stand()^
-- Texts that wait because they changed, those that the scan found, and since when the oldest waits.
SELECT count(*) FILTER (WHERE NOT scanned), count(*) FILTER (WHERE scanned), min(queued_at) FROM embedding_queue;

-- name: count_items()$
-- How many items there are.
SELECT count(*) FROM items;

-- name: encoder_progress()
-- Of each encoder in use: how many vectors it made, and how many of them are zeros because it failed.
SELECT digest, state, (SELECT count(*) FROM item_vectors WHERE encoder = digest),
    (SELECT count(*) FROM item_vectors WHERE encoder = digest AND error IS NOT NULL)
FROM encoders WHERE state IN ('building', 'ready') ORDER BY created_at;

-- name: catalogue_counts()^
-- Items: all, those that are not deleted, of these the hidden ones, those out of stock, those without any text.
SELECT count(*), count(*) FILTER (WHERE NOT deleted), count(*) FILTER (WHERE NOT deleted AND hidden),
    count(*) FILTER (WHERE NOT deleted AND stock = 0),
    count(*) FILTER (WHERE NOT deleted AND title = '' AND text = '' AND categories = '{}')
FROM items;

-- name: embedding_stand()
-- Of each encoder in use: items with a vector of their text as it is, items whose text waits, those it failed on, and
-- since when the oldest of those that wait is as it is.
SELECT encoders.digest, encoders.kind, encoders.state, encoders.fitted_on, encoders.created_at,
    count(*) FILTER (WHERE vectors.text_hash = items.text_hash),
    count(*) FILTER (WHERE vectors.text_hash IS DISTINCT FROM items.text_hash AND items.item_id IS NOT NULL),
    count(*) FILTER (WHERE vectors.error IS NOT NULL),
    min(items.changed_at) FILTER (WHERE vectors.text_hash IS DISTINCT FROM items.text_hash)
FROM encoders
LEFT JOIN items ON true
LEFT JOIN item_vectors AS vectors ON vectors.encoder = encoders.digest AND vectors.item_id = items.item_id
WHERE encoders.state IN ('building', 'ready')
GROUP BY encoders.digest, encoders.kind, encoders.state, encoders.fitted_on, encoders.created_at
ORDER BY encoders.created_at DESC;

-- name: texts_to_fit(at_most, most_chars)
-- What items say in words: all of them, or as many as asked for, always the same ones.
SELECT left(title, :most_chars), left(text, :most_chars), categories, attributes
FROM items
WHERE NOT deleted
ORDER BY md5(item_id)
LIMIT :at_most;

-- name: newest_texts(since, at_most, most_chars)
-- What the items said that changed last since an instant.
SELECT left(title, :most_chars), left(text, :most_chars), categories, attributes
FROM items
WHERE NOT deleted AND changed_at > :since
ORDER BY changed_at DESC
LIMIT :at_most;

-- name: count_texts()$
-- How many items are not deleted and say anything.
SELECT count(*) FROM items WHERE NOT deleted AND (title <> '' OR text <> '' OR categories <> '{}' OR attributes <> '{}');

-- name: quiet_for()$
-- For how long no item has changed.
SELECT clock_timestamp() - max(changed_at) FROM items;

-- name: try_fit(lock)$
-- Take the lock of fitting for as long as the session lives, if nobody has it.
SELECT pg_try_advisory_lock(:lock);

-- name: await_fit(lock)$
-- Take the lock of fitting, waiting for who has it.
SELECT pg_advisory_lock(:lock);

-- name: exported_vectors(encoder, until)
-- The vectors of an encoder that were made before an instant, by item.
SELECT item_id, text_hash, vector, terms, embedded_at FROM item_vectors
WHERE encoder = :encoder AND embedded_at < :until
ORDER BY item_id;

-- name: listed_items(before_at, before_id, category, at_most)
-- Items that are not deleted, newest first by when they first came, from a place in that order on.
SELECT item_id, title, categories, hidden, created_at FROM items
WHERE NOT deleted
    AND (:before_at::timestamptz IS NULL OR (created_at, item_id) < (:before_at::timestamptz, :before_id::text))
    AND (:category::text IS NULL OR categories @> ARRAY[:category::text])
ORDER BY created_at DESC, item_id DESC
LIMIT :at_most;

-- name: whole_item(item_id)^
-- All that is known of an item, and which encoders have a vector of its text as it is.
SELECT item_id, title, text, categories, attributes, hidden, deleted, stock, published_at, expires_at, occurred_at,
    created_at, changed_at,
    ARRAY(
        SELECT encoder FROM item_vectors
        WHERE item_vectors.item_id = items.item_id AND item_vectors.text_hash = items.text_hash
        ORDER BY encoder
    ),
    (SELECT max(error) FROM item_vectors WHERE item_vectors.item_id = items.item_id)
FROM items WHERE item_id = :item_id;
