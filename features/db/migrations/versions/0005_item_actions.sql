-- All events of an item, those of dislike, those of liking by an action that shows more than a look, and its ratings:
-- how many, and their sum as shares of the rating scale.
ALTER TABLE item_statistics
    ADD COLUMN seen         bigint NOT NULL DEFAULT 0,
    ADD COLUMN disliked     bigint NOT NULL DEFAULT 0,
    ADD COLUMN strong       bigint NOT NULL DEFAULT 0,
    ADD COLUMN rating_count bigint NOT NULL DEFAULT 0,
    ADD COLUMN rating_sum   double precision NOT NULL DEFAULT 0;

-- Events landed until `read_until`, by action: the weights follow from how often each occurs.
ALTER TABLE statistics_progress ADD COLUMN events jsonb NOT NULL DEFAULT '{}';

-- Rows so far do not know these: without progress the next refresh computes all of them anew. They stay until then,
-- as servers order by them when no bundle is at hand.
DELETE FROM statistics_progress;
