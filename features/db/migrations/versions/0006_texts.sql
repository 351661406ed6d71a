-- What an item says in words, in 16 bytes: whatever `document_of` reads, and nothing else, so that a price that changes
-- makes no text to embed. Fields are hashed one by one: none can run over into the next.
-- In PL/pgSQL, whose plans are kept: a quarter of the time of the same in SQL.
CREATE FUNCTION text_hash(title text, text text, categories text[], attributes jsonb) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN md5(
        md5(title) || md5(text) || md5(array_to_string(categories, chr(31))) || CASE
            WHEN attributes ?| '{author,authors,original_title,subtitle,description,keywords,tags}'
            THEN md5(
                coalesce((attributes -> 'author')::text, '') || chr(31)
                || coalesce((attributes -> 'authors')::text, '') || chr(31)
                || coalesce((attributes -> 'original_title')::text, '') || chr(31)
                || coalesce((attributes -> 'subtitle')::text, '') || chr(31)
                || coalesce((attributes -> 'description')::text, '') || chr(31)
                || coalesce((attributes -> 'keywords')::text, '') || chr(31)
                || coalesce((attributes -> 'tags')::text, '')
            )
            ELSE ''
        END
    )::uuid;
END
$$;
ALTER TABLE items ADD COLUMN text_hash uuid NOT NULL
    GENERATED ALWAYS AS (text_hash(title, text, categories, attributes)) STORED;

-- Versions of how texts become vectors. `building`: vectors are being made; `ready`: there is one of every item;
-- `retired`: its vectors go. `named`: training made a bundle with it, so that only training lets go of it.
CREATE TABLE encoders (
    digest     text COLLATE "C" PRIMARY KEY,
    kind       text COLLATE "C" NOT NULL,
    dimension  integer NOT NULL CHECK (dimension > 0),
    fitted_on  bigint NOT NULL,
    figures    jsonb NOT NULL DEFAULT '{}',
    state      text COLLATE "C" NOT NULL DEFAULT 'building' CHECK (state IN ('building', 'ready', 'retired')),
    named      boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ready_at   timestamptz,
    retired_at timestamptz
);

-- The files of an encoder, in parts that a client can hold.
CREATE TABLE encoder_files (
    encoder text COLLATE "C" NOT NULL REFERENCES encoders (digest) ON DELETE CASCADE,
    name    text COLLATE "C" NOT NULL,
    part    integer NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (encoder, name, part)
);
ALTER TABLE encoder_files ALTER COLUMN content SET STORAGE EXTERNAL;

-- An item's text by an encoder: `vector` is float16, little endian; `terms` are the weighed terms for the lexical index,
-- int32 indices and then as many float16 values, little endian. `error`: why an encoder could make nothing of the text,
-- which has a vector of zeros then. No reference to `items`: the embedder takes no lock there.
CREATE TABLE item_vectors (
    encoder     text COLLATE "C" NOT NULL,
    item_id     text COLLATE "C" NOT NULL,
    text_hash   uuid NOT NULL,
    vector      bytea NOT NULL,
    terms       bytea NOT NULL,
    error       text,
    embedded_at timestamptz NOT NULL,
    PRIMARY KEY (encoder, item_id)
);
-- Float16 vectors and hashed terms do not compress: trying costs more than storing.
ALTER TABLE item_vectors ALTER COLUMN vector SET STORAGE EXTERNAL, ALTER COLUMN terms SET STORAGE EXTERNAL;
-- Not led by the encoder: of a new one, whose rows the planner does not know of yet, it would read all for each item.
CREATE INDEX item_vectors_by_time ON item_vectors (embedded_at);
CREATE INDEX item_vectors_with_errors ON item_vectors (encoder) WHERE error IS NOT NULL;

-- Items whose text changed, and (`scanned`) those of which the scan found a vector missing. Only ever added to by those
-- who write items, so that they never wait for an embedder; taken away by embedders. The rows of an item are worked off
-- in the order of their ids.
CREATE TABLE embedding_queue (
    queue_id  bigint GENERATED ALWAYS AS IDENTITY,
    item_id   text COLLATE "C" NOT NULL,
    scanned   boolean NOT NULL DEFAULT false,
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (scanned, queue_id)
) WITH (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = -1);
CREATE INDEX embedding_queue_of_item ON embedding_queue (item_id, queue_id);

CREATE FUNCTION queue_new_texts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO embedding_queue (item_id) SELECT item_id FROM written;
    IF FOUND THEN
        PERFORM pg_notify('items_changed', '');
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION queue_updated_texts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- EXCEPT sorts or hashes. A join would be planned without knowing how many rows a statement wrote, as nested loops.
    INSERT INTO embedding_queue (item_id)
    SELECT item_id FROM (SELECT item_id, text_hash FROM written EXCEPT SELECT item_id, text_hash FROM replaced) AS changed;
    IF FOUND THEN
        PERFORM pg_notify('items_changed', '');
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION queue_deleted_texts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO embedding_queue (item_id) SELECT item_id FROM replaced;
    IF FOUND THEN
        PERFORM pg_notify('items_changed', '');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER items_text_insert AFTER INSERT ON items
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION queue_new_texts();
CREATE TRIGGER items_text_update AFTER UPDATE ON items
    REFERENCING OLD TABLE AS replaced NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION queue_updated_texts();
CREATE TRIGGER items_text_delete AFTER DELETE ON items
    REFERENCING OLD TABLE AS replaced FOR EACH STATEMENT EXECUTE FUNCTION queue_deleted_texts();
