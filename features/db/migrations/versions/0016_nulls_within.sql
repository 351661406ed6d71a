-- After a partial version no attribute is null, but what attributes hold stays as it was said, nulls within them too:
-- `jsonb_strip_nulls` took these as well, at any depth, of attributes also that the version did not name.
CREATE OR REPLACE FUNCTION merge_version(state jsonb, partial boolean, fields jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN NOT partial THEN fields
    WHEN fields ? 'attributes' THEN state || fields || jsonb_build_object(
        'attributes', (
            SELECT coalesce(jsonb_object_agg(said.key, said.value), '{}')
            FROM jsonb_each(coalesce(state -> 'attributes', '{}') || (fields -> 'attributes')) AS said
            WHERE said.value <> 'null'
        )
    )
    ELSE state || fields
END;
