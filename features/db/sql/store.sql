-- name: user_history(user_id, at_most)^
-- A user's latest interactions as parallel arrays, newest first, and the complete set of items ever touched. A clock
-- that runs ahead does not put an event before others: nothing happened later than it became known.
-- Numbers come as the protocol writes them, end to end: doubles, and microseconds since 2000 in 64 bits.
-- The last column is what `history_digests` gives for the same rows.
SELECT array_agg(event_id), array_agg(item_id), array_agg(action), string_agg(float8send(value), ''),
    string_agg(timestamptz_send(at), ''),
    (SELECT item_ids FROM user_seen WHERE user_id = :user_id),
    hashtextextended(
        string_agg(event_id, ' '), (SELECT coalesce(max(cardinality(item_ids)), 0) FROM user_seen WHERE user_id = :user_id)
    )
FROM (
    SELECT event_id, item_id, action, coalesce(value, 'NaN') AS value, least(occurred_at, known_at) AS at
    FROM interactions
    WHERE user_id = :user_id AND item_id IS NOT NULL
    ORDER BY least(occurred_at, known_at) DESC, event_id DESC
    LIMIT :at_most
) AS latest;

-- name: history_digests(user_ids, at_most)
-- What tells whether some users' histories are what they were: their latest events and the number of items seen.
-- From the array itself the planner would read how many users are meant, and plan anew each time, a third of all it takes.
SELECT users.user_id, (
    SELECT hashtextextended(
        string_agg(event_id, ' '),
        (SELECT coalesce(max(cardinality(item_ids)), 0) FROM user_seen WHERE user_seen.user_id = users.user_id)
    )
    FROM (
        SELECT event_id
        FROM interactions
        WHERE interactions.user_id = users.user_id AND item_id IS NOT NULL
        ORDER BY least(occurred_at, known_at) DESC, event_id DESC
        LIMIT :at_most
    ) AS latest
)
FROM unnest((SELECT CAST(:user_ids AS text[]))) AS users(user_id);

-- name: item_states(changed_after)
-- Items that changed at or after an instant; all where it is null. What is deleted or out of stock is hidden. Of an item
-- that was only ever patched, perhaps by a misspelt id, there may be nothing that a person could read.
SELECT item_id, title, categories, hidden OR deleted OR coalesce(stock = 0, false), expires_at, published_at,
    changed_at, deleted, created_at, NOT patched OR title <> '' OR text <> '' OR categories <> '{}'
FROM items
WHERE :changed_after::timestamptz IS NULL OR changed_at >= :changed_after
ORDER BY item_id;

-- name: newest_item_statistics(closed_after)
-- The newest statistics row of each item that has one which closed after an instant.
SELECT DISTINCT ON (item_id) item_id, closed_at, count, decayed, first_at, seen, disliked, strong, rating_count,
    rating_sum
FROM item_statistics
WHERE closed_at > :closed_after
ORDER BY item_id, closed_at DESC;

-- name: all_newest_item_statistics()
-- The newest statistics row of each item.
SELECT item_id, closed_at, count, decayed, first_at, seen, disliked, strong, rating_count, rating_sum
FROM newest_item_statistics;

-- name: patient()!
-- Let statements take longer until the transaction ends: for what nobody's request waits for.
SET LOCAL statement_timeout = '60s';

-- name: statistics_progress()^
-- How far item statistics have come, and by which weights; no row before the first refresh.
SELECT closed_at, read_until, largest_rating, weights, events, whole_since FROM statistics_progress;

-- name: tell_served_weights(weights)!
-- Say by which action weights the version that serves was trained.
INSERT INTO served_weights (weights) VALUES (:weights)
ON CONFLICT (only_row) DO UPDATE SET weights = excluded.weights, told_at = clock_timestamp()
WHERE served_weights.weights IS DISTINCT FROM excluded.weights;

-- name: popular_items(at_most)
-- Items by their decayed sum at the half-life of 60 days, brought to one moment; only those that may be shown.
SELECT newest.item_id
FROM newest_item_statistics AS newest
LEFT JOIN items ON items.item_id = newest.item_id
WHERE NOT coalesce(items.hidden OR items.deleted OR coalesce(items.stock = 0, false), false)
    AND coalesce(items.expires_at > now(), true) AND coalesce(items.published_at <= now(), true)
ORDER BY newest.decayed[6] * power(2, -extract(epoch FROM now() - newest.closed_at)::double precision / 5184000) DESC,
    newest.item_id
LIMIT :at_most;

-- name: frequent_items(at_most)
-- Items by interactions among the first 200,000 rows: what is popular before any statistics exist.
SELECT item_id
FROM (SELECT item_id FROM interactions WHERE item_id IS NOT NULL LIMIT 200000) AS sample
LEFT JOIN items USING (item_id)
WHERE NOT coalesce(items.hidden OR items.deleted OR coalesce(items.stock = 0, false), false)
    AND coalesce(items.expires_at > now(), true) AND coalesce(items.published_at <= now(), true)
GROUP BY item_id
ORDER BY count(*) DESC, item_id
LIMIT :at_most;

-- name: ping()$
-- One, if the database answers.
SELECT 1;

