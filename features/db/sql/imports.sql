-- name: begin_import(digest, kind, source)!
-- Start or go on with the import of a file; one that was finished starts anew.
INSERT INTO imports AS known (digest, kind, source) VALUES (:digest, :kind, :source)
ON CONFLICT (digest) DO UPDATE
SET source = excluded.source,
    rows_done = CASE WHEN known.finished_at IS NULL THEN known.rows_done ELSE 0 END,
    stored = CASE WHEN known.finished_at IS NULL THEN known.stored ELSE 0 END,
    duplicate = CASE WHEN known.finished_at IS NULL THEN known.duplicate ELSE 0 END,
    refused = CASE WHEN known.finished_at IS NULL THEN known.refused ELSE 0 END,
    skipped = CASE WHEN known.finished_at IS NULL THEN known.skipped ELSE 0 END,
    started_at = CASE WHEN known.finished_at IS NULL THEN known.started_at ELSE now() END,
    finished_at = NULL;

-- name: end_overtaken_import(digest)!
-- Let an unfinished import of items or users start anew if another one started since: of both files, this one is now the
-- newer. What happened does not depend on when it is imported, so that interactions go on.
UPDATE imports AS known SET finished_at = now()
WHERE digest = :digest AND finished_at IS NULL AND kind <> 'Interaction'
    AND EXISTS (SELECT FROM imports AS other WHERE other.kind = known.kind AND other.started_at > known.started_at);

-- name: unchanged_items(ids, said)
-- Items that are by their newest version already all that is said of them. Where that is null, it counts in any case.
SELECT told.item_id
FROM unnest(:ids::text[], :said::jsonb[]) AS told (item_id, said)
LEFT JOIN LATERAL (
    SELECT fields, partial FROM item_versions WHERE item_id = told.item_id
    ORDER BY occurred_at DESC, event_id DESC LIMIT 1
) AS newest ON true
GROUP BY told.item_id
HAVING bool_and(coalesce(newest.fields = told.said AND NOT newest.partial, false));

-- name: unchanged_users(ids, said)
-- Users who are by their newest version already all that is said of them, in the same way.
SELECT told.user_id
FROM unnest(:ids::text[], :said::jsonb[]) AS told (user_id, said)
LEFT JOIN LATERAL (
    SELECT attributes, partial FROM user_versions WHERE user_id = told.user_id
    ORDER BY occurred_at DESC, event_id DESC LIMIT 1
) AS newest ON true
GROUP BY told.user_id
HAVING bool_and(coalesce(newest.attributes = told.said AND NOT newest.partial, false));

-- name: import_progress(digest)^
-- When the import of a file started and how far it has come: rows done, stored, duplicate, refused, skipped.
SELECT started_at, rows_done, stored, duplicate, refused, skipped FROM imports WHERE digest = :digest;

-- name: move_import(digest, expected, rows_done, stored, duplicate, refused, skipped)!
-- Move an import on and count what became of its rows, only from where it is expected to stand.
UPDATE imports
SET rows_done = :rows_done, stored = stored + :stored, duplicate = duplicate + :duplicate,
    refused = refused + :refused, skipped = skipped + :skipped
WHERE digest = :digest AND rows_done = :expected AND finished_at IS NULL;

-- name: finish_import(digest)!
-- Note that all rows of a file are done.
UPDATE imports SET finished_at = now() WHERE digest = :digest;
