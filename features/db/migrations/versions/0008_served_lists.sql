-- Lists as they were served, of those requests that are recorded: what was asked, what it was made from, what came of
-- it. Arrays of numbers are little endian and in C order: `allowed` is a bit an item of the model (`n_items`, the high
-- bit first), 0 where it could not come back; of each candidate, in the order of `candidate_ids`: `candidate_rows` float32
-- (a column for each of `feature_names`; empty where no ranker looked), `candidate_ranks` float32 (a column for each of
-- `source_names`, NaN where it did not offer the item), `candidate_scores` float64, `candidate_unmet` a byte (1 where it
-- was ranked as an item that nobody ever met). They are null where nothing was ranked, `bundle_digest` and what follows
-- from a bundle where there was none.
CREATE TABLE served_lists (
    recommendation_id       text COLLATE "C" PRIMARY KEY,
    user_id                 text COLLATE "C",
    served_at               timestamptz NOT NULL,
    request                 jsonb NOT NULL,
    model_version           text,
    bundle_digest           text COLLATE "C",
    spec_hash               text COLLATE "C",
    as_of_us                bigint,
    statistics_closed_at_us bigint,
    own_statistics          boolean,
    n_items                 integer,
    arrivals                text COLLATE "C",
    allowed                 bytea,
    history_event_ids       text[] COLLATE "C" NOT NULL,
    item_ids                text[] COLLATE "C" NOT NULL,
    scores                  double precision[] NOT NULL,
    sources                 text[] COLLATE "C" NOT NULL,
    reasons                 text[] NOT NULL,
    degraded                boolean NOT NULL,
    fallback_reason         text COLLATE "C",
    lacking                 text[] COLLATE "C" NOT NULL,
    took_s                  jsonb NOT NULL,
    ordered_by              text COLLATE "C",
    feature_names           text[] COLLATE "C",
    source_names            text[] COLLATE "C",
    candidate_ids           text[] COLLATE "C",
    candidate_rows          bytea,
    candidate_ranks         bytea,
    candidate_scores        bytea,
    candidate_unmet         bytea
);
CREATE INDEX served_lists_of_user ON served_lists (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX served_lists_by_time ON served_lists (served_at);

-- Who did what to the system, and by which request. Only ever added to; of an erased user no id stays.
CREATE TABLE audit_events (
    audit_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor          text NOT NULL,
    action         text COLLATE "C" NOT NULL CHECK (action IN ('refresh', 'replay', 'erase', 'promote', 'rollback', 'reload')),
    target         text COLLATE "C" NOT NULL,
    correlation_id text COLLATE "C" NOT NULL,
    details        jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_events_of_target ON audit_events (target);
