-- name: insert_served_lists*!
-- Keep served lists; one that is there already stays as it is.
INSERT INTO served_lists (
    recommendation_id, user_id, served_at, request, model_version, bundle_digest, spec_hash, as_of_us,
    statistics_closed_at_us, own_statistics, n_items, arrivals, allowed, history_event_ids, item_ids, scores, sources,
    reasons, degraded, fallback_reason, lacking, took_s, ordered_by, feature_names, source_names, candidate_ids,
    candidate_rows, candidate_ranks, candidate_scores, candidate_unmet
)
VALUES (
    :recommendation_id, :user_id, :served_at, :request, :model_version, :bundle_digest, :spec_hash, :as_of_us,
    :statistics_closed_at_us, :own_statistics, :n_items, :arrivals, :allowed, :history_event_ids, :item_ids, :scores,
    :sources, :reasons, :degraded, :fallback_reason, :lacking, :took_s, :ordered_by, :feature_names, :source_names,
    :candidate_ids, :candidate_rows, :candidate_ranks, :candidate_scores, :candidate_unmet
)
ON CONFLICT (recommendation_id) DO NOTHING;

-- name: served_list(recommendation_id)^
-- A list as it was served.
SELECT recommendation_id, user_id, served_at, request, model_version, bundle_digest, spec_hash, as_of_us,
    statistics_closed_at_us, own_statistics, n_items, arrivals, allowed, history_event_ids, item_ids, scores, sources,
    reasons, degraded, fallback_reason, lacking, took_s, ordered_by, feature_names, source_names, candidate_ids,
    candidate_rows, candidate_ranks, candidate_scores, candidate_unmet
FROM served_lists
WHERE recommendation_id = :recommendation_id;

-- name: erased_among(user_keys)
-- Which of some keys are of erased users.
SELECT user_key FROM erasures WHERE user_key = ANY(:user_keys);

-- name: any_erased()$
-- Whether any user was ever erased.
SELECT EXISTS (SELECT FROM erasures);

-- name: erase_served_lists(user_id)!
-- Delete what is recorded of lists of a user.
DELETE FROM served_lists WHERE user_id = :user_id;

-- name: expire_served_lists(served_before, at_most)!
-- Delete some lists that were served before a time.
DELETE FROM served_lists
WHERE recommendation_id IN (
    SELECT recommendation_id FROM served_lists WHERE served_at < :served_before
    ORDER BY served_at
    LIMIT :at_most
    FOR UPDATE SKIP LOCKED
);

-- name: events_by_id(user_id, event_ids)
-- Some interactions of a user, newest first, as histories give them.
SELECT event_id, item_id, action, coalesce(value, 'NaN'), least(occurred_at, known_at)
FROM interactions
WHERE event_id = ANY(:event_ids) AND user_id = :user_id AND item_id IS NOT NULL
ORDER BY least(occurred_at, known_at) DESC, event_id DESC;

-- name: item_statistics_at(closed_at)
-- The statistics row of each item that was the newest at the edge of a bucket.
SELECT DISTINCT ON (item_id) item_id, closed_at, count, decayed, first_at, seen, disliked, strong, rating_count,
    rating_sum
FROM item_statistics
WHERE closed_at <= :closed_at
ORDER BY item_id, closed_at DESC;

-- name: served_lists_since(since, bundle_digest, at_most)
-- Lists served at or after an instant that the ranker of a bundle ordered: where there are more than wanted, an even
-- draw that is the same each time. In the order of their moments.
SELECT recommendation_id, user_id, served_at, request, model_version, bundle_digest, spec_hash, as_of_us,
    statistics_closed_at_us, own_statistics, n_items, arrivals, allowed, history_event_ids, item_ids, scores, sources,
    reasons, degraded, fallback_reason, lacking, took_s, ordered_by, feature_names, source_names, candidate_ids,
    candidate_rows, candidate_ranks, candidate_scores, candidate_unmet
FROM served_lists
WHERE recommendation_id IN (
    SELECT recommendation_id FROM served_lists
    WHERE served_at >= :since AND bundle_digest = :bundle_digest AND octet_length(candidate_rows) > 0
    ORDER BY hashtextextended(recommendation_id, 0), recommendation_id
    LIMIT :at_most
)
ORDER BY as_of_us, recommendation_id;

-- name: served_counts_since(since, bundle_digest)^
-- How many lists are recorded that were served at or after an instant, how many of them were made by a bundle, and how
-- many of these its ranker ordered.
SELECT count(*), count(*) FILTER (WHERE bundle_digest = :bundle_digest),
    count(*) FILTER (WHERE bundle_digest = :bundle_digest AND octet_length(candidate_rows) > 0)
FROM served_lists
WHERE served_at >= :since;

-- name: rows_gone()$
-- Rows of events that were erased with their user or expired.
SELECT coalesce(sum(erased + expired), 0)::bigint FROM consumer_offsets;
