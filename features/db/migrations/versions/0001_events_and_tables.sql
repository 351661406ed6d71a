-- Ids, and whatever order rests on, compare by bytes: the same order that Python gives.

CREATE TABLE interactions (
    event_id          text COLLATE "C" PRIMARY KEY,
    user_id           text COLLATE "C" NOT NULL,
    item_id           text COLLATE "C",
    action            text COLLATE "C" NOT NULL,
    value             double precision,
    occurred_at       timestamptz NOT NULL,
    known_at          timestamptz NOT NULL,
    landed_at         timestamptz NOT NULL,
    schema_version    smallint NOT NULL,
    recommendation_id text COLLATE "C",
    context           jsonb NOT NULL,
    topic             text COLLATE "C" NOT NULL,
    partition         integer NOT NULL,
    kafka_offset      bigint NOT NULL
);
CREATE INDEX interactions_of_user ON interactions (user_id, least(occurred_at, known_at) DESC, event_id DESC);
-- Rows come in the order of landing: block ranges find the recent ones at almost no cost for inserts.
CREATE INDEX interactions_by_landing ON interactions USING brin (landed_at, known_at) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE impressions (
    event_id          text COLLATE "C" PRIMARY KEY,
    user_id           text COLLATE "C" NOT NULL,
    recommendation_id text COLLATE "C" NOT NULL,
    model_version     text,
    experiment_id     text,
    variant           text,
    policy            text,
    item_ids          text[] COLLATE "C" NOT NULL,
    positions         integer[] NOT NULL,
    sources           text[] NOT NULL,
    scores            double precision[] NOT NULL,
    propensities      double precision[] NOT NULL,
    occurred_at       timestamptz NOT NULL,
    known_at          timestamptz NOT NULL,
    landed_at         timestamptz NOT NULL,
    schema_version    smallint NOT NULL,
    context           jsonb NOT NULL,
    topic             text COLLATE "C" NOT NULL,
    partition         integer NOT NULL,
    kafka_offset      bigint NOT NULL
);
CREATE INDEX impressions_of_recommendation ON impressions (recommendation_id);
CREATE INDEX impressions_of_user ON impressions (user_id, occurred_at DESC, event_id DESC);

CREATE TABLE feedback (
    event_id          text COLLATE "C" PRIMARY KEY,
    recommendation_id text COLLATE "C" NOT NULL,
    user_id           text COLLATE "C",
    item_id           text COLLATE "C",
    outcome           text COLLATE "C" NOT NULL,
    occurred_at       timestamptz NOT NULL,
    known_at          timestamptz NOT NULL,
    landed_at         timestamptz NOT NULL,
    schema_version    smallint NOT NULL,
    topic             text COLLATE "C" NOT NULL,
    partition         integer NOT NULL,
    kafka_offset      bigint NOT NULL
);
CREATE INDEX feedback_of_recommendation ON feedback (recommendation_id);

-- Every version that was ever sent; `items` holds the latest by (occurred_at, event_id), however late it came.
CREATE TABLE item_versions (
    event_id       text COLLATE "C" PRIMARY KEY,
    item_id        text COLLATE "C" NOT NULL,
    title          text NOT NULL,
    text           text NOT NULL,
    categories     text[] NOT NULL,
    attributes     jsonb NOT NULL,
    hidden         boolean NOT NULL,
    published_at   timestamptz,
    expires_at     timestamptz,
    occurred_at    timestamptz NOT NULL,
    known_at       timestamptz NOT NULL,
    landed_at      timestamptz NOT NULL,
    schema_version smallint NOT NULL,
    topic          text COLLATE "C" NOT NULL,
    partition      integer NOT NULL,
    kafka_offset   bigint NOT NULL
);
CREATE INDEX item_versions_of_item ON item_versions (item_id, occurred_at DESC, event_id DESC);