-- name: newest_encoder()^
-- The encoder that is to be used where no bundle names one: the newest whose vectors are complete.
SELECT digest FROM encoders WHERE state = 'ready' ORDER BY created_at DESC, digest LIMIT 1;

-- name: text_keys(encoder, since)
-- Which texts an encoder embedded at or after an instant, and when.
SELECT item_id, embedded_at FROM item_vectors WHERE encoder = :encoder AND embedded_at >= :since;

-- name: text_ids(encoder, after_id, at_most)
-- Which items' texts an encoder embedded whenever that was, a page after an item: of the key's index alone.
SELECT item_id FROM item_vectors WHERE encoder = :encoder AND item_id > :after_id ORDER BY item_id LIMIT :at_most;

-- name: text_rows(encoder, item_ids, names)
-- Vectors and terms of some items' texts by an encoder, with what the catalogue says of these items in numbers.
SELECT vectors.item_id, embedded_at, vector, terms, title, published_at,
    (SELECT jsonb_object_agg(key, value) FROM jsonb_each(attributes) WHERE key = ANY(:names))
FROM item_vectors AS vectors
JOIN items USING (item_id)
WHERE encoder = :encoder AND vectors.item_id = ANY(:item_ids);

-- name: text_page(encoder, after_at, after_id, names, at_most)
-- The same of all items in the order in which they were embedded, a page after an instant and an item.
SELECT vectors.item_id, embedded_at, vector, terms, title, published_at,
    (SELECT jsonb_object_agg(key, value) FROM jsonb_each(attributes) WHERE key = ANY(:names))
FROM item_vectors AS vectors
JOIN items USING (item_id)
WHERE encoder = :encoder AND (embedded_at, vectors.item_id) > (:after_at, :after_id)
ORDER BY embedded_at, vectors.item_id
LIMIT :at_most;

-- name: item(item_id, encoder)^
-- One item as it is now, and whether its present text is embedded.
SELECT item_id, title, text, categories, attributes, hidden, stock, published_at, expires_at, created_at, changed_at,
    EXISTS (
        SELECT FROM item_vectors
        WHERE encoder = :encoder AND item_vectors.item_id = items.item_id AND item_vectors.text_hash = items.text_hash
    )
FROM items
WHERE item_id = :item_id AND NOT deleted;

-- name: items(before_at, before_id, category, all_items, at_most, encoder, text_chars)
-- A page of items, newest first by when they first came, which no later change moves; of their texts the beginning.
WITH page AS (
    SELECT item_id, title, left(text, :text_chars) AS text, categories, attributes, hidden, stock, published_at,
        expires_at, created_at, changed_at, text_hash
    FROM items
    WHERE NOT deleted
        AND (created_at, item_id) < (:before_at, :before_id)
        AND (:category::text IS NULL OR categories @> ARRAY[:category])
        AND (
            :all_items
            OR NOT hidden AND coalesce(stock > 0, true) AND coalesce(published_at <= now(), true)
            AND coalesce(expires_at > now(), true)
        )
    ORDER BY created_at DESC, item_id DESC
    LIMIT :at_most
)
SELECT item_id, title, text, categories, attributes, hidden, stock, published_at, expires_at, created_at, changed_at,
    EXISTS (
        SELECT FROM item_vectors
        WHERE encoder = :encoder AND item_vectors.item_id = page.item_id AND item_vectors.text_hash = page.text_hash
    )
FROM page
ORDER BY created_at DESC, item_id DESC;

-- name: item_counts(encoder)^
-- How many items there are, are hidden, are deleted, have a vector of their present text by an encoder; how many wait for
-- one, and how long: of what is in the queue, for another encoder may lack what this one has. With no encoder all of them
-- do: the queue is empty, since what is in it is done with.
WITH waiting AS MATERIALIZED (
    SELECT min(queued_at) AS since, bool_or(vectors.item_id IS NOT NULL) AS is_changed
    FROM embedding_queue
    JOIN items USING (item_id)
    LEFT JOIN item_vectors AS vectors ON vectors.encoder = :encoder AND vectors.item_id = items.item_id
    WHERE NOT items.deleted AND vectors.text_hash IS DISTINCT FROM items.text_hash
    GROUP BY items.item_id
)
SELECT
    count(*) FILTER (WHERE NOT deleted), count(*) FILTER (WHERE hidden AND NOT deleted), count(*) FILTER (WHERE deleted),
    (
        SELECT count(*) FROM item_vectors JOIN items AS living USING (item_id)
        WHERE encoder = :encoder AND NOT living.deleted
    ) - (SELECT count(*) FILTER (WHERE is_changed) FROM waiting),
    CASE WHEN CAST(:encoder AS text) IS NULL THEN count(*) FILTER (WHERE NOT deleted)
        ELSE (SELECT count(*) FROM waiting) END,
    CASE WHEN CAST(:encoder AS text) IS NULL
        THEN extract(epoch FROM now() - min(changed_at) FILTER (WHERE NOT deleted))::double precision
        ELSE (SELECT extract(epoch FROM now() - min(since))::double precision FROM waiting) END
FROM items;
