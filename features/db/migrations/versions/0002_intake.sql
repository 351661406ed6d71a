-- A version says some members of an item: all of them anew, or (partial) only what changes.
ALTER TABLE item_versions ADD COLUMN partial boolean NOT NULL DEFAULT false, ADD COLUMN fields jsonb;
UPDATE item_versions SET fields = jsonb_build_object(
    'title', title, 'text', text, 'categories', categories, 'attributes', attributes, 'hidden', hidden,
    'published_at', published_at, 'expires_at', expires_at
);
ALTER TABLE item_versions
    ALTER COLUMN fields SET NOT NULL,
    ALTER COLUMN partial DROP DEFAULT,
    DROP COLUMN title, DROP COLUMN text, DROP COLUMN categories, DROP COLUMN attributes, DROP COLUMN hidden,
    DROP COLUMN published_at, DROP COLUMN expires_at;
ALTER TABLE user_versions ADD COLUMN partial boolean NOT NULL DEFAULT false;
ALTER TABLE user_versions ALTER COLUMN partial DROP DEFAULT;

-- `patched`: a partial version came after the last whole one, so that a late version may change more than itself.
ALTER TABLE items
    ADD COLUMN deleted boolean NOT NULL DEFAULT false,
    ADD COLUMN stock integer,
    ADD COLUMN patched boolean NOT NULL DEFAULT false;
ALTER TABLE users ADD COLUMN patched boolean NOT NULL DEFAULT false;

CREATE FUNCTION merge_version(state jsonb, partial boolean, fields jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN NOT partial THEN fields
    WHEN fields ? 'attributes' THEN state || fields || jsonb_build_object(
        'attributes', jsonb_strip_nulls(coalesce(state -> 'attributes', '{}') || (fields -> 'attributes'))
    )
    ELSE state || fields
END;
-- What versions say together, given in their order.
CREATE AGGREGATE merged_versions(partial boolean, fields jsonb) (
    SFUNC = merge_version, STYPE = jsonb, INITCOND = '{}', PARALLEL = SAFE
);
-- The columns of `items` from what its versions say; what none says takes its default.
CREATE FUNCTION item_columns(
    fields jsonb, OUT title text, OUT text text, OUT categories text[], OUT attributes jsonb, OUT hidden boolean,
    OUT deleted boolean, OUT stock integer, OUT published_at timestamptz, OUT expires_at timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
    coalesce(fields ->> 'title', ''), coalesce(fields ->> 'text', ''),
    ARRAY(SELECT jsonb_array_elements_text(coalesce(fields -> 'categories', '[]'))),
    coalesce(fields -> 'attributes', '{}'), coalesce((fields ->> 'hidden')::boolean, false),
    coalesce((fields ->> 'deleted')::boolean, false), (fields ->> 'stock')::integer,
    (fields ->> 'published_at')::timestamptz, (fields ->> 'expires_at')::timestamptz
);

-- Of the events read: how many occurred long before, and how many (by their producer's clock) have not occurred yet.
-- `letters_expired`: dead letters that retention took away.
ALTER TABLE consumer_offsets
    ADD COLUMN late bigint NOT NULL DEFAULT 0,
    ADD COLUMN ahead bigint NOT NULL DEFAULT 0,
    ADD COLUMN letters_expired bigint NOT NULL DEFAULT 0;

-- The bytes as they came stay in `raw`; a replay sends `fixed_raw` where there is one.
ALTER TABLE dead_letters
    ADD COLUMN fixed_raw bytea,
    ADD COLUMN fixed_at timestamptz,
    ADD COLUMN discarded_at timestamptz,
    ADD COLUMN erased_at timestamptz;
CREATE INDEX dead_letters_by_landing ON dead_letters (landed_at);

-- Users who must not come back, by a keyed digest of their id; `receipt` says what was erased where.
CREATE TABLE erasures (
    erasure_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_key   bytea NOT NULL UNIQUE,
    erased_at  timestamptz NOT NULL,
    receipt    jsonb NOT NULL
);