CREATE TABLE items (
    item_id      text COLLATE "C" PRIMARY KEY,
    event_id     text COLLATE "C" NOT NULL,
    title        text NOT NULL,
    text         text NOT NULL,
    categories   text[] NOT NULL,
    attributes   jsonb NOT NULL,
    hidden       boolean NOT NULL,
    published_at timestamptz,
    expires_at   timestamptz,
    occurred_at  timestamptz NOT NULL,
    changed_at   timestamptz NOT NULL
);
CREATE INDEX items_by_change ON items (changed_at);

CREATE TABLE user_versions (
    event_id       text COLLATE "C" PRIMARY KEY,
    user_id        text COLLATE "C" NOT NULL,
    attributes     jsonb NOT NULL,
    occurred_at    timestamptz NOT NULL,
    known_at       timestamptz NOT NULL,
    landed_at      timestamptz NOT NULL,
    schema_version smallint NOT NULL,
    topic          text COLLATE "C" NOT NULL,
    partition      integer NOT NULL,
    kafka_offset   bigint NOT NULL
);
CREATE INDEX user_versions_of_user ON user_versions (user_id, occurred_at DESC, event_id DESC);

CREATE TABLE users (
    user_id     text COLLATE "C" PRIMARY KEY,
    event_id    text COLLATE "C" NOT NULL,
    attributes  jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL
);

-- The complete set of items that a user ever touched. Half-empty pages let most updates stay on their page.
CREATE TABLE user_seen (
    user_id  text COLLATE "C" PRIMARY KEY,
    item_ids text[] COLLATE "C" NOT NULL
) WITH (fillfactor = 50);

-- Where landing stands in each partition, and what became of every offset it has passed:
-- next_offset - first_offset = stored + duplicate + dead + skipped; rows present = stored - erased - expired.
CREATE TABLE consumer_offsets (
    cluster_id   text COLLATE "C" NOT NULL,
    topic        text COLLATE "C" NOT NULL,
    topic_id     text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL,
    stored       bigint NOT NULL DEFAULT 0,
    duplicate    bigint NOT NULL DEFAULT 0,
    dead         bigint NOT NULL DEFAULT 0,
    skipped      bigint NOT NULL DEFAULT 0,
    erased       bigint NOT NULL DEFAULT 0,
    expired      bigint NOT NULL DEFAULT 0,
    moved_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, topic, topic_id, partition)
) WITH (fillfactor = 50);

CREATE TABLE dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster_id     text COLLATE "C" NOT NULL,
    topic          text COLLATE "C" NOT NULL,
    topic_id       text COLLATE "C" NOT NULL,
    partition      integer NOT NULL,
    kafka_offset   bigint NOT NULL,
    reason         text COLLATE "C" NOT NULL,
    message        text NOT NULL,
    key            bytea,
    raw            bytea NOT NULL,
    backfill       boolean NOT NULL,
    landed_at      timestamptz NOT NULL,
    published_at   timestamptz,
    replayed_at    timestamptz,
    UNIQUE (cluster_id, topic, topic_id, partition, kafka_offset)
);
CREATE INDEX dead_letters_unpublished ON dead_letters (dead_letter_id) WHERE published_at IS NULL;

-- Sparse, append-only: an item's state right after the bucket that closed at `closed_at` took in its events.
CREATE TABLE item_statistics (
    item_id   text COLLATE "C" NOT NULL,
    closed_at timestamptz NOT NULL,
    count     bigint NOT NULL,
    decayed   double precision[] NOT NULL,
    first_at  timestamptz NOT NULL,
    PRIMARY KEY (item_id, closed_at)
);
CREATE INDEX item_statistics_by_close ON item_statistics (closed_at);

-- How far item_statistics has come: buckets up to `closed_at`, from rows landed before `read_until`, by these weights.
CREATE TABLE statistics_progress (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    closed_at      timestamptz NOT NULL,
    read_until     timestamptz NOT NULL,
    largest_rating double precision NOT NULL,
    weights        jsonb NOT NULL
);
