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

-- name: import_progress(digest)^
-- How far the import of a file has come: rows done, stored, duplicate, refused, skipped.
SELECT rows_done, stored, duplicate, refused, skipped FROM imports WHERE digest = :digest;

-- name: move_import(digest, expected, rows_done, stored, duplicate, refused, skipped)!
-- Move an import on and count what became of its rows, only from where it is expected to stand.
UPDATE imports
SET rows_done = :rows_done, stored = stored + :stored, duplicate = duplicate + :duplicate,
    refused = refused + :refused, skipped = skipped + :skipped
WHERE digest = :digest AND rows_done = :expected AND finished_at IS NULL;

-- name: finish_import(digest)!
-- Note that all rows of a file are done.
UPDATE imports SET finished_at = now() WHERE digest = :digest;
