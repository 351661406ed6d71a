-- How far the import of a file has come: `rows_done` moves in the transaction that writes the rows.
CREATE TABLE imports (
    digest      bytea PRIMARY KEY,
    kind        text COLLATE "C" NOT NULL,
    source      text NOT NULL,
    rows_done   bigint NOT NULL DEFAULT 0,
    stored      bigint NOT NULL DEFAULT 0,
    duplicate   bigint NOT NULL DEFAULT 0,
    refused     bigint NOT NULL DEFAULT 0,
    skipped     bigint NOT NULL DEFAULT 0,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

-- Folders that hold copies of rows outside the database: who erases a user must know of them.
CREATE TABLE exports (
    folder      text PRIMARY KEY,
    exported_at timestamptz NOT NULL,
    rows        bigint NOT NULL
);
